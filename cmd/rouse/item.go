package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// valueOf reads a value of a key attribute as people write it.
func valueOf(at data.Attribute, s string) (data.Value, error) {
	switch at.Type {
	case data.Number:
		return data.Num(s), nil
	case data.Binary:
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return data.Value{}, rouse.Errorf(rouse.Invalid, "read key", at.Name, "%q is not base64", s)
		}
		return data.Bytes(b), nil
	}
	return data.Text(s), nil
}

// itemKey reads a key: one JSON object, or the values of the table's key and
// sort attributes.
func (a *app) itemKey(c *cobra.Command, cl *client.Client, table string, args []string) (data.Item, error) {
	if len(args) == 1 && strings.HasPrefix(args[0], "{") {
		var key data.Item
		err := a.givenJSON(c.Context(), "KEY", args[0], &key)
		return key, err
	}
	t, err := cl.Table(c.Context(), table)
	if err != nil {
		return nil, err
	}
	attributes := []data.Attribute{t.Key}
	if t.Sort.Name != "" {
		attributes = append(attributes, t.Sort)
	}
	if len(args) != len(attributes) {
		var names []string
		for _, at := range attributes {
			names = append(names, at.Name)
		}
		return nil, usage(c, "the key of %s has %s: %s; give a value for each", table, plural(len(names), "attribute"), strings.Join(names, " and "))
	}
	key := data.Item{}
	for i, at := range attributes {
		if key[at.Name], err = valueOf(at, args[i]); err != nil {
			return nil, err
		}
	}
	return key, nil
}

// condition reads --if or --filter; "" is none.
func (a *app) condition(ctx context.Context, flag, s string) (*data.Cond, error) {
	if s == "" {
		return nil, nil
	}
	var cond data.Cond
	if err := a.givenJSON(ctx, flag, s, &cond); err != nil {
		return nil, err
	}
	return &cond, nil
}

func tablePut(a *app) *cobra.Command {
	var cond string
	c := &cobra.Command{
		Use:   "put NAME ITEM",
		Short: "Store an item, in place of the one of its key",
		Long: `Store an item, a JSON object, or what is in the file after an @, or with - what
comes in. With --if it is stored only where the condition holds of what is there.`,
		Example: `  rouse table put users '{"name":"ada","age":36}'
  rouse table put users @ada.json
  rouse table put users '{"name":"ada"}' --if '{"name":{"exists":false}}'`,
		Args:              exactly("NAME", "ITEM"),
		ValidArgsFunction: a.completeTables(),
		RunE: func(c *cobra.Command, args []string) (err error) {
			var p wire.Put
			if err := a.givenJSON(c.Context(), "ITEM", args[1], &p.Item); err != nil {
				return err
			}
			if p.If, err = a.condition(c.Context(), "--if", cond); err != nil {
				return err
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			p.Return = "old"
			w, err := cl.PutItem(c.Context(), args[0], p)
			if err != nil {
				return a.refused(err)
			}
			if a.json {
				return a.printJSON(w)
			}
			if w.Old != nil {
				fmt.Fprintln(a.out, "replaced one")
			} else {
				fmt.Fprintln(a.out, "stored")
			}
			return nil
		},
	}
	c.Flags().StringVar(&cond, "if", "", "store it only where this `condition` holds")
	return c
}

// refused says what is there, where a condition did not hold.
func (a *app) refused(err error) error {
	r, ok := errors.AsType[*data.Refused](err)
	if !ok || len(r.Writes) != 1 {
		return err
	}
	e, _ := errors.AsType[*rouse.Error](err)
	if r.Writes[0].Item == nil {
		return rouse.Errorf(rouse.Conflict, e.Op, e.On, "the condition does not hold: there is no such item")
	}
	b, err := r.Writes[0].Item.MarshalJSON()
	if err != nil {
		return err
	}
	return rouse.Errorf(rouse.Conflict, e.Op, e.On, "the condition does not hold of %s", b)
}

func tableGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "get NAME KEY [SORT]",
		Short: "Print the item of a key",
		Long: `Print the item of a key, as JSON. The key is the values of the table's key and sort
attributes, or one JSON object of both.`,
		Example: `  rouse table get users ada
  rouse table get seen ada 1
  rouse table get seen '{"user":"ada","at":1}'`,
		Args:              between(2, "NAME", "KEY", "SORT"),
		ValidArgsFunction: a.completeTables(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			key, err := a.itemKey(c, cl, args[0], args[1:])
			if err != nil {
				return err
			}
			item, err := cl.GetItem(c.Context(), args[0], key)
			if err != nil {
				return err
			}
			if item == nil {
				return rouse.Errorf(rouse.NotFound, "get item", args[0], "there is none of this key")
			}
			return a.printJSON(item)
		},
	}
}

func tableDelete(a *app) *cobra.Command {
	var cond string
	c := &cobra.Command{
		Use:   "delete NAME KEY [SORT]",
		Short: "Remove the item of a key",
		Example: `  rouse table delete users ada
  rouse table delete seen ada 1 --if '{"page":"/"}'`,
		Args:              between(2, "NAME", "KEY", "SORT"),
		ValidArgsFunction: a.completeTables(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			d := wire.DeleteItem{Return: "old"}
			if d.Key, err = a.itemKey(c, cl, args[0], args[1:]); err != nil {
				return err
			}
			if d.If, err = a.condition(c.Context(), "--if", cond); err != nil {
				return err
			}
			w, err := cl.DeleteItem(c.Context(), args[0], d)
			if err != nil {
				return a.refused(err)
			}
			switch {
			case a.json:
				return a.printJSON(w)
			case w.Old == nil:
				fmt.Fprintln(a.out, "there was none")
			default:
				fmt.Fprintln(a.out, "removed one")
			}
			return nil
		},
	}
	c.Flags().StringVar(&cond, "if", "", "remove it only where this `condition` holds")
	return c
}

// shownWidth bounds what of a value is shown in a column.
const shownWidth = 40

// printItems prints items in columns: those of the key first.
func (a *app) printItems(items []data.Item, keys ...string) error {
	seen := map[string]bool{}
	for _, i := range items {
		for k := range i {
			seen[k] = true
		}
	}
	var columns []string
	for _, k := range keys {
		if seen[k] {
			columns = append(columns, k)
			delete(seen, k)
		}
	}
	columns = append(columns, slices.Sorted(maps.Keys(seen))...)
	rows := [][]string{columns}
	for _, i := range items {
		var row []string
		for _, k := range columns {
			text, err := valueText(i[k])
			if err != nil {
				return err
			}
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	return a.table(rows)
}

func valueText(v data.Value) (string, error) {
	text := "-"
	switch v.Type {
	case data.NoType:
	case data.String:
		text = strings.Join(strings.Fields(v.Text), " ")
	default:
		b, err := v.MarshalJSON()
		if err != nil {
			return "", err
		}
		text = string(b)
	}
	if r := []rune(text); len(r) > shownWidth {
		text = string(r[:shownWidth-1]) + "…"
	}
	return text, nil
}
