package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// shownVersions and shownActivations bound what describe lists.
const (
	shownVersions    = 10
	shownActivations = 5
)

// description is all that describe knows, as it prints it with --json.
type description struct {
	Function    rouse.Function    `json:"function"`
	Versions    []rouse.Function  `json:"versions"`
	Aliases     []rouse.Alias     `json:"aliases"`
	Activations []wire.Activation `json:"activations"`
}

func describeCommand(a *app) *cobra.Command {
	var qualifier string
	c := &cobra.Command{
		Use:   "describe NAME",
		Short: "Show all about a function",
		Long:  `Show a function's settings, versions, aliases and last activations, and how to call it.`,
		Example: `  rouse describe hello
  rouse describe hello --qualifier prod
  rouse describe hello --json | jq .function.limits`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeFunctions,
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			d, err := describe(c.Context(), cl, args[0], qualifier)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(d)
			}
			return a.printDescription(cl.Server(), d)
		},
	}
	c.Flags().StringVarP(&qualifier, "qualifier", "q", "", "`version` or alias to show (default: the newest)")
	return c
}

func describe(ctx context.Context, cl *client.Client, name, qualifier string) (d description, err error) {
	if d.Function, err = cl.Function(ctx, name, qualifier); err != nil {
		return d, err
	}
	if d.Versions, err = cl.Versions(ctx, name); err != nil {
		return d, err
	}
	if d.Aliases, err = cl.Aliases(ctx, name); err != nil {
		return d, err
	}
	as, _, err := cl.Activations(ctx, rouse.ActivationQuery{Function: name, Limit: shownActivations})
	d.Activations = []wire.Activation{}
	for _, a := range as {
		d.Activations = append(d.Activations, wire.ActivationOf(a))
	}
	return d, err
}

func (a *app) printDescription(server string, d description) error {
	f := d.Function
	if err := a.table(facts(f)); err != nil {
		return err
	}
	fmt.Fprintln(a.out, "\nversions")
	rows := [][]string{}
	for _, v := range slices.Backward(d.Versions[max(0, len(d.Versions)-shownVersions):]) {
		rows = append(rows, []string{fmt.Sprintf("  %d", v.Version), v.Runtime, v.Contract, size(v.CodeSize), ago(v.Created)})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	if len(d.Aliases) > 0 {
		fmt.Fprintln(a.out, "\naliases")
		rows = nil
		for _, x := range d.Aliases {
			rows = append(rows, []string{"  " + x.Name, target(x)})
		}
		if err := a.table(rows); err != nil {
			return err
		}
	}
	if len(d.Activations) > 0 {
		fmt.Fprintln(a.out, "\nlast activations")
		as := make([]rouse.Activation, len(d.Activations))
		for i, x := range d.Activations {
			as[i] = x.Activation
		}
		if err := a.printActivations(as); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.out, "\ncall it\n  %s\n", a.tryInvoke(f))
	if f.Namespace == rouse.DefaultNamespace {
		fmt.Fprintf(a.out, "  %s\n", a.tryRoute(server, f))
	}
	return nil
}

// facts are a function's settings. Values of its environment may be secrets and
// are left out.
func facts(f rouse.Function) [][]string {
	rows := [][]string{
		{"name", f.Name},
		{"namespace", string(f.Namespace)},
		{"version", fmt.Sprint(f.Version)},
		{"deployed", f.Created.Local().Format(time.RFC3339) + ", " + ago(f.Created)},
		{"runtime", f.Runtime},
		{"contract", f.Contract},
		{"handler", f.Handler},
		{"code", fmt.Sprintf("%s, %s", size(f.CodeSize), f.Code)},
		{"memory", size(f.Limits.Memory)},
		{"tmp", size(f.Limits.Tmp)},
		{"timeout", f.Limits.Timeout.String()},
		{"concurrency", fmt.Sprintf("%d events in each of %d to %s instances", f.Limits.Concurrency, f.Limits.Min, most(f.Limits.Max))},
		{"retries", fmt.Sprint(max(0, f.Retry.Attempts-1))},
		{"egress", yes(f.Egress)},
		{"public", yes(f.Public)},
	}
	if len(f.Allow) > 0 {
		rows = append(rows, []string{"allow", strings.Join(f.Allow, ", ")})
	}
	if len(f.Env) > 0 {
		rows = append(rows, []string{"env", strings.Join(slices.Sorted(maps.Keys(f.Env)), ", ")})
	}
	if f.Deps != "" {
		rows = append(rows, []string{"dependencies", string(f.Deps)})
	}
	return rows
}

func most(n int) string {
	if n == 0 {
		return "any number of"
	}
	return fmt.Sprint(n)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
