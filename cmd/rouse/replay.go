package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func replayCommand(a *app) *cobra.Command {
	var in wire.Replay
	var rule, trigger string
	c := &cobra.Command{
		Use:   "replay --rule RULE --since TIME",
		Short: "Deliver once more what came in before",
		Long: `Deliver once more the events that matched a rule, or all rules on a trigger, since a
time, marked as replayed. With --function or --version they go to other code than
the rule's own: to try a mended version on what failed. They go out slowly, and
beside what comes in meanwhile. What was to go out while the rule was paused, or the
server down, goes out at once then, no more at a time than the rule's "parallel".`,
		Example: `  rouse replay --rule resize --since 2h
  rouse replay --rule resize --since 2h --version 7 --rate 5
  rouse replay --rule resize --since 2026-01-02T03:00:00Z --until 1h --function resize-test
  rouse replay --trigger inbox --since 30m`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			names := []string{rule}
			if trigger != "" {
				if names, err = rulesOn(c, cl, trigger); err != nil {
					return err
				}
			}
			return a.replay(c, cl, names, in)
		},
	}
	f := c.Flags()
	f.StringVar(&rule, "rule", "", "the `rule` whose events to deliver")
	f.StringVar(&trigger, "trigger", "", "the `trigger` whose events to deliver, by all rules on it")
	f.StringVar(&in.Since, "since", "", "events since this `time`, or as long ago as 2h")
	f.StringVar(&in.Until, "until", "", "events before this `time`, or as long ago as 1h (default now)")
	f.StringVar(&in.Function, "function", "", "send them to this `function`, not to the rule's own target")
	f.StringVar(&in.Version, "version", "", "send them to this `version` or alias of the function")
	f.Float64Var(&in.Rate, "rate", 50, "so many `deliveries` a second")
	_ = c.MarkFlagRequired("since") // fails only for a flag that is not there
	c.MarkFlagsMutuallyExclusive("rule", "trigger")
	c.MarkFlagsOneRequired("rule", "trigger")
	for flag, names := range map[string]completion{"rule": a.completeRules(), "trigger": a.completeTriggers(), "function": a.completeFunctions} {
		_ = c.RegisterFlagCompletionFunc(flag, func(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
			return names(c, nil, prefix)
		})
	}
	return c
}

// rulesOn returns the names of the rules that listen to a trigger.
func rulesOn(c *cobra.Command, cl *client.Client, trigger string) (names []string, err error) {
	if _, err := cl.Trigger(c.Context(), trigger); err != nil {
		return nil, err
	}
	all, err := allRules(c.Context(), cl)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if r.On.Trigger == trigger {
			names = append(names, r.Name)
		}
	}
	if len(names) == 0 {
		return nil, rouse.Errorf(rouse.NotFound, "replay trigger", trigger, "no rule listens to it; make one with: rouse rules set NAME --on trigger:%s --to FUNCTION", trigger)
	}
	return names, nil
}

func (a *app) replay(c *cobra.Command, cl *client.Client, names []string, in wire.Replay) error {
	queued := map[string]int{}
	for _, name := range names {
		n, err := cl.Replay(c.Context(), name, in)
		if err != nil {
			return err
		}
		queued[name] = n
		if !a.json {
			fmt.Fprintf(a.out, "rule %s delivers %s once more\n", name, plural(n, "event"))
		}
	}
	if a.json {
		return a.printJSON(map[string]any{"queued": queued})
	}
	return nil
}
