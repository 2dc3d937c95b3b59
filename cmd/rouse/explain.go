package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

func explainCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "explain ACTIVATION",
		Short: "Show why an activation ran, and what it led to",
		Long: `Show the chain that an activation is a part of: the event and the rule that led to
it, what made that event, and so on back; and the activations that it led to. With
times, with the other attempts at the same event, and with why it was cold.`,
		Example: `  rouse explain 019a0c5e7b3f7d1e8a64c2f0b1d2e3f4
  rouse explain 019a0c5e7b3f7d1e8a64c2f0b1d2e3f4 --json`,
		Args: exactly("ACTIVATION"),
		RunE: func(c *cobra.Command, args []string) error {
			if !isID(args[0]) {
				return usage(c, "%q is no activation's id, which is 32 digits of lowercase hex; rouse activations lists them", args[0])
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			x, err := cl.Explain(c.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(x)
			}
			t := &tree{app: a}
			t.print(x)
			return nil
		},
	}
}

// A tree prints a chain from its first cause down to the last effects.
type tree struct{ *app }

func (t *tree) print(x wire.Explanation) {
	indent := ""
	for i := len(x.Causes) - 1; i >= 0; i-- {
		cause := x.Causes[i]
		// Each activation in between stands at the step that it led to.
		if cause.Activation != nil {
			if i == len(x.Causes)-1 {
				t.line(indent, t.activation(*cause.Activation))
				indent += "   "
			}
		}
		t.line(indent, t.event(cause))
		indent += "   "
		if cause.Rule != "" {
			t.line(indent, "rule "+cause.Rule+listens(cause.On))
			indent += "   "
		}
		if i > 0 && x.Causes[i-1].Activation != nil {
			t.line(indent, t.activation(*x.Causes[i-1].Activation))
			indent += "   "
		}
	}
	for _, a := range x.Attempts {
		if a.Started.Before(x.Activation.Started) {
			t.line(indent, t.activation(a))
		}
	}
	t.line(indent, t.paint(t.out, bold, t.activation(x.Activation)))
	for _, note := range notes(x) {
		fmt.Fprintln(t.out, indent+t.paint(t.out, faint, note))
	}
	t.effects(indent+"   ", x.Effects)
	for _, a := range x.Attempts {
		if !a.Started.Before(x.Activation.Started) {
			t.line(indent, t.activation(a))
		}
	}
	if x.Truncated {
		t.line(indent, t.paint(t.out, faint, "there may be more: the chain is longer than what was looked at"))
	}
}

func (t *tree) line(indent, text string) {
	if indent != "" {
		indent = indent[3:] + "└─ "
	}
	fmt.Fprintln(t.out, indent+text)
}

func (t *tree) effects(indent string, all []wire.Effect) {
	for _, e := range all {
		text := t.activation(e.Activation)
		if e.Activation.Rule != "" {
			text += ", by rule " + e.Activation.Rule
		}
		t.line(indent, text)
		t.effects(indent+"   ", e.Effects)
	}
}

func listens(on string) string {
	if on == "" {
		return ""
	}
	return " on " + on
}

func (t *tree) activation(a wire.Activation) string {
	parts := []string{fmt.Sprintf("%s:%d %s", a.Function.Name, a.Version, a.Status)}
	if a.Attempt > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", a.Attempt))
	}
	parts = append(parts, "at "+clock(a.Started), "ran "+first(strings.Replace(span(a.Run), "-", "", 1), "0s"))
	if a.Replayed {
		parts = append(parts, "replayed")
	}
	if a.Cold {
		parts = append(parts, "cold")
	}
	if a.Failure != nil {
		parts = append(parts, strings.Join(strings.Fields(a.Failure.Type+": "+a.Failure.Message), " "))
	}
	return strings.Join(parts, ", ") + "  " + a.ID
}

func (t *tree) event(c wire.Cause) string {
	e := c.Event
	if e == nil {
		if c.Rule == "" && c.Activation != nil {
			return "called by it"
		}
		return "event " + c.ID + ", which is not kept any more"
	}
	parts := []string{"event " + first(e.Type, "rouse.event")}
	if e.Source != "" {
		parts = append(parts, "from "+e.Source)
	}
	if e.Subject != "" {
		parts = append(parts, "about "+e.Subject)
	}
	if !e.Time.IsZero() {
		parts = append(parts, "at "+clock(e.Time))
	}
	if c.Waited > 0 {
		parts = append(parts, "delivered "+span(c.Waited)+" later")
	}
	return strings.Join(parts, ", ") + "  " + e.ID
}

// notes are what is to be said of the activation itself.
func notes(x wire.Explanation) (all []string) {
	a := x.Activation
	if a.Queued > 0 {
		all = append(all, "waited "+span(a.Queued)+" for an instance")
	}
	if a.Cold {
		text := "cold: booting an instance took " + span(a.Init)
		if x.Cold != "" {
			text += "; " + x.Cold
		}
		all = append(all, text)
	}
	return all
}

func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }
