package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

// ruleFlags are a rule as flags say it.
type ruleFlags struct {
	*app
	file, on, outcome, when, input string
	to, deadLetter                 string
	success, failure               string
	oldest, bisect                 bool
	batch                          int
	window, backoff, age           time.Duration
	rule                           event.Rule
}

func ruleSet(a *app) *cobra.Command {
	v := &ruleFlags{app: a}
	c := &cobra.Command{
		Use:   "set NAME",
		Short: "Make a rule, or change one",
		Long: `Make a rule, or change the one of that name, which goes on where it was.

What it listens to is KIND:NAME, with trigger, stream, queue, table, bucket or
function. What it sends to is a function's NAME or NAME:VERSION, or queue:NAME,
stream:NAME or a URL. --file takes the whole rule as JSON, such as "rouse rules
describe NAME --json" prints.`,
		Example: `  rouse rules set resize --on trigger:inbox --to resize --when '{"name":[{"suffix":".jpg"}]}'
  rouse rules set count --on stream:clicks --to count --batch 100 --window 1s
  rouse rules set worker --on queue:jobs --to work --parallel 4
  rouse rules set failed --on function:resize --outcome failure --to queue:jobs-dead
  rouse rules set resize --file resize.json`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeRules(),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := v.read(c)
			if err != nil {
				return err
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			if r, err = cl.SetRule(c.Context(), args[0], r); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			fmt.Fprintf(a.out, "rule %s sends events of %s to %s\n", r.Name, onText(r.On), targetText(&r.To))
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&v.on, "on", "", "what to listen to, as `KIND:NAME`")
	f.StringVar(&v.outcome, "outcome", "", "of a function: success or failure (default both)")
	f.StringVar(&v.when, "when", "", "a `pattern` of the events to send, as JSON (default all)")
	f.StringVar(&v.input, "input", "", "a `template` of what is sent, as JSON (default the event)")
	f.StringVar(&v.to, "to", "", "where to send them, a function or another `target`")
	f.StringVar(&v.deadLetter, "dead-letter", "", "the `target` of events that were given up, such as queue:dead")
	f.StringVar(&v.success, "success", "", "the `target` of what came of each delivery that went well")
	f.StringVar(&v.failure, "failure", "", "the `target` of what came of those given up")
	f.BoolVar(&v.oldest, "from-oldest", false, "begin with the oldest event that is kept, not with what happens from now on")
	f.IntVar(&v.batch, "batch", 0, "send up to so many `events` at once, as a list")
	durationVar(f, &v.window, "window", 0, "with --batch: how long to wait for more")
	f.BoolVar(&v.bisect, "bisect", false, "with --batch: halve a batch that fails, to find what it is that fails")
	f.IntVar(&v.rule.Parallel, "parallel", 0, "how many `deliveries` at once, for streams and tables of each shard")
	f.IntVar(&v.rule.Retry.Attempts, "attempts", 0, "how often a delivery is tried (default 3)")
	durationVar(f, &v.backoff, "backoff", 0, "how long before the second attempt (default 1s)")
	durationVar(f, &v.age, "age", 0, "give up events that are older (default none)")
	f.Float64Var(&v.rule.Budget, "budget", 0, "`GB-seconds` an hour of its function, beyond which the rule is paused")
	f.StringVar(&v.file, "file", "", "the whole rule, as JSON in a `file`; - is what comes in")
	c.MarkFlagsMutuallyExclusive("file", "on")
	c.MarkFlagsOneRequired("file", "on")
	return c
}

func (v *ruleFlags) read(c *cobra.Command) (r event.Rule, err error) {
	if v.file != "" {
		name := v.file
		if name != "-" {
			name = "@" + name
		}
		var w wire.Rule
		err := v.givenJSON(c.Context(), "--file", name, &w)
		return w.Rule, err
	}
	r = v.rule
	if r.On, err = onOf(c, v.on); err != nil {
		return r, err
	}
	r.On.Outcome = v.outcome
	if v.to == "" {
		return r, usage(c, "--to is missing")
	}
	r.To = targetOf(v.to)
	for _, t := range []struct {
		text string
		to   **event.Target
	}{{v.deadLetter, &r.DeadLetter}, {v.success, &r.Success}, {v.failure, &r.Failure}} {
		if t.text != "" {
			target := targetOf(t.text)
			*t.to = &target
		}
	}
	for _, t := range []struct {
		flag, text string
		to         *json.RawMessage
	}{{"--when", v.when, &r.When}, {"--input", v.input, &r.Input}} {
		if t.text == "" {
			continue
		}
		if err := v.givenJSON(c.Context(), t.flag, t.text, t.to); err != nil {
			return r, err
		}
	}
	if v.oldest {
		r.From = "oldest"
	}
	if v.batch == 0 && (v.window != 0 || v.bisect) {
		return r, usage(c, "--window and --bisect are of --batch, which is missing")
	}
	if v.batch != 0 {
		r.Batch = &event.Batch{Size: v.batch, Window: rouse.Duration(v.window), Bisect: v.bisect}
	}
	r.Retry.Backoff, r.Retry.Age = rouse.Duration(v.backoff), rouse.Duration(v.age)
	return r, nil
}

func onOf(c *cobra.Command, s string) (on event.On, err error) {
	kind, name, _ := strings.Cut(s, ":")
	to, ok := map[string]*string{"trigger": &on.Trigger, "stream": &on.Stream, "queue": &on.Queue, "table": &on.Table, "bucket": &on.Bucket, "function": &on.Function}[kind]
	if !ok || name == "" {
		return on, usage(c, "--on %q is not such as trigger:inbox; there are trigger, stream, queue, table, bucket and function", s)
	}
	*to = name
	return on, nil
}

func targetOf(s string) (t event.Target) {
	kind, name, _ := strings.Cut(s, ":")
	switch {
	case strings.Contains(s, "://"):
		t.Webhook = s
	case kind == "queue":
		t.Queue = name
	case kind == "stream":
		t.Stream = name
	case kind == "function":
		t.Function, t.Qualifier, _ = strings.Cut(name, ":")
	default:
		t.Function, t.Qualifier = kind, name
	}
	return t
}
