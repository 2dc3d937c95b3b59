package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func routesCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "routes",
		Short: "List routes, and say which paths of the server lead to which function",
		Long: `A route leads the HTTP requests of a pattern to a function, which answers them.
Patterns are those of Go's net/http: a method or none, {name} for one piece of the
path, {name...} for the rest, and a slash at the end for all below.`,
		Example: `  rouse routes
  rouse routes set /hello hello
  rouse routes set 'GET /items/{id}' items --public
  rouse routes rm /hello`,
		Aliases: []string{"route"},
		Args:    unknown,
		RunE:    func(c *cobra.Command, _ []string) error { return a.listRoutes(c.Context()) },
	}
	list := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List routes",
		Example: `  rouse routes ls
  rouse routes ls --json`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error { return a.listRoutes(c.Context()) },
	}
	remove := a.remover("routes", "a route", "to its function", a.completeRoutes(), (*client.Client).RemoveRoute)
	c.AddCommand(routeSet(a), list, remove)
	return c
}

func routeSet(a *app) *cobra.Command {
	var o wire.RouteOptions
	c := &cobra.Command{
		Use:   "set PATTERN FUNCTION",
		Short: "Lead requests to a function, or to a version or alias of it",
		Example: `  rouse routes set /hello hello
  rouse routes set 'GET /items/{id}' items:prod
  rouse routes set /files/ files --public`,
		Args:              exactly("PATTERN", "FUNCTION"),
		ValidArgsFunction: a.completeRoutes(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			o.To, o.Qualifier, _ = strings.Cut(args[1], ":")
			r, err := cl.SetRoute(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			fmt.Fprintf(a.out, "%s leads to %s, %s\n", r.Name, led(r), callers(r))
			return nil
		},
	}
	c.Flags().BoolVar(&o.Public, "public", false, "callers show no token, whatever the function says")
	return c
}

// led is where a route leads.
func led(r rouse.Route) string {
	if r.Qualifier != "" {
		return r.To + ":" + r.Qualifier
	}
	return r.To
}

func callers(r rouse.Route) string {
	if r.Public {
		return "for everybody"
	}
	return "for those whom the function lets in"
}

func (a *app) listRoutes(ctx context.Context) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	all, err := allRoutes(ctx, cl)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(wire.Routes{Routes: all})
	}
	rows := [][]string{{"PATTERN", "TO", "PUBLIC", "CREATED"}}
	for _, r := range all {
		public := "-"
		if r.Public {
			public = "yes"
		}
		rows = append(rows, []string{r.Name, led(r), public, ago(r.Created)})
	}
	return a.table(rows)
}

func allRoutes(ctx context.Context, cl *client.Client) ([]rouse.Route, error) {
	return pages(func(after string) ([]rouse.Route, string, error) {
		p, err := cl.Routes(ctx, after, pageSize)
		return p.Routes, p.Next, err
	})
}

func (a *app) completeRoutes() completion {
	return completeFrom(a, allRoutes, func(x rouse.Route) string { return x.Name })
}
