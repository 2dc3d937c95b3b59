package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func tableCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "table",
		Short: "Make tables, and put, get and query items",
		Long: `A table holds items by a key, and by a second one that sorts those with the same
first. Items are JSON objects; a condition is one such as {"price": {"lt": 5}}.
Its tests are eq, ne, lt, le, gt, ge, between, in, begins, contains, exists, type
and size; {"$or": [...]}, {"$and": [...]} and {"$not": {...}} combine. All of it:
docs/DATA.md.`,
		Example: `  rouse table create seen --key user --sort at:number
  rouse table put seen '{"user":"ada","at":1,"page":"/"}'
  rouse table get seen ada 1
  rouse table query seen ada --sort 'ge 1'`,
		Args: unknown,
		RunE: help,
	}
	c.AddCommand(tableCreate(a), tablePut(a), tableGet(a), tableDelete(a), tableQuery(a), tableScan(a), tableList(a), tableRemove(a))
	return c
}

// attribute reads "at:number"; no type is string.
func attribute(s string) (at data.Attribute, err error) {
	if s == "" {
		return at, nil
	}
	name, kind, ok := cutLast(s, ":")
	if !ok {
		return data.Attribute{Name: s, Type: data.String}, nil
	}
	at.Name = name
	return at, at.Type.UnmarshalText([]byte(kind))
}

// index reads "by-color=color,at:number".
func index(c *cobra.Command, s string) (x data.Index, err error) {
	name, keys, ok := strings.Cut(s, "=")
	key, sort, _ := strings.Cut(keys, ",")
	if !ok || name == "" || key == "" {
		return x, usage(c, "--index %q is not such as by-color=color or by-color=color,at:number", s)
	}
	x.Name = name
	if x.Key, err = attribute(key); err != nil {
		return x, err
	}
	x.Sort, err = attribute(sort)
	return x, err
}

func tableCreate(a *app) *cobra.Command {
	var key, sort string
	var indexes []string
	var changes time.Duration
	var o wire.TableOptions
	c := &cobra.Command{
		Use:   "create NAME --key ATTRIBUTE",
		Short: "Make a table, or change one",
		Long: `Make a table, or change the indexes, the time to live and the changes of the one
of that name. An attribute is a string unless :number or :binary follows it.`,
		Example: `  rouse table create users --key name
  rouse table create seen --key user --sort at:number --ttl expires
  rouse table create things --key id --index by-color=color,price:number --changes 24h`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeTables(),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if o.Key, err = attribute(key); err != nil {
				return err
			}
			if o.Sort, err = attribute(sort); err != nil {
				return err
			}
			for _, s := range indexes {
				x, err := index(c, s)
				if err != nil {
					return err
				}
				o.Indexes = append(o.Indexes, x)
			}
			o.Changes = rouse.Duration(changes)
			cl, err := a.client()
			if err != nil {
				return err
			}
			t, err := cl.SetTable(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(t)
			}
			fmt.Fprintf(a.out, "table %s is ready\n", t.Name)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&key, "key", "", "the `attribute` by which items are found")
	f.StringVar(&sort, "sort", "", "the `attribute` that sorts items with the same key")
	f.StringArrayVar(&indexes, "index", nil, "another way to find items, `name=key[,sort]`; may be given often")
	f.StringVar(&o.TTL, "ttl", "", "the `attribute` that says, in seconds since 1970, when an item expires")
	durationVar(f, &changes, "changes", 0, "how long changes are kept for rules; 0 keeps none")
	_ = c.MarkFlagRequired("key") // fails only for a flag that is not there
	return c
}

func tableList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List tables",
		Example: `  rouse table ls
  rouse table ls --json`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			all, err := allTables(c.Context(), cl)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(wire.Tables{Tables: all})
			}
			rows := [][]string{{"NAME", "KEY", "SORT", "INDEXES", "TTL", "CHANGES", "CREATED"}}
			for _, t := range all {
				var indexes []string
				for _, x := range t.Indexes {
					indexes = append(indexes, x.Name)
				}
				rows = append(rows, []string{t.Name, attributeText(t.Key), first(attributeText(t.Sort), "-"), first(strings.Join(indexes, " "), "-"), first(t.TTL, "-"), span(t.Changes), ago(t.Created)})
			}
			return a.table(rows)
		},
	}
}

func attributeText(at data.Attribute) string {
	if at.Type == data.String || at.Name == "" {
		return at.Name
	}
	return at.Name + ":" + at.Type.String()
}

func tableRemove(a *app) *cobra.Command {
	return a.remover("table", "a table with its items", "with its items", a.completeTables(), (*client.Client).RemoveTable)
}
