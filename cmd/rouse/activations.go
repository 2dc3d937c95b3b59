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

type activations struct {
	*app
	status, since string
	limit         int
	wait          time.Duration
}

func activationsCommand(a *app) *cobra.Command {
	v := &activations{app: a}
	c := &cobra.Command{
		Use:   "activations [NAME | ID]",
		Short: "List what ran, or show one activation",
		Long: `List what ran, newest first: of all functions or of one. Given an activation's
id, show all that is known of it; --wait waits for its end.

A status is one of: ` + strings.Join(rouse.Statuses(), ", ") + `.`,
		Example: `  rouse activations
  rouse activations hello --status failed,crashed --since 1h
  rouse activations --limit 200 --json
  rouse activations 019a0c5e7b3f7d1e8a64c2f0b1d2e3f4 --wait 30s`,
		Aliases:           []string{"activation"},
		Args:              between(0, "NAME"),
		ValidArgsFunction: a.completeFunctions,
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			name := first(args...)
			if isID(name) {
				return v.show(c.Context(), cl, name)
			}
			if v.wait != 0 {
				return usage(c, "--wait is for one activation; give its id")
			}
			return v.list(c.Context(), cl, name)
		},
	}
	f := c.Flags()
	f.StringVar(&v.status, "status", "", "only these `statuses`, such as failed,timed-out")
	f.StringVar(&v.since, "since", "", "only those since this `time`, or as long ago as 1h")
	f.IntVar(&v.limit, "limit", 50, "at most so many")
	f.DurationVar(&v.wait, "wait", 0, "with an id: how long to wait for its end, such as 30s")
	return c
}

// isID tells an activation's id from a function's name.
func isID(s string) bool { return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == "" }

func (v *activations) list(ctx context.Context, cl *client.Client, name string) (err error) {
	q := rouse.ActivationQuery{Function: name}
	if q.Since, err = moment(v.since); err != nil {
		return err
	}
	if q.Statuses, err = statuses(v.status); err != nil {
		return err
	}
	if v.limit < 1 {
		return rouse.Errorf(rouse.Invalid, "read --limit", fmt.Sprint(v.limit), "it must be 1 or more")
	}
	var all []rouse.Activation
	for left := v.limit; left > 0; left = v.limit - len(all) {
		q.Limit = min(left, 1000)
		as, next, err := cl.Activations(ctx, q)
		if err != nil {
			return err
		}
		all = append(all, as...)
		if q.Before = next; next == "" {
			break
		}
	}
	if v.json {
		page := wire.Activations{Activations: []wire.Activation{}}
		for _, a := range all {
			page.Activations = append(page.Activations, wire.ActivationOf(a))
		}
		return v.printJSON(page)
	}
	return v.printActivations(all)
}

// statuses reads "failed,timed-out": a "-" stands for a space.
func statuses(list string) (ss []rouse.Status, err error) {
	if list == "" {
		return nil, nil
	}
	for word := range strings.SplitSeq(list, ",") {
		var s rouse.Status
		if err := s.UnmarshalText([]byte(strings.ReplaceAll(strings.TrimSpace(word), "-", " "))); err != nil {
			return nil, err
		}
		ss = append(ss, s)
	}
	return ss, nil
}

func (a *app) printActivations(as []rouse.Activation) error {
	rows := [][]string{{"ID", "FUNCTION", "STATUS", "START", "COLD", "QUEUE", "INIT", "RUN", "MEMORY"}}
	for _, x := range as {
		cold := "-"
		if x.Cold {
			cold = "cold"
		}
		rows = append(rows, []string{x.ID, fmt.Sprintf("%s:%d", x.Function.Name, x.Version), attempted(x), ago(x.Started), cold, span(x.Queued), span(x.Init), span(x.Run), size(x.Memory)})
	}
	return a.table(rows)
}

// attempted is the status of an activation, and which attempt it is of several.
func attempted(a rouse.Activation) string {
	text := a.Status.String()
	switch {
	case a.Again:
		text += fmt.Sprintf(" (%d, again)", a.Attempt)
	case a.Attempt > 1:
		text += fmt.Sprintf(" (%d)", a.Attempt)
	}
	return text
}

func (v *activations) show(ctx context.Context, cl *client.Client, id string) error {
	a, err := cl.Activation(ctx, id, v.wait)
	if err != nil {
		return err
	}
	if v.json {
		return v.printJSON(wire.ActivationOf(a))
	}
	rows := [][]string{
		{"id", a.ID},
		{"function", fmt.Sprintf("%s:%d", a.Function.Name, a.Version)},
		{"status", attempted(a)},
		{"started", a.Started.Local().Format(time.RFC3339) + ", " + ago(a.Started)},
		{"queued", span(a.Queued)},
		{"init", span(a.Init)},
		{"run", span(a.Run)},
		{"memory", size(a.Memory)},
		{"gb-seconds", fmt.Sprintf("%.6f", a.GBSeconds)},
	}
	if a.Attempt > 0 {
		rows = append(rows, []string{"attempt", fmt.Sprint(a.Attempt)})
	}
	if a.Cause != "" {
		rows = append(rows, []string{"cause", a.Cause})
	}
	if err := v.table(rows); err != nil {
		return err
	}
	switch f := a.Failure; {
	case f != nil && f.Stack != "":
		fmt.Fprintf(v.out, "\n%s: %s\n%s\n", f.Type, f.Message, strings.TrimRight(f.Stack, "\n"))
	case f != nil:
		fmt.Fprintf(v.out, "\n%s: %s\n", f.Type, f.Message)
	case a.Result != nil && (wire.IsJSON(a.ContentType) || strings.HasPrefix(a.ContentType, "text/")):
		fmt.Fprintf(v.out, "\n%s\n", a.Result)
	case a.Size > 0:
		fmt.Fprintf(v.out, "\nthe result is %s of %s\n", size(a.Size), first(a.ContentType, wire.JSON))
	}
	return nil
}
