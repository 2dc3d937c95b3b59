package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/manifest"
)

// defaultManifest is the file that commands read where none is named.
const defaultManifest = "rouse.yaml"

// manifestName returns the file that args name.
func manifestName(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return defaultManifest
}

// plan reads a manifest and compares it with the server.
func (a *app) plan(c *cobra.Command, name string, prune bool) (*manifest.Plan, error) {
	f, err := manifest.Load(name, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	cl, err := a.client()
	if err != nil {
		return nil, err
	}
	return f.Plan(c.Context(), cl, prune)
}

// printPlan shows what is to be done.
func (a *app) printPlan(p *manifest.Plan) {
	signs := map[manifest.Action]string{manifest.Create: "+", manifest.Change: "~", manifest.Remove: "-"}
	for _, s := range p.Steps {
		fmt.Fprintf(a.out, "%s %s %s\n", signs[s.Action], s.Kind, s.Name)
		for _, d := range s.Details {
			fmt.Fprintf(a.out, "    %s\n", d)
		}
	}
	switch {
	case len(p.Steps) == 0:
		fmt.Fprintf(a.out, "nothing to do: all %d are as they should be\n", p.Same)
	default:
		fmt.Fprintf(a.out, "%d to do, %d as they should be\n", len(p.Steps), p.Same)
	}
}

func diffCommand(a *app) *cobra.Command {
	var prune bool
	c := &cobra.Command{
		Use:   "diff [FILE]",
		Short: "Show how a manifest differs from what the server has",
		Long: `Show how a manifest, rouse.yaml where no other is named, differs from what the
server has: + is to be created, ~ to be changed, - to be removed (with --prune).
Nothing is changed. What apply would refuse is refused here as well.

Exit code 1 says that there is a difference.`,
		Example: `  rouse diff
  rouse diff shop.yaml --prune`,
		Args: between(0, "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.plan(c, manifestName(args), prune)
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(p)
			} else {
				a.printPlan(p)
			}
			if err == nil && len(p.Steps) > 0 {
				return exit{exitFunction}
			}
			return err
		},
	}
	c.Flags().BoolVar(&prune, "prune", false, "also what the server has and the manifest does not")
	return c
}

func applyCommand(a *app) *cobra.Command {
	var prune, sure bool
	c := &cobra.Command{
		Use:   "apply [FILE]",
		Short: "Make the server as a manifest says",
		Long: `Make the server as a manifest says, rouse.yaml where no other is named: its
functions, streams, queues, tables, buckets, triggers, rules and routes. It shows
what is to be done and asks; what is as it should be stays untouched. What the
server would refuse is said before anything is done. Where a step fails all the
same, those before it are taken back, but for version numbers, which count on.
Who else applies a manifest in the namespace waits until it is done.

With --prune, what the server has and the manifest does not is removed, with all
that it holds; what something else uses is not, and a bucket only when it is
empty. Rules and routes in whose place others come go before those are made, all
else when all is made; what can't be taken back last: triggers with secrets,
functions and what holds data.

"${NAME}" in the manifest is a variable of the environment.`,
		Example: `  rouse apply
  rouse apply shop.yaml --yes
  rouse apply --prune`,
		Args: between(0, "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			name := manifestName(args)
			var shown *manifest.Plan
			if !sure {
				// Others need not wait until somebody has answered.
				var err error
				if shown, err = a.plan(c, name, prune); err != nil {
					return err
				}
				if !a.json {
					a.printPlan(shown)
				}
				if len(shown.Steps) > 0 {
					if err := a.ask(c, "do this?", "nothing was done"); err != nil {
						return err
					}
				}
			}
			return a.inTurn(c, func() error { return a.apply(c, name, prune, shown) })
		},
	}
	c.Flags().BoolVar(&prune, "prune", false, "remove what the manifest does not have")
	c.Flags().BoolVarP(&sure, "yes", "y", false, "do not ask")
	return c
}

// inTurn calls do while nobody else applies a manifest in the namespace.
func (a *app) inTurn(c *cobra.Command, do func() error) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	done, err := cl.Turn(c.Context(), func() {
		fmt.Fprintln(a.err, "somebody else applies a manifest in this namespace: waiting for its end")
	})
	if err != nil {
		return err
	}
	defer done()
	return do()
}

// apply applies a manifest. Somebody was asked about what was shown; nil is
// nobody.
func (a *app) apply(c *cobra.Command, name string, prune bool, shown *manifest.Plan) error {
	p, err := a.plan(c, name, prune)
	switch {
	case err != nil:
		return err
	case shown != nil && !p.Equal(shown):
		return rouse.Errorf(rouse.Conflict, "apply", name, "what is to be done is no longer what was shown, and nothing was done: say it again")
	case shown == nil && !a.json:
		a.printPlan(p)
	}
	start := time.Now()
	err = p.Apply(c.Context(), func(r manifest.Report) {
		if !a.json {
			fmt.Fprintln(a.err, reported(r))
		}
	})
	switch {
	case err != nil:
		return err
	case a.json:
		return a.printJSON(p)
	case len(p.Steps) > 0:
		fmt.Fprintf(a.out, "done in %s\n", span(rouse.Duration(time.Since(start))))
	}
	return nil
}

// reported is what became of a step.
func reported(r manifest.Report) string {
	switch {
	case r.Err != nil:
		return fmt.Sprintf("not taken back: %s of %s %s", r.Action, r.Kind, r.Name)
	case r.Back:
		return fmt.Sprintf("taken back: %s of %s %s", r.Action, r.Kind, r.Name)
	}
	return fmt.Sprintf("%d/%d %s %s %s", r.N, r.Of, past(r.Action), r.Kind, r.Name)
}

func past(a manifest.Action) string {
	return map[manifest.Action]string{manifest.Create: "created", manifest.Change: "changed", manifest.Remove: "removed"}[a]
}

// ask asks whether to go on; "no" is an error that says what it means.
func (a *app) ask(c *cobra.Command, question, no string) error {
	if !terminal(a.in) {
		return usage(c, "nobody is here to answer %q: give --yes", question)
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	answer, err := read(c.Context(), func() (string, error) { return bufio.NewReader(a.in).ReadString('\n') })
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y") {
		return errors.New(no)
	}
	return nil
}
