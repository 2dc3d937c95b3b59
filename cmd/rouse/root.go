package main

import (
	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse/dialect/native/client"
)

// commands are all subcommands, in the order that help shows them.
var commands = []func(*app) *cobra.Command{
	upCommand,
	initCommand,
	deployCommand,
	applyCommand,
	diffCommand,
	devCommand,
	invokeCommand,
	logsCommand,
	activationsCommand,
	functionsCommand,
	describeCommand,
	aliasCommand,
	deadCommand,
	rmCommand,
	streamCommand,
	queueCommand,
	tableCommand,
	bucketCommand,
	triggerCommand,
	rulesCommand,
	routesCommand,
	subjectCommand,
	envCommand,
	replayCommand,
	explainCommand,
	doctorCommand,
	versionCommand,
	completionCommand,
}

func rootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "rouse",
		Short: "Run functions that sleep until an event rouses them",
		Long: `Rouse is a serverless platform in one binary.

A first function:

  rouse init hello --template python
  rouse deploy hello
  rouse invoke hello -d '{"name":"ada"}'

The server is found by --server or ROUSE_SERVER, and its token by ROUSE_TOKEN
or in the data folder of a server on this machine (--data or ROUSE_DATA).

Exit codes: 0 all went well, 1 a function failed, 2 something else did.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknown,
		RunE:          help,
	}
	root.CompletionOptions.DisableDefaultCmd = true // ours completes functions' names as well
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", "", "`address` of the server (ROUSE_SERVER, else "+client.DefaultServer+")")
	flags.StringVar(&a.data, "data", "", "data `folder` of the server, which holds the token (ROUSE_DATA)")
	flags.StringVarP(&a.namespace, "namespace", "n", "", "`namespace` of functions (ROUSE_NAMESPACE, else default)")
	flags.BoolVar(&a.json, "json", false, "print JSON, for programs")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if before := c.Flags().Args(); c.HasSubCommands() && len(before) > 0 { // a flag of no command
			return unknown(c, before)
		}
		return usage(c, "%v", err)
	})
	for _, command := range commands {
		root.AddCommand(command(a))
	}
	return root
}
