package main

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
)

func logsCommand(a *app) *cobra.Command {
	var q client.LogQuery
	var since string
	var count int
	c := &cobra.Command{
		Use:   "logs NAME",
		Short: "Show what a function printed",
		Long: `Show what a function printed, oldest first, and with -f what it prints from now
on. With --json each line is an object with its activation and stream.`,
		Example: `  rouse logs hello
  rouse logs -f hello
  rouse logs -f hello --count 1
  rouse logs hello --since 10m --limit 50
  rouse logs hello --activation 019a0c5e7b3f7d1e8a64c2f0b1d2e3f4`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeFunctions,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if q.Since, err = moment(since); err != nil {
				return err
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			var failed error
			seen := 0
			err = cl.Logs(c.Context(), args[0], q, func(l rouse.Line) bool {
				failed = a.printLine(l)
				seen++
				return failed == nil && seen != count
			})
			return cmp.Or(err, failed)
		},
	}
	f := c.Flags()
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on with new lines")
	f.IntVar(&count, "count", 0, "end after `n` lines; with -f, wait for as many")
	f.StringVar(&since, "since", "", "only lines since this `time`, or as long ago as 10m")
	f.StringVar(&q.Activation, "activation", "", "only lines of the activation with this `id`")
	f.IntVar(&q.Limit, "limit", 0, "only the newest `n` stored lines (default 1000)")
	return c
}

func (a *app) printLine(l rouse.Line) error {
	if a.json {
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		return e.Encode(l)
	}
	text := l.Text
	switch l.Stream {
	case rouse.Stderr:
		text = a.paint(a.out, red, text)
	case rouse.Platform:
		text = a.paint(a.out, faint, "["+text+"]")
	}
	_, err := fmt.Fprintln(a.out, a.paint(a.out, faint, l.Time.Local().Format("2006-01-02 15:04:05.000")), text)
	return err
}
