package table

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rouse-run/rouse/data"
)

// edit returns item, nil where there is none, with clean edits made. It shares
// what they don't touch.
func edit(item data.Item, es data.Edits) (data.Item, error) {
	out := maps.Clone(item)
	if out == nil {
		out = data.Item{}
	}
	// Elements are removed from the last to the first, after all else, so that
	// each index is that of the list as it was.
	es = slices.Clone(es)
	slices.SortStableFunc(es, func(a, b data.Edit) int {
		if a.Op != data.EditRemove || b.Op != data.EditRemove {
			return btoi(a.Op == data.EditRemove) - btoi(b.Op == data.EditRemove)
		}
		return slices.CompareFunc(b.Path, a.Path, compareSteps)
	})
	for _, e := range es {
		v, err := edited(item, e)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Path, err)
		}
		// The whole item is a map, whose first step is a name.
		m, err := put(data.MapOf(out), e.Path, v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Path, err)
		}
		out = m.Map
	}
	return out, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// edited returns the new value of an edit's path; one without a type is none.
func edited(item data.Item, e data.Edit) (data.Value, error) {
	if e.Op == data.EditRemove {
		return data.Value{}, nil
	}
	v, ok, err := eval(item, e.Term)
	if err != nil {
		return v, err
	}
	if !ok {
		return v, errors.New("it is set to an attribute that is missing")
	}
	old, exists := find(item, e.Path)
	switch e.Op {
	case data.EditAdd:
		return added(old, exists, v)
	case data.EditDiscard:
		if !v.Type.IsSet() || exists && old.Type != v.Type {
			return v, fmt.Errorf("members of %s can't be taken from a %s", v.Type, old.Type)
		}
		left := slices.DeleteFunc(slices.Clone(old.List), func(m data.Value) bool {
			return slices.ContainsFunc(v.List, func(d data.Value) bool { return equal(m, d) })
		})
		if len(left) == 0 { // there are no empty sets
			return data.Value{}, nil
		}
		return data.Value{Type: old.Type, List: left}, nil
	}
	return v, nil
}

func added(old data.Value, exists bool, v data.Value) (data.Value, error) {
	switch {
	case v.Type != data.Number && !v.Type.IsSet():
		return v, fmt.Errorf("a %s can't be added; a number or a set can", v.Type)
	case !exists:
		return v, nil
	case old.Type != v.Type:
		return v, fmt.Errorf("a %s can't be added to a %s", v.Type, old.Type)
	case v.Type == data.Number:
		sum, err := add(old.Text, v.Text, false)
		return data.Num(sum), err
	}
	all := slices.Concat(old.List, v.List)
	slices.SortFunc(all, order)
	return data.Value{Type: v.Type, List: slices.CompactFunc(all, equal)}, nil
}

// put returns in with v at the end of a path, or without what is there where v
// has no type. All on the way must exist.
func put(in data.Value, p data.Path, v data.Value) (data.Value, error) {
	s, last := p[0], len(p) == 1
	if s.Name != "" {
		if in.Type != data.Map {
			return in, errors.New("the path leads into what is no map")
		}
		next, ok := in.Map[s.Name]
		if !ok && !last {
			if v.Type == data.NoType {
				return in, nil
			}
			return in, fmt.Errorf("there is no %q on the way", s.Name)
		}
		m := maps.Clone(in.Map)
		if m == nil {
			m = data.Item{}
		}
		if last && v.Type == data.NoType {
			delete(m, s.Name)
			return data.MapOf(m), nil
		}
		if !last {
			var err error
			if v, err = put(next, p[1:], v); err != nil {
				return in, err
			}
		}
		m[s.Name] = v
		return data.MapOf(m), nil
	}
	return putElement(in, p, v)
}

func putElement(in data.Value, p data.Path, v data.Value) (data.Value, error) {
	at, last := p[0].Index, len(p) == 1
	if in.Type != data.List {
		return in, errors.New("the path leads into what is no list")
	}
	list := slices.Clone(in.List)
	switch {
	case at >= len(list) && v.Type == data.NoType:
		return in, nil
	case at >= len(list) && !last:
		return in, fmt.Errorf("there is no element %d on the way", at)
	case at >= len(list):
		return data.ListOf(append(list, v)...), nil
	case last && v.Type == data.NoType:
		return data.ListOf(slices.Delete(list, at, at+1)...), nil
	case last:
		list[at] = v
	default:
		inner, err := put(list[at], p[1:], v)
		if err != nil {
			return in, err
		}
		list[at] = inner
	}
	return data.ListOf(list...), nil
}
