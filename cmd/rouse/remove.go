package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse/dialect/native/client"
)

// remover makes the command that removes one thing of a kind after asking; what
// says in its summary what goes with it, and the question ends with "with".
func (a *app) remover(kind, what, with string, names completion, remove func(*client.Client, context.Context, string) error) *cobra.Command {
	var sure bool
	c := &cobra.Command{
		Use:               "rm NAME",
		Short:             "Remove " + what,
		Example:           fmt.Sprintf("  rouse %s rm old\n  rouse %s rm old --yes", kind, kind),
		Args:              exactly("NAME"),
		ValidArgsFunction: names,
		RunE: func(c *cobra.Command, args []string) error {
			if !sure {
				if err := a.ask(c, fmt.Sprintf("remove %s %s %s?", strings.TrimSuffix(kind, "s"), args[0], with), args[0]+" stays"); err != nil {
					return err
				}
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			if err := remove(cl, c.Context(), args[0]); err != nil {
				return err
			}
			if !a.json {
				fmt.Fprintf(a.out, "removed %s\n", args[0])
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&sure, "yes", "y", false, "do not ask")
	return c
}
