package table

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/rouse-run/rouse/data"
)

// find returns what a path leads to; ok is false where there is nothing.
func find(item data.Item, p data.Path) (v data.Value, ok bool) {
	if v, ok = item[p[0].Name]; !ok {
		return v, false
	}
	for _, s := range p[1:] {
		if s.Name == "" {
			if v.Type != data.List || s.Index >= len(v.List) {
				return v, false
			}
			v = v.List[s.Index]
			continue
		}
		if v, ok = v.Map[s.Name]; !ok {
			return v, false
		}
	}
	return v, true
}

// eval returns a term's value; ok is false where an attribute is missing. Errors
// are of types that don't fit.
func eval(item data.Item, t data.Term) (v data.Value, ok bool, err error) {
	switch t.Op {
	case data.TermConst:
		return t.Value, true, nil
	case data.TermAttr:
		v, ok = find(item, t.Path)
		return v, ok, nil
	case data.TermSize:
		if v, ok = find(item, t.Path); !ok {
			return v, false, nil
		}
		n, ok := countOf(v)
		return data.Int(int64(n)), ok, nil
	}
	a, ok, err := eval(item, t.Of[0])
	if err != nil || t.Op == data.TermDefault && ok {
		return a, ok, err
	}
	b, okB, err := eval(item, t.Of[1])
	if err != nil || t.Op == data.TermDefault {
		return b, okB, err
	}
	if !ok || !okB {
		return v, false, nil
	}
	if t.Op == data.TermAppend {
		if a.Type != data.List || b.Type != data.List {
			return v, false, fmt.Errorf("append joins lists, not a %s and a %s", a.Type, b.Type)
		}
		return data.ListOf(slices.Concat(a.List, b.List)...), true, nil
	}
	if a.Type != data.Number || b.Type != data.Number {
		return v, false, fmt.Errorf("only numbers are added or subtracted, not a %s and a %s", a.Type, b.Type)
	}
	sum, err := add(a.Text, b.Text, t.Op == data.TermMinus)
	return data.Num(sum), err == nil, err
}

// holds reports whether a clean condition holds for an item, nil being none. A
// term that can't be evaluated holds nothing.
func holds(item data.Item, c *data.Cond) bool {
	if c == nil {
		return true
	}
	switch c.Op {
	case data.And:
		return !slices.ContainsFunc(c.Of, func(of *data.Cond) bool { return !holds(item, of) })
	case data.Or:
		return slices.ContainsFunc(c.Of, func(of *data.Cond) bool { return holds(item, of) })
	case data.Not:
		return !holds(item, c.Of[0])
	}
	vs := make([]data.Value, len(c.Args))
	for i, t := range c.Args {
		v, ok, err := eval(item, t)
		switch {
		case err == nil && ok:
			vs[i] = v
		case c.Op == data.Missing || c.Op == data.Ne:
			return err == nil
		case c.Op == data.In && i > 0: // the zero Value equals none
		default:
			return false
		}
	}
	return test(c.Op, vs)
}

// test asks about vs[0].
func test(op data.CondOp, vs []data.Value) bool {
	v, rest := vs[0], vs[1:]
	switch op {
	case data.Exists:
		return true
	case data.Missing:
		return false
	case data.Eq:
		return equal(v, rest[0])
	case data.Ne:
		return !equal(v, rest[0])
	case data.In:
		return slices.ContainsFunc(rest, func(r data.Value) bool { return equal(v, r) })
	case data.HasType:
		return rest[0].Type == data.String && v.Type.String() == rest[0].Text
	case data.Begins:
		return v.Type == rest[0].Type && (v.Type == data.String && strings.HasPrefix(v.Text, rest[0].Text) ||
			v.Type == data.Binary && bytes.HasPrefix(v.Data, rest[0].Data))
	case data.Contains:
		return contains(v, rest[0])
	}
	for _, r := range rest {
		if r.Type != v.Type || !ordered(v.Type) {
			return false
		}
	}
	switch n := order(v, rest[0]); op {
	case data.Lt:
		return n < 0
	case data.Le:
		return n <= 0
	case data.Gt:
		return n > 0
	case data.Ge:
		return n >= 0
	default: // Between
		return n >= 0 && order(v, rest[1]) <= 0
	}
}

func contains(v, part data.Value) bool {
	switch v.Type {
	case data.String:
		return part.Type == data.String && strings.Contains(v.Text, part.Text)
	case data.Binary:
		return part.Type == data.Binary && bytes.Contains(v.Data, part.Data)
	}
	return slices.ContainsFunc(v.List, func(m data.Value) bool { return equal(m, part) })
}
