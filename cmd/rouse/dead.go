package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// A graveyard is where dead letters are listed and sent back from: those of
// functions, or of rules.
type graveyard struct {
	command  string // such as "rouse dead"
	again    string // that sends them back, such as "rouse dead redrive"
	complete cobra.CompletionFunc
	list     func(c *client.Client, ctx context.Context, name string, after int64, limit int) ([]rouse.DeadLetter, int64, error)
	redrive  func(c *client.Client, ctx context.Context, name string, ids ...int64) (int, error)
}

func deadCommand(a *app) *cobra.Command {
	g := graveyard{"rouse dead", "rouse dead redrive", a.completeFunctions, (*client.Client).DeadLetters, (*client.Client).Redrive}
	c := g.listCommand(a)
	c.Short = "List asynchronous invocations that were given up, or run them again"
	c.Long = `List asynchronous invocations of a function that failed at each attempt: its dead
letters. Once what made them fail is mended, redrive runs them again.`
	c.AddCommand(g.redriveCommand(a))
	return c
}

// ruleDead are the commands for what rules gave up.
func ruleDead(a *app) (list, redrive *cobra.Command) {
	g := graveyard{"rouse rules dead", "rouse rules redrive", a.completeRules(), (*client.Client).DeadEvents, (*client.Client).RedriveEvents}
	list = g.listCommand(a)
	list.Short = "List events that a rule gave up"
	list.Long = `List events that a rule gave up after its last attempt, where it has no dead letter
of its own to send them to; and those that the fuse has parked, because they came
through too many activations, one leading to the next. Once what made them fail or
go round is mended, redrive delivers them again.`
	return list, g.redriveCommand(a)
}

func (g graveyard) listCommand(a *app) *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use:               "dead NAME",
		Example:           fmt.Sprintf("  %s hello\n  %s hello\n  %s hello 17 18", g.command, g.again, g.again),
		Args:              exactly("NAME"),
		ValidArgsFunction: g.complete,
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			ds, next, err := g.list(cl, c.Context(), args[0], 0, limit)
			if err != nil {
				return err
			}
			return a.printDead(ds, next)
		},
	}
	c.Flags().IntVar(&limit, "limit", 100, "at most so many, 1 to 1000")
	return c
}

func (a *app) printDead(ds []rouse.DeadLetter, next int64) error {
	if a.json {
		page := wire.Dead{Dead: []wire.DeadLetter{}, Next: next}
		for _, d := range ds {
			page.Dead = append(page.Dead, wire.DeadLetterOf(d))
		}
		return a.printJSON(page)
	}
	rows := [][]string{{"ID", "OF", "ATTEMPTS", "ACCEPTED", "GIVEN UP", "REASON"}}
	for _, d := range ds {
		rows = append(rows, []string{fmt.Sprint(d.ID), idIn(d), fmt.Sprint(d.Count), ago(d.Sent), ago(d.Buried), d.Reason})
	}
	return a.table(rows)
}

// idIn returns the ID of the Invocation or Event in a dead letter, where it
// holds one.
func idIn(d rouse.DeadLetter) string {
	var in struct {
		ID    string `json:"id"`
		Event struct {
			ID string `json:"id"`
		} `json:"event"`
	}
	if json.Unmarshal(d.Body, &in) != nil {
		return "-"
	}
	return first(in.ID, in.Event.ID, "-")
}

func (g graveyard) redriveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "redrive NAME [ID ...]",
		Short:             "Run dead letters again: all, or those with these ids",
		Example:           fmt.Sprintf("  %s hello\n  %s hello 17 18", g.again, g.again),
		ValidArgsFunction: g.complete,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(c, "NAME is missing")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			var ids []int64
			for _, s := range args[1:] {
				id, err := strconv.ParseInt(s, 10, 64)
				if err != nil {
					return usage(c, "%q is no id of a dead letter; %s %s lists them", s, g.command, args[0])
				}
				ids = append(ids, id)
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			n, err := g.redrive(cl, c.Context(), args[0], ids...)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(wire.Redriven{Redriven: n})
			}
			fmt.Fprintf(a.out, "%d run again\n", n)
			return nil
		},
	}
}
