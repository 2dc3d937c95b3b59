package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

func triggerCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "trigger",
		Short: "Make triggers, and fire them by hand",
		Long: `A trigger makes events when something happens: a timer goes off, a file is written,
a request comes in. Rules say where its events go.`,
		Example: `  rouse trigger set nightly schedule cron='0 3 * * *' zone=Europe/Berlin
  rouse trigger kinds
  rouse trigger ls
  rouse trigger fire nightly`,
		Args: unknown,
		RunE: help,
	}
	c.AddCommand(triggerSet(a), triggerKinds(a), triggerFire(a), triggerList(a), triggerDescribe(a), triggerRemove(a))
	return c
}

func triggerSet(a *app) *cobra.Command {
	var config string
	c := &cobra.Command{
		Use:   "set NAME KIND [FIELD=VALUE ...]",
		Short: "Make a trigger, or change one",
		Long: `Make a trigger, or change the one of that name. Its fields are those of its kind;
--config gives all of them as JSON. A VALUE that is JSON is taken as that, and
other ones are text.

Kinds are:
` + kindsText() + `
"rouse trigger kinds KIND" shows the fields of one.`,
		Example: `  rouse trigger set nightly schedule cron='0 3 * * *'
  rouse trigger set inbox files path=/srv/in
  rouse trigger set hook github --config '{"secret":"...","events":["push"]}'`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usage(c, "%s is missing", []string{"NAME", "KIND"}[len(args)])
			}
			return nil
		},
		ValidArgsFunction: a.completeTriggers(),
		RunE: func(c *cobra.Command, args []string) error {
			o := wire.TriggerOptions{Kind: args[1]}
			switch {
			case config != "" && len(args) > 2:
				return usage(c, "--config and fields are both given; one is enough")
			case config != "":
				if err := a.givenJSON(c.Context(), "--config", config, &o.Config); err != nil {
					return err
				}
			case len(args) > 2:
				fields, err := fieldsOf(c, args[2:])
				if err != nil {
					return err
				}
				o.Config = fields
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			t, err := cl.SetTrigger(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(t)
			}
			fmt.Fprintf(a.out, "trigger %s is %s %s\n", t.Name, t.Kind, t.Config)
			return nil
		},
	}
	c.Flags().StringVar(&config, "config", "", "all fields, as `JSON` or in a file after an @")
	return c
}

func fieldsOf(c *cobra.Command, args []string) (json.RawMessage, error) {
	texts, err := pairs(c, "field", args)
	if err != nil {
		return nil, err
	}
	fields := map[string]any{}
	for k, v := range texts {
		fields[k] = v
		if json.Valid([]byte(v)) {
			fields[k] = json.RawMessage(v)
		}
	}
	return json.Marshal(fields)
}

func triggerFire(a *app) *cobra.Command {
	var text string
	var attributes []string
	var e rouse.Event
	c := &cobra.Command{
		Use:   "fire NAME",
		Short: "Make an event as if a trigger had",
		Long: `Make an event as if a trigger had. Its data are JSON or text; - is what comes in,
and what follows an @ a file.`,
		Example: `  rouse trigger fire nightly
  rouse trigger fire inbox -d '{"name":"cat.jpg"}' --type file.written
  rouse trigger fire hook -d @push.json --attribute source-ip=10.0.0.1`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeTriggers(),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if e.Attributes, err = pairs(c, "--attribute", attributes); err != nil {
				return err
			}
			if e.Data, err = a.given(c.Context(), text); err != nil {
				return err
			}
			if len(e.Data) > 0 && e.ContentType == "" && !json.Valid(e.Data) {
				e.ContentType = "text/plain"
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			ids, err := cl.Fire(c.Context(), args[0], e)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(wire.Fired{IDs: ids})
			}
			fmt.Fprintln(a.out, ids[0])
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&text, "payload", "d", "", "the event's `data`")
	f.StringVar(&e.Type, "type", "", "its `type`, such as file.written")
	f.StringVar(&e.Subject, "subject", "", "what it is about")
	f.StringVar(&e.ID, "id", "", "its `id`; one with the id of an earlier one is dropped (default a new one)")
	f.StringVar(&e.ContentType, "content-type", "", "the `type` of its data (default JSON or text, as it is)")
	f.StringArrayVar(&attributes, "attribute", nil, "a `name=value` more; may be given often")
	return c
}

func triggerList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List triggers",
		Example: `  rouse trigger ls
  rouse trigger ls --json`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			all, err := allTriggers(c.Context(), cl)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(wire.Triggers{Triggers: all})
			}
			rows := [][]string{{"NAME", "KIND", "STATE", "CONFIG", "CREATED"}}
			for _, t := range all {
				config := []rune(strings.Join(strings.Fields(string(t.Config)), " "))
				if len(config) > 2*shownWidth {
					config = append(config[:2*shownWidth-1], '…')
				}
				rows = append(rows, []string{t.Name, t.Kind, healthText(t.Status), string(config), ago(t.Created)})
			}
			return a.table(rows)
		},
	}
}

// healthText is how a trigger does, and why not well.
func healthText(h *event.Health) string {
	switch {
	case h == nil:
		return "-"
	case h.Error == "":
		return string(h.State)
	}
	text := []rune(h.Error)
	if len(text) > shownWidth {
		text = append(text[:shownWidth-1], '…')
	}
	return fmt.Sprintf("%s, %s: %s", h.State, ago(h.Since), string(text))
}

func triggerRemove(a *app) *cobra.Command {
	return a.remover("trigger", "a trigger that no rule listens to", "with what it remembers", a.completeTriggers(), (*client.Client).RemoveTrigger)
}
