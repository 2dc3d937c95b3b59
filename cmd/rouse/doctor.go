package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse/sandbox/process"
)

func doctorCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Find out how well this machine can isolate functions",
		Long: `Attempt each step of making a sandbox, in a child process, and say what works,
which isolation tier results and what to change where one is missing.

The exit code is 0 where functions can run, 1 where not.`,
		Example: "  rouse doctor\n  rouse doctor --json",
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			if err := a.enterScope(); err != nil { // as "rouse up" does
				return err
			}
			d := process.Doctor()
			if a.json {
				if err := a.printJSON(d); err != nil {
					return err
				}
			} else {
				a.printDiagnosis(d)
			}
			if d.Tier == "none" {
				return exit{exitFunction}
			}
			return nil
		},
	}
}

func (a *app) printDiagnosis(d process.Diagnosis) {
	for _, c := range d.Checks {
		mark := a.paint(a.out, faint, "yes")
		if !c.OK {
			mark = a.paint(a.out, red, "NO ")
		}
		detail := ""
		if c.Detail != "" {
			detail = " (" + c.Detail + ")"
		}
		fmt.Fprintf(a.out, "  %s  %s%s\n", mark, c.Name, detail)
		if !c.OK {
			fmt.Fprintf(a.out, "       %s\n", c.Hint)
		}
	}
	fmt.Fprintf(a.out, "\nisolation tier: %s\n", d.Tier)
	if d.Next != "" {
		fmt.Fprintf(a.out, "to get a better one: %s\n", d.Next)
	}
}
