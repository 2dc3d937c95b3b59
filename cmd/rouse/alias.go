package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func aliasCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "alias",
		Short: "Name versions of a function, and share calls between two",
		Long: `An alias is a name for one version of a function, or for two of which the other
gets a share of the calls. Callers that use it need not know versions.`,
		Example: `  rouse alias set hello prod 3
  rouse alias set hello prod 3 --other 4 --weight 0.1
  rouse alias list hello
  rouse alias rm hello prod
  rouse invoke hello --qualifier prod`,
		Args: unknown,
		RunE: help,
	}
	c.AddCommand(aliasSet(a), aliasList(a), aliasRemove(a))
	return c
}

func aliasSet(a *app) *cobra.Command {
	var t wire.AliasTarget
	c := &cobra.Command{
		Use:   "set NAME ALIAS VERSION",
		Short: "Point an alias at a version",
		Example: `  rouse alias set hello prod 3
  rouse alias set hello prod 3 --other 4 --weight 0.1`,
		Args:              exactly("NAME", "ALIAS", "VERSION"),
		ValidArgsFunction: a.completeFunctions,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if t.Version, err = strconv.Atoi(args[2]); err != nil || t.Version < 1 {
				return usage(c, "VERSION is %q; it must be a number from 1", args[2])
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			alias, err := cl.SetAlias(c.Context(), args[0], args[1], t)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(alias)
			}
			fmt.Fprintf(a.out, "%s of %s is %s\n", alias.Name, alias.Function.Name, target(alias))
			return nil
		},
	}
	c.Flags().IntVar(&t.Other, "other", 0, "a second `version`, which gets --weight of the calls")
	c.Flags().Float64Var(&t.Weight, "weight", 0, "the other version's `share` of the calls, 0 to 1")
	c.MarkFlagsRequiredTogether("other", "weight")
	return c
}

// target says in words what an alias points at.
func target(x rouse.Alias) string {
	if x.Other == 0 {
		return fmt.Sprintf("version %d", x.Version)
	}
	return fmt.Sprintf("version %d, and %d for %g%% of the calls", x.Version, x.Other, x.Weight*100)
}

func aliasList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "list NAME",
		Aliases:           []string{"ls"},
		Short:             "List the aliases of a function",
		Example:           `  rouse alias list hello`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeFunctions,
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			as, err := cl.Aliases(c.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(wire.Aliases{Aliases: as})
			}
			rows := [][]string{{"ALIAS", "TARGET"}}
			for _, x := range as {
				rows = append(rows, []string{x.Name, target(x)})
			}
			return a.table(rows)
		},
	}
}

func aliasRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "rm NAME ALIAS",
		Short:             "Remove an alias",
		Example:           `  rouse alias rm hello prod`,
		Args:              exactly("NAME", "ALIAS"),
		ValidArgsFunction: a.completeFunctions,
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			return cl.RemoveAlias(c.Context(), args[0], args[1])
		},
	}
}
