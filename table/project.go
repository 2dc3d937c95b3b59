package table

import (
	"github.com/rouse-run/rouse/data"
)

// project returns what paths lead to, inside maps and lists like those of the
// item; elements of lists move together.
func project(item data.Item, paths []data.Path) data.Item {
	tree := &branch{}
	for _, p := range paths {
		tree.grow(p)
	}
	if v, ok := tree.cut(data.MapOf(item)); ok {
		return v.Map
	}
	return data.Item{}
}

// A branch is a part of an item that paths lead into; one without next is
// wanted whole.
type branch struct {
	next  map[data.Step]*branch
	whole bool
}

func (b *branch) grow(p data.Path) {
	if len(p) == 0 {
		b.whole = true
		return
	}
	if b.next == nil {
		b.next = map[data.Step]*branch{}
	}
	if b.next[p[0]] == nil {
		b.next[p[0]] = &branch{}
	}
	b.next[p[0]].grow(p[1:])
}

// cut returns the part of v that is wanted; ok is false where there is none.
func (b *branch) cut(v data.Value) (_ data.Value, ok bool) {
	if b.whole {
		return v, true
	}
	out := data.Item{}
	var list []data.Value
	for i, m := range v.List {
		if n := b.next[data.Step{Index: i}]; n != nil && v.Type == data.List {
			if part, ok := n.cut(m); ok {
				list = append(list, part)
			}
		}
	}
	for s, n := range b.next {
		if inner, has := v.Map[s.Name]; has && s.Name != "" {
			if part, ok := n.cut(inner); ok {
				out[s.Name] = part
			}
		}
	}
	switch {
	case len(list) > 0:
		return data.ListOf(list...), true
	case len(out) > 0:
		return data.MapOf(out), true
	}
	return v, false
}
