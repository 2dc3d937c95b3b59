package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func rmCommand(a *app) *cobra.Command {
	var sure bool
	c := &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a function with all its versions and aliases",
		Long: `Remove a function with all its versions and aliases. Calls that run finish; its
activations and logs stay until their time is over.`,
		Example: `  rouse rm hello
  rouse rm hello --yes`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeFunctions,
		RunE: func(c *cobra.Command, args []string) error {
			name := args[0]
			if !sure {
				if !terminal(a.in) {
					return usage(c, "nobody is here to be asked whether %s may go; give --yes", name)
				}
				fmt.Fprintf(a.err, "remove %s with all its versions and aliases? [y/N] ", name)
				answer, err := read(c.Context(), func() (string, error) { return bufio.NewReader(a.in).ReadString('\n') })
				if err != nil && !errors.Is(err, io.EOF) {
					return err
				}
				if !strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y") {
					return fmt.Errorf("%s stays", name)
				}
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			if err := cl.Remove(c.Context(), name); err != nil {
				return err
			}
			if !a.json {
				fmt.Fprintf(a.out, "removed %s\n", name)
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&sure, "yes", "y", false, "do not ask")
	return c
}
