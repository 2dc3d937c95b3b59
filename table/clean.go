package table

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rouse-run/rouse/data"
)

// maxDepth is how deep lists and maps may be nested in an item.
const maxDepth = 32

// clean returns item as it is stored: numbers in their one form, sets in order.
func clean(item data.Item) (data.Item, error) {
	out := make(data.Item, len(item))
	for name, v := range item {
		if name == "" {
			return nil, errors.New("an attribute has no name")
		}
		c, err := cleanValue(v, 0)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", name, err)
		}
		out[name] = c
	}
	return out, nil
}

func cleanValue(v data.Value, depth int) (data.Value, error) {
	if depth > maxDepth {
		return v, fmt.Errorf("it is more than %d levels deep", maxDepth)
	}
	switch v.Type {
	case data.String, data.Binary, data.Boolean, data.Null:
		return v, nil
	case data.Number:
		d, err := parseNumber(v.Text)
		if err != nil {
			return v, err
		}
		return data.Num(canonical(d)), nil
	case data.List:
		list := make([]data.Value, len(v.List))
		for i, m := range v.List {
			c, err := cleanValue(m, depth+1)
			if err != nil {
				return v, fmt.Errorf("[%d]: %w", i, err)
			}
			list[i] = c
		}
		return data.ListOf(list...), nil
	case data.Map:
		m := make(data.Item, len(v.Map))
		for name, inner := range v.Map {
			c, err := cleanValue(inner, depth+1)
			if err != nil {
				return v, fmt.Errorf("%s: %w", name, err)
			}
			m[name] = c
		}
		return data.MapOf(m), nil
	case data.StringSet, data.NumberSet, data.BinarySet:
		return cleanSet(v, depth)
	}
	return v, errors.New("a value has no type")
}

func cleanSet(v data.Value, depth int) (data.Value, error) {
	if len(v.List) == 0 {
		return v, errors.New("a set has at least one member")
	}
	members := make([]data.Value, len(v.List))
	for i, m := range v.List {
		if m.Type != v.Type.Member() {
			return v, fmt.Errorf("a %s is in a set of %s", m.Type, v.Type)
		}
		c, err := cleanValue(m, depth)
		if err != nil {
			return v, err
		}
		members[i] = c
	}
	slices.SortFunc(members, order)
	for i := 1; i < len(members); i++ {
		if order(members[i-1], members[i]) == 0 {
			return v, errors.New("a member is twice in a set")
		}
	}
	return data.Value{Type: v.Type, List: members}, nil
}

// order compares two clean Values of one type: strings, numbers or binaries.
func order(a, b data.Value) int {
	switch a.Type {
	case data.Number:
		return compareNumbers(a.Text, b.Text)
	case data.Binary:
		return slices.Compare(a.Data, b.Data)
	}
	return strings.Compare(a.Text, b.Text)
}

// ordered reports whether order is for values of a type.
func ordered(t data.ValueType) bool { return t >= data.String && t <= data.Binary }

// equal compares clean Values.
func equal(a, b data.Value) bool {
	if a.Type != b.Type {
		return false
	}
	switch a.Type {
	case data.String, data.Number, data.Binary:
		return order(a, b) == 0
	case data.Boolean:
		return a.Bool == b.Bool
	case data.Map:
		if len(a.Map) != len(b.Map) {
			return false
		}
		for name, v := range a.Map {
			if other, ok := b.Map[name]; !ok || !equal(v, other) {
				return false
			}
		}
		return true
	}
	return slices.EqualFunc(a.List, b.List, equal)
}

// itemSize is the bytes of an item's names and values.
func itemSize(item data.Item) int {
	n := 0
	for name, v := range item {
		n += len(name) + valueSize(v)
	}
	return n
}

func valueSize(v data.Value) int {
	switch v.Type {
	case data.String:
		return len(v.Text)
	case data.Binary:
		return len(v.Data)
	case data.Number: // two digits a byte, and its exponent
		return (len(v.Text)+1)/2 + 1
	case data.Map:
		return 3 + len(v.Map) + itemSize(v.Map)
	case data.List:
		n := 3 + len(v.List)
		for _, m := range v.List {
			n += valueSize(m)
		}
		return n
	case data.StringSet, data.NumberSet, data.BinarySet:
		n := 0
		for _, m := range v.List {
			n += valueSize(m)
		}
		return n
	}
	return 1
}

// countOf is what size says in a condition.
func countOf(v data.Value) (int, bool) {
	switch v.Type {
	case data.String:
		return len(v.Text), true
	case data.Binary:
		return len(v.Data), true
	case data.Map:
		return len(v.Map), true
	case data.List, data.StringSet, data.NumberSet, data.BinarySet:
		return len(v.List), true
	}
	return 0, false
}

// cleanCond returns c with clean constants, or says what is wrong with it.
func cleanCond(c *data.Cond, depth int) (*data.Cond, error) {
	if c == nil {
		return nil, nil
	}
	if depth > 4*maxDepth {
		return nil, errors.New("the condition is too deep")
	}
	out := &data.Cond{Op: c.Op}
	want := map[data.CondOp]int{data.Exists: 1, data.Missing: 1, data.Between: 3, data.And: 0, data.Or: 0, data.Not: 0}
	n, special := want[c.Op]
	if !special {
		n = 2
	}
	combines := c.Op >= data.And && c.Op <= data.Not
	switch {
	case c.Op == 0 || c.Op > data.Not:
		return nil, errors.New("the condition has no test")
	case c.Op == data.In && len(c.Args) < 1, c.Op != data.In && len(c.Args) != n:
		return nil, fmt.Errorf("the test %s has %d terms", c.Op, len(c.Args))
	case c.Op == data.Not && len(c.Of) != 1, combines && len(c.Of) == 0, !combines && len(c.Of) > 0:
		return nil, fmt.Errorf("the test %s has %d conditions", c.Op, len(c.Of))
	case n == 1 && c.Args[0].Op != data.TermAttr:
		return nil, fmt.Errorf("the test %s wants an attribute", c.Op)
	}
	for _, t := range c.Args {
		clean, err := cleanTerm(t, depth+1)
		if err != nil {
			return nil, err
		}
		out.Args = append(out.Args, clean)
	}
	for _, of := range c.Of {
		if of == nil {
			return nil, errors.New("a condition is missing")
		}
		clean, err := cleanCond(of, depth+1)
		if err != nil {
			return nil, err
		}
		out.Of = append(out.Of, clean)
	}
	return out, nil
}

func cleanTerm(t data.Term, depth int) (data.Term, error) {
	if depth > 4*maxDepth {
		return t, errors.New("a term is too deep")
	}
	switch {
	case t.Op == data.TermConst:
		v, err := cleanValue(t.Value, 0)
		return data.Const(v), err
	case t.Op == data.TermAttr || t.Op == data.TermSize:
		return t, cleanPath(t.Path)
	case t.Op > data.TermDefault:
		return t, errors.New("a term is of no kind")
	case len(t.Of) != 2:
		return t, fmt.Errorf("a term is made of %d others, not 2", len(t.Of))
	case t.Op == data.TermDefault && t.Of[0].Op != data.TermAttr:
		return t, errors.New("only an attribute can have a default")
	}
	out := data.Term{Op: t.Op}
	for _, of := range t.Of {
		c, err := cleanTerm(of, depth+1)
		if err != nil {
			return t, err
		}
		out.Of = append(out.Of, c)
	}
	return out, nil
}

func cleanPath(p data.Path) error {
	if len(p) == 0 || p[0].Name == "" {
		return errors.New("a path begins with the name of an attribute")
	}
	for _, s := range p {
		if s.Index < 0 {
			return fmt.Errorf("the path %s has a negative index", p)
		}
	}
	return nil
}

// cleanEdits returns es with clean constants; no two may touch each other.
func cleanEdits(es data.Edits) (data.Edits, error) {
	out := make(data.Edits, len(es))
	for i, e := range es {
		if err := cleanPath(e.Path); err != nil {
			return nil, err
		}
		out[i] = data.Edit{Op: e.Op, Path: e.Path}
		if e.Op == 0 || e.Op > data.EditDiscard {
			return nil, fmt.Errorf("the edit of %s does nothing", e.Path)
		}
		if e.Op != data.EditRemove {
			t, err := cleanTerm(e.Term, 0)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.Path, err)
			}
			out[i].Term = t
		}
	}
	sorted := slices.Clone(out)
	slices.SortFunc(sorted, func(a, b data.Edit) int { return slices.CompareFunc(a.Path, b.Path, compareSteps) })
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1].Path, sorted[i].Path; len(a) <= len(b) && slices.Equal(a, b[:len(a)]) {
			return nil, fmt.Errorf("two edits change %s", a)
		}
	}
	return out, nil
}

func compareSteps(a, b data.Step) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Index, b.Index))
}
