package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

func rulesCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "rules",
		Short: "List rules, and say which events go where",
		Long: `A rule sends the events of one thing that match a pattern to a function, or to a
queue, a stream or a webhook, at least once.`,
		Example: `  rouse rules
  rouse rules set resize --on trigger:inbox --to resize --when '{"name":[{"suffix":".jpg"}]}'
  rouse rules describe resize
  rouse rules pause resize`,
		Aliases: []string{"rule"},
		Args:    unknown,
		RunE:    func(c *cobra.Command, _ []string) error { return a.listRules(c.Context()) },
	}
	list := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List rules and how they do",
		Example: `  rouse rules ls
  rouse rules ls --json`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error { return a.listRules(c.Context()) },
	}
	remove := a.remover("rules", "a rule", "and drop what waits for it", a.completeRules(), (*client.Client).RemoveRule)
	dead, redrive := ruleDead(a)
	c.AddCommand(dead, redrive, ruleSet(a), ruleDescribe(a), rulePause(a), ruleResume(a), list, remove)
	return c
}

func (a *app) listRules(ctx context.Context) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	all, err := pages(func(after string) ([]wire.Rule, string, error) {
		p, err := cl.Rules(ctx, after, pageSize/10, true) // which takes longer
		return p.Rules, p.Next, err
	})
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(wire.Rules{Rules: all})
	}
	rows := [][]string{{"NAME", "ON", "TO", "WAITING", "DEAD", "STATUS"}}
	for _, r := range all {
		waiting, dead := "-", "-"
		if r.Status != nil {
			waiting, dead = fmt.Sprint(r.Status.Waiting), fmt.Sprint(r.Status.Dead)
		}
		rows = append(rows, []string{r.Name, onText(r.On), targetText(&r.To), waiting, dead, health(r)})
	}
	return a.table(rows)
}

// health says in a few words how a rule does.
func health(r wire.Rule) string {
	text := wholeHealth(r)
	if runes := []rune(text); len(runes) > 2*shownWidth {
		text = string(runes[:2*shownWidth-1]) + "…"
	}
	return text
}

// wholeHealth is how a rule does, with all that is known of why.
func wholeHealth(r wire.Rule) string {
	text := "ok"
	switch {
	case r.Paused != "":
		text = "paused: " + r.Paused
	case r.Status != nil && r.Status.Failing != "":
		text = "failing: " + r.Status.Failing
	}
	return strings.Join(strings.Fields(text), " ")
}

func onText(on event.On) string {
	for _, o := range []struct{ kind, name string }{{"trigger", on.Trigger}, {"stream", on.Stream}, {"queue", on.Queue},
		{"table", on.Table}, {"bucket", on.Bucket}, {"function", on.Function}} {
		if o.name == "" {
			continue
		}
		if on.Outcome != "" {
			return o.kind + ":" + o.name + " " + on.Outcome
		}
		return o.kind + ":" + o.name
	}
	return "-"
}

func targetText(t *event.Target) string {
	switch {
	case t == nil:
		return "-"
	case t.Function != "" && t.Qualifier != "":
		return "function:" + t.Function + ":" + t.Qualifier
	case t.Function != "":
		return "function:" + t.Function
	case t.Queue != "":
		return "queue:" + t.Queue
	case t.Stream != "":
		return "stream:" + t.Stream
	}
	return t.Webhook
}

func ruleDescribe(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "describe NAME",
		Short:             "Show all of a rule, and how it does",
		Example:           `  rouse rules describe resize`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeRules(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			r, err := cl.Rule(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.printRule(r)
		},
	}
}

func (a *app) printRule(r wire.Rule) error {
	if a.json {
		return a.printJSON(r)
	}
	rows := [][]string{{"name", r.Name}, {"on", onText(r.On)}, {"to", targetText(&r.To)}}
	add := func(name, value string) {
		if value != "" && value != "-" {
			rows = append(rows, []string{name, value})
		}
	}
	add("when", string(r.When))
	add("input", string(r.Input))
	if b := r.Batch; b != nil {
		text := fmt.Sprintf("up to %d events or %s, waiting up to %v", b.Size, size(int64(b.Bytes)), b.Window)
		if b.Bisect {
			text += ", halved where they fail"
		}
		add("batch", text)
	}
	if r.Parallel > 0 {
		add("parallel", fmt.Sprintf("%d at once", r.Parallel))
	}
	retry := fmt.Sprintf("%d attempts, %v apart at first", r.Retry.Attempts, r.Retry.Backoff)
	if r.Retry.Age > 0 {
		retry += fmt.Sprintf(", until an event is %v old", r.Retry.Age)
	}
	add("retry", retry)
	add("dead letters", targetText(r.DeadLetter))
	add("success", targetText(r.Success))
	add("failure", targetText(r.Failure))
	if r.Budget > 0 {
		add("budget", fmt.Sprintf("%g GB-seconds an hour", r.Budget))
	}
	add("created", r.Created.Local().Format(time.RFC3339)+", "+ago(r.Created))
	add("status", wholeHealth(r))
	if r.Paused != "" {
		add("go on", "rouse rules resume "+r.Name)
	}
	if s := r.Status; s != nil {
		add("waiting", fmt.Sprint(s.Waiting))
		add("oldest", ago(s.Oldest))
		add("dead", fmt.Sprint(s.Dead))
		if s.Dead > 0 {
			add("send again", "rouse rules redrive "+r.Name)
		}
	}
	return a.table(rows)
}

func rulePause(a *app) *cobra.Command {
	var why string
	c := &cobra.Command{
		Use:   "pause NAME",
		Short: "Deliver nothing; what comes in waits",
		Example: `  rouse rules pause resize
  rouse rules pause resize --why 'the disk is full'`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeRules(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			r, err := cl.PauseRule(c.Context(), args[0], why)
			if err != nil {
				return err
			}
			return a.printHealth(r)
		},
	}
	c.Flags().StringVar(&why, "why", "", "the `reason`, for others to read")
	return c
}

func ruleResume(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "resume NAME",
		Short:             "Deliver again what waits and what comes",
		Example:           `  rouse rules resume resize`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeRules(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			r, err := cl.ResumeRule(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.printHealth(r)
		},
	}
}

func (a *app) printHealth(r wire.Rule) error {
	if a.json {
		return a.printJSON(r)
	}
	fmt.Fprintf(a.out, "rule %s: %s\n", r.Name, health(r))
	return nil
}
