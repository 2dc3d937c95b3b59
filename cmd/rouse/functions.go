package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func functionsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "functions",
		Aliases: []string{"ls"},
		Short:   "List what is deployed",
		Long:    `List the newest version of each function.`,
		Example: `  rouse functions
  rouse functions --json | jq -r '.functions[].name'`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			fs, err := allFunctions(c.Context(), cl)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(wire.Functions{Functions: fs})
			}
			if len(fs) == 0 {
				fmt.Fprintln(a.err, "nothing is deployed; begin with: rouse init hello --template python")
				return nil
			}
			rows := [][]string{{"NAME", "VERSION", "RUNTIME", "CONTRACT", "MEMORY", "TIMEOUT", "SIZE", "DEPLOYED"}}
			for _, f := range fs {
				rows = append(rows, []string{f.Name, fmt.Sprint(f.Version), f.Runtime, f.Contract, size(f.Limits.Memory), f.Limits.Timeout.String(), size(f.CodeSize), ago(f.Created)})
			}
			return a.table(rows)
		},
	}
}

func allFunctions(ctx context.Context, cl *client.Client) ([]rouse.Function, error) {
	all := []rouse.Function{}
	for after := ""; ; {
		page, err := cl.Functions(ctx, after, 1000)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Functions...)
		if after = page.Next; after == "" {
			return all, nil
		}
	}
}

// completeFunctions gives a shell the names of functions that begin with prefix.
func (a *app) completeFunctions(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	const no = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 {
		return nil, no
	}
	cl, err := a.client()
	if err != nil {
		return nil, no
	}
	// A person waits with a finger on the key.
	ctx, cancel := context.WithTimeout(c.Context(), time.Second)
	defer cancel()
	fs, err := allFunctions(ctx, cl)
	if err != nil {
		return nil, no
	}
	var names []string
	for _, f := range fs {
		if strings.HasPrefix(f.Name, prefix) {
			names = append(names, f.Name)
		}
	}
	return names, no
}
