package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// A selection is what query and scan have in common.
type selection struct {
	*app
	index, filter string
	attributes    []string
	limit         int
}

func (s *selection) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.index, "index", "", "use this `index` of the table")
	f.StringVar(&s.filter, "filter", "", "only items for which this `condition` holds")
	f.StringSliceVar(&s.attributes, "attributes", nil, "only these `attributes`")
	f.IntVar(&s.limit, "limit", 0, "at most so many `items` (default all)")
}

func (s *selection) read(c *cobra.Command) (sel data.Select, err error) {
	if sel.Filter, err = s.condition(c.Context(), "--filter", s.filter); err != nil {
		return sel, err
	}
	for _, text := range s.attributes {
		p, err := data.ParsePath(text)
		if err != nil {
			return sel, err
		}
		sel.Attributes = append(sel.Attributes, p)
	}
	return sel, nil
}

// all fetches pages until there are as many items as were asked for, and prints
// them.
func (s *selection) all(t data.Table, page func(after data.Item) (data.Page, error)) error {
	out := data.Page{Items: []data.Item{}}
	for {
		p, err := page(out.After)
		if err != nil {
			return err
		}
		out.Items, out.Seen, out.After = append(out.Items, p.Items...), out.Seen+p.Seen, p.After
		if s.limit > 0 && len(out.Items) >= s.limit {
			out.Items = out.Items[:s.limit]
			break
		}
		if p.After == nil {
			break
		}
	}
	if s.json {
		out.After = nil // what comes after it is no more a page's
		return s.printJSON(out)
	}
	if len(out.Items) == 0 {
		fmt.Fprintln(s.err, "there are no such items")
		return nil
	}
	return s.printItems(out.Items, t.Key.Name, t.Sort.Name)
}

func tableQuery(a *app) *cobra.Command {
	s := &selection{app: a}
	var sort string
	var reverse bool
	c := &cobra.Command{
		Use:   "query NAME KEY",
		Short: "List the items of one key in the order of their sort attribute",
		Long: `List the items of one key in the order of their sort attribute. --sort picks some:
a test and its values, with eq, lt, le, gt, ge, begins (one value) or between (two).`,
		Example: `  rouse table query seen ada
  rouse table query seen ada --sort 'between 1 5' --reverse
  rouse table query things red --index by-color --filter '{"price":{"lt":5}}' --limit 10`,
		Args:              exactly("NAME", "KEY"),
		ValidArgsFunction: a.completeTables(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			t, err := cl.Table(c.Context(), args[0])
			if err != nil {
				return err
			}
			q := wire.Query{Index: s.index, Reverse: reverse}
			keyAt, sortAt, err := attributesOf(c, t, s.index)
			if err != nil {
				return err
			}
			if q.Key, err = valueOf(keyAt, args[1]); err != nil {
				return err
			}
			if q.Sort, err = rangeOf(c, sortAt, sort); err != nil {
				return err
			}
			if q.Select, err = s.read(c); err != nil {
				return err
			}
			return s.all(t, func(after data.Item) (data.Page, error) {
				q.After = after
				return cl.Query(c.Context(), t.Name, q)
			})
		},
	}
	s.flags(c)
	c.Flags().StringVar(&sort, "sort", "", "only those whose sort attribute passes this `test`, such as 'ge 5'")
	c.Flags().BoolVar(&reverse, "reverse", false, "the last first")
	return c
}

// attributesOf returns by what a table or one of its indexes finds items.
func attributesOf(c *cobra.Command, t data.Table, index string) (key, sort data.Attribute, err error) {
	if index == "" {
		return t.Key, t.Sort, nil
	}
	for _, x := range t.Indexes {
		if x.Name == index {
			return x.Key, x.Sort, nil
		}
	}
	return key, sort, usage(c, "table %s has no index %q", t.Name, index)
}

func rangeOf(c *cobra.Command, at data.Attribute, s string) (*data.Range, error) {
	words := strings.Fields(s)
	if len(words) == 0 {
		return nil, nil
	}
	r := &data.Range{}
	if err := r.Op.UnmarshalText([]byte(words[0])); err != nil || len(words) < 2 {
		return nil, usage(c, "--sort %q is not such as 'ge 5' or 'between 1 5'", s)
	}
	values := words[1:]
	if r.Op != data.Between { // the value may have spaces in it
		values = []string{strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(s), words[0]))}
	}
	for _, w := range values {
		v, err := valueOf(at, w)
		if err != nil {
			return nil, err
		}
		r.Values = append(r.Values, v)
	}
	return r, nil
}

func tableScan(a *app) *cobra.Command {
	s := &selection{app: a}
	c := &cobra.Command{
		Use:   "scan NAME",
		Short: "List all items of a table",
		Example: `  rouse table scan users
  rouse table scan users --filter '{"age":{"ge":18}}' --attributes name,age
  rouse table scan users --json | jq '.items[]'`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeTables(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			t, err := cl.Table(c.Context(), args[0])
			if err != nil {
				return err
			}
			in := wire.Scan{Index: s.index}
			if in.Select, err = s.read(c); err != nil {
				return err
			}
			return s.scan(c, cl, t, in)
		},
	}
	s.flags(c)
	return c
}

func (s *selection) scan(c *cobra.Command, cl *client.Client, t data.Table, in wire.Scan) error {
	return s.all(t, func(after data.Item) (data.Page, error) {
		in.After = after
		return cl.Scan(c.Context(), t.Name, in)
	})
}
