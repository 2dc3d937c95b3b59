package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/manifest"
	"github.com/rouse-run/rouse/trigger"
)

// kindsText lists the kinds of triggers, a line each.
func kindsText() string {
	var b strings.Builder
	for _, k := range manifest.TriggerKinds() {
		about := k.About
		for _, end := range []string{". ", ": ", "; ", ", "} {
			about, _, _ = strings.Cut(about, end)
		}
		about = strings.TrimSuffix(about, ".")
		fmt.Fprintf(&b, "  %-9s %s\n", k.Name, about)
	}
	return b.String()
}

func triggerKinds(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "kinds [KIND]",
		Short: "List the kinds of triggers, or the fields of one",
		Long: `List the kinds of triggers; of one, its fields and what its events look like. No
server is asked: all servers of this version have these.`,
		Example: `  rouse trigger kinds
  rouse trigger kinds schedule`,
		Args: between(0, "KIND"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, k := range manifest.TriggerKinds() {
				names = append(names, k.Name)
			}
			if len(args) > 0 {
				names = nil
			}
			return beginning(prefix, names), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			all := manifest.TriggerKinds()
			if len(args) == 0 {
				if a.json {
					return a.printJSON(all)
				}
				_, err := fmt.Fprint(a.out, kindsText())
				return err
			}
			for _, k := range all {
				if k.Name != args[0] {
					continue
				}
				if a.json {
					return a.printJSON(k)
				}
				return a.printKind(k)
			}
			var names []string
			for _, k := range all {
				names = append(names, k.Name)
			}
			return usage(c, "there is no kind %q; there are %s", args[0], strings.Join(names, ", "))
		},
	}
}

func (a *app) printKind(k trigger.Kind) error {
	fmt.Fprintf(a.out, "%s: %s\n\n  %s\n\n", k.Name, k.About, k.Example)
	if len(k.Fields) > 0 {
		if err := a.table(fieldRows("FIELD", k.Fields)); err != nil {
			return err
		}
		fmt.Fprintln(a.out)
	}
	fmt.Fprintf(a.out, "Its events have the type %s; the subject is %s; the id is %s.\n\n", k.Event.Type, k.Event.Subject, k.Event.ID)
	rows := [][]string{{"DATA", "WHAT", "FOR"}}
	for _, r := range fieldRows("", k.Event.Data)[1:] {
		rows = append(rows, []string{r[0], r[1], r[3]})
	}
	return a.table(rows)
}

func fieldRows(title string, fields []trigger.Field) [][]string {
	rows := [][]string{{title, "WHAT", "DEFAULT", "FOR"}}
	for _, f := range fields {
		what, def := f.Type, f.Default
		if len(f.Values) > 0 {
			what = strings.Join(f.Values, ", ")
		}
		if f.Required {
			def = "(required)"
		}
		if len(def) > 40 {
			def = def[:39] + "…"
		}
		rows = append(rows, []string{f.Name, what, def, f.About})
	}
	return rows
}

func triggerDescribe(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "describe NAME",
		Short: "Show all about a trigger",
		Long: `Show a trigger's config, the rules on it, and how it does: starting, running,
failing (it tries again), stopped (it does not), paused, or done.`,
		Example: `  rouse trigger describe inbox
  rouse trigger describe inbox --json | jq .status`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeTriggers(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			t, err := cl.Trigger(c.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(t)
			}
			rules, err := allRules(c.Context(), cl)
			if err != nil {
				return err
			}
			var config bytes.Buffer
			if err := json.Indent(&config, t.Config, "         ", "  "); err != nil {
				return fmt.Errorf("read config: %w", err)
			}
			fmt.Fprintf(a.out, "name     %s\nkind     %s\nconfig   %s\ncreated  %s\n", t.Name, t.Kind, config.String(), ago(t.Created))
			if t.Status != nil {
				a.printTriggerHealth(*t.Status)
			}
			for _, r := range rules {
				if r.On.Trigger == t.Name {
					fmt.Fprintf(a.out, "rule     %s sends its events to %s\n", r.Name, targetText(&r.To))
				}
			}
			return nil
		},
	}
}

func (a *app) printTriggerHealth(h event.Health) {
	fmt.Fprintf(a.out, "state    %s", h.State)
	if !h.Since.IsZero() {
		fmt.Fprintf(a.out, ", since %s", h.Since.Local().Format(time.DateTime))
	}
	fmt.Fprintln(a.out)
	if h.Error != "" {
		fmt.Fprintf(a.out, "error    %s\n", h.Error)
	}
	if !h.Next.IsZero() {
		fmt.Fprintf(a.out, "next     %s\n", h.Next.Format(time.RFC3339))
	}
}
