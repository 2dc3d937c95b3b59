package main

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func deadCommand(a *app) *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use:   "dead NAME",
		Short: "List asynchronous invocations that were given up, or run them again",
		Long: `List asynchronous invocations of a function that failed at each attempt: its dead
letters. Once what made them fail is mended, redrive runs them again.`,
		Example: `  rouse dead hello
  rouse dead redrive hello
  rouse dead redrive hello 17 18`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeFunctions,
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			ds, next, err := cl.DeadLetters(c.Context(), args[0], 0, limit)
			if err != nil {
				return err
			}
			if a.json {
				page := wire.Dead{Dead: []wire.DeadLetter{}, Next: next}
				for _, d := range ds {
					page.Dead = append(page.Dead, wire.DeadLetterOf(d))
				}
				return a.printJSON(page)
			}
			rows := [][]string{{"ID", "ACTIVATION", "ATTEMPTS", "ACCEPTED", "GIVEN UP", "REASON"}}
			for _, d := range ds {
				rows = append(rows, []string{fmt.Sprint(d.ID), activationOf(d), fmt.Sprint(d.Count), ago(d.Sent), ago(d.Buried), d.Reason})
			}
			return a.table(rows)
		},
	}
	c.Flags().IntVar(&limit, "limit", 100, "at most so many, 1 to 1000")
	c.AddCommand(redriveCommand(a))
	return c
}

// activationOf returns the ID in a dead letter's Invocation, where it holds one.
func activationOf(d rouse.DeadLetter) string {
	var in struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(d.Body, &in) != nil || in.ID == "" {
		return "-"
	}
	return in.ID
}

func redriveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "redrive NAME [ID ...]",
		Short: "Run dead letters again: all, or those with these ids",
		Example: `  rouse dead redrive hello
  rouse dead redrive hello 17 18`,
		ValidArgsFunction: a.completeFunctions,
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
					return usage(c, "%q is no id of a dead letter; rouse dead %s lists them", s, args[0])
				}
				ids = append(ids, id)
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			n, err := cl.Redrive(c.Context(), args[0], ids...)
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
