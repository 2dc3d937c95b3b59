package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
)

// envs print what the clients of a platform read to find us and to prove who
// they are.
var envs = map[string]func(a *app, server string, s rouse.Subject){
	"openwhisk": func(a *app, server string, s rouse.Subject) {
		fmt.Fprintf(a.out, "APIHOST=%s\nAUTH=%s:%s\nNAMESPACE=_\nAPIVERSION=v1\n", server, s.Key.ID, s.Key.Secret)
	},
}

func envCommand(a *app) *cobra.Command {
	var subject string
	c := &cobra.Command{
		Use:   "env CLOUD",
		Short: "Print what another platform's clients need to use this server",
		Long: `Env prints the settings with which the clients of another platform use this
server: its address and a subject's key. There is:

  openwhisk   for ~/.wskprops, which wsk, wskdeploy and the client libraries read`,
		Example: `  rouse env openwhisk > ~/.wskprops
  rouse env openwhisk --subject guest`,
		ValidArgs: []string{"openwhisk"},
		Args:      exactly("CLOUD"),
		RunE: func(c *cobra.Command, args []string) error {
			print, ok := envs[args[0]]
			if !ok {
				return usage(c, "there is no %q; there is openwhisk", args[0])
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			s, err := cl.Subject(c.Context(), rouse.Namespace(subject))
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(s)
			}
			print(a, cl.Server(), s)
			return nil
		},
	}
	c.Flags().StringVar(&subject, "subject", string(rouse.DefaultNamespace), "whose `key`; rouse subject ls lists them")
	return c
}
