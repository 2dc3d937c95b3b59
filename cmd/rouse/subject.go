package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func subjectCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "subject",
		Short: "List, add and change those who own a namespace and have a key to it",
		Long: `A subject owns the namespace of its name. With its key, clients of other
platforms work in it, and in no other; rouse env shows them how. The subject
"default" is always there.`,
		Example: `  rouse subject ls
  rouse subject set guest --invocations 120 --fires 60 --concurrent 30
  rouse subject set guest --rotate
  rouse subject rm guest`,
		Args: unknown,
		RunE: help,
	}
	list := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List subjects, without their keys",
		Example: `  rouse subject ls
  rouse subject ls --json`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error { return a.listSubjects(c.Context()) },
	}
	remove := a.remover("subject", "a subject's key", "to its namespace, which stays", a.completeSubjects(), (*client.Client).RemoveSubject)
	c.AddCommand(subjectSet(a), list, remove)
	return c
}

func subjectSet(a *app) *cobra.Command {
	var o wire.SubjectOptions
	c := &cobra.Command{
		Use:   "set NAME",
		Short: "Add a subject, or change what it may do",
		Long:  "What is not said of a subject that is there stays as it is.",
		Example: `  rouse subject set guest
  rouse subject set guest --invocations 120 --fires 60 --concurrent 30
  rouse subject set guest --rotate`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeSubjects(),
		RunE: func(c *cobra.Command, args []string) error {
			if err := rouse.CheckName(args[0]); err != nil {
				return err
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			old, err := cl.Subject(c.Context(), rouse.Namespace(args[0]))
			if err != nil && rouse.KindOf(err) != rouse.NotFound {
				return err
			}
			next := wire.SubjectOptions{Quota: old.Quota, Blocked: old.Blocked, Rotate: o.Rotate}
			for flag, set := range map[string]func(){
				"invocations": func() { next.Quota.Invocations = o.Quota.Invocations },
				"fires":       func() { next.Quota.Fires = o.Quota.Fires },
				"concurrent":  func() { next.Quota.Concurrent = o.Quota.Concurrent },
				"blocked":     func() { next.Blocked = o.Blocked },
			} {
				if c.Flags().Changed(flag) {
					set()
				}
			}
			s, err := cl.SetSubject(c.Context(), rouse.Namespace(args[0]), next)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(s)
			}
			fmt.Fprintf(a.out, "%s owns the namespace %s; its key is %s\n", s.Namespace, s.Namespace, s.Key.ID)
			fmt.Fprintf(a.out, "for its clients: rouse env openwhisk --subject %s\n", s.Namespace)
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&o.Quota.Invocations, "invocations", 0, "invocations of functions a minute; 0 sets no bound")
	f.IntVar(&o.Quota.Fires, "fires", 0, "how often triggers may be fired a minute; 0 sets no bound")
	f.IntVar(&o.Quota.Concurrent, "concurrent", 0, "invocations at once; 0 sets no bound")
	f.BoolVar(&o.Blocked, "blocked", false, "its key opens nothing")
	f.BoolVar(&o.Rotate, "rotate", false, "it gets a new key, and the old one opens nothing any more")
	return c
}

func (a *app) listSubjects(ctx context.Context) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	all, err := cl.Subjects(ctx)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(wire.Subjects{Subjects: all})
	}
	bound := func(n int) string {
		if n == 0 {
			return "-"
		}
		return strconv.Itoa(n)
	}
	rows := [][]string{{"NAME", "KEY", "INVOCATIONS/MIN", "FIRES/MIN", "CONCURRENT", "STATE"}}
	for _, s := range all {
		state := "open"
		if s.Blocked {
			state = "blocked"
		}
		rows = append(rows, []string{string(s.Namespace), s.Key.ID, bound(s.Quota.Invocations), bound(s.Quota.Fires), bound(s.Quota.Concurrent), state})
	}
	return a.table(rows)
}

func (a *app) completeSubjects() completion {
	return completeFrom(a, func(ctx context.Context, cl *client.Client) ([]rouse.Subject, error) { return cl.Subjects(ctx) },
		func(s rouse.Subject) string { return string(s.Namespace) })
}
