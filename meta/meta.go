// Package meta keeps documents by kind and name, with revisions, in a map of
// keys.
package meta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/tuple"
)

// A Meta implements rouse.Meta.
type Meta struct{ keys rouse.Keys }

// New returns a Meta over keys, which are then its own.
func New(keys rouse.Keys) *Meta { return &Meta{keys} }

// A document's key is its kind, namespace and name; its value the revision and
// the data.

// folder is what the keys of one kind and namespace begin with. Several may be
// made of it: it has no room into which they could write all.
func folder(kind string, ns rouse.Namespace) []byte {
	return slices.Clip(tuple.String(tuple.String(nil, kind), ns))
}

func keyOf(kind string, r rouse.Ref) []byte { return tuple.String(folder(kind, r.Namespace), r.Name) }

func decode(kind string, r rouse.Ref, value []byte) (rouse.Doc, error) {
	revision, data, err := tuple.ReadUint(value)
	if err != nil {
		return rouse.Doc{}, damaged(kind, r)
	}
	return rouse.Doc{Kind: kind, Ref: r, Revision: int64(revision), Data: data}, nil
}

func damaged(kind string, r rouse.Ref) error {
	return rouse.Errorf(rouse.Internal, "read "+kind, r.String(), "its bytes are not those that were written: restore it from a backup or delete it")
}

// Get implements rouse.Meta.
func (m *Meta) Get(ctx context.Context, kind string, r rouse.Ref) (d rouse.Doc, err error) {
	err = m.keys.View(ctx, func(t rouse.KeyReader) error {
		vs, err := t.Get(keyOf(kind, r))
		switch {
		case err != nil && vs != nil:
			return errors.Join(damaged(kind, r), err)
		case err != nil:
			return err
		case vs[0] == nil:
			return rouse.Errorf(rouse.NotFound, "get "+kind, r.String(), "there is none")
		}
		d, err = decode(kind, r, vs[0])
		return err
	})
	return d, err
}

// List implements rouse.Meta. It returns what it could read beside the Error of
// what it could not.
func (m *Meta) List(ctx context.Context, q rouse.DocQuery) ([]rouse.Doc, error) {
	s := span(q)
	var docs []rouse.Doc
	var bad []error
	err := m.keys.View(ctx, func(t rouse.KeyReader) error {
		docs, bad = nil, nil
		pairs, err := t.Scan(s)
		if err != nil && pairs == nil {
			return err
		}
		for _, p := range pairs {
			r, err := refOf(q.Kind, p.Key)
			if err != nil {
				return err
			}
			if p.Value == nil {
				bad = append(bad, damaged(q.Kind, r))
				continue
			}
			d, err := decode(q.Kind, r, p.Value)
			if err != nil {
				bad = append(bad, err)
				continue
			}
			docs = append(docs, d)
		}
		return nil
	})
	return docs, errors.Join(append(bad, err)...)
}

// span is where the documents are that a query picks.
func span(q rouse.DocQuery) rouse.Span {
	if q.All {
		all := tuple.String(nil, q.Kind)
		return rouse.Span{From: all, To: tuple.After(all), Limit: max(q.Limit, 0)}
	}
	in := folder(q.Kind, q.Namespace)
	s := rouse.Span{From: tuple.Prefix(in, q.Prefix), Limit: max(q.Limit, 0)}
	s.To = tuple.After(s.From)
	if after := append(tuple.String(in, q.After), 0); bytes.Compare(after, s.From) > 0 {
		s.From = after
	}
	return s
}

// refOf reads the key of a document of a kind.
func refOf(kind string, key []byte) (rouse.Ref, error) {
	ns, rest, err := tuple.ReadString(key[len(tuple.String(nil, kind)):])
	if err == nil {
		var name []byte
		if name, _, err = tuple.ReadString(rest); err == nil {
			return rouse.Ref{Namespace: rouse.Namespace(ns), Name: string(name)}, nil
		}
	}
	return rouse.Ref{}, fmt.Errorf("read the key %x: %w", key, err)
}

// Apply implements rouse.Meta.
func (m *Meta) Apply(ctx context.Context, changes []rouse.Change) error {
	return m.keys.Update(ctx, func(t rouse.KeyWriter) error {
		keys := make([][]byte, len(changes))
		for i, c := range changes {
			keys[i] = keyOf(c.Kind, c.Ref)
		}
		stored, err := t.Get(keys...)
		if err != nil && stored == nil {
			return err
		}
		has := map[string]int64{}
		for i, v := range stored {
			if v == nil {
				continue
			}
			d, err := decode(changes[i].Kind, changes[i].Ref, v)
			if err != nil {
				return err
			}
			has[string(keys[i])] = d.Revision
		}
		for i, c := range changes {
			k := string(keys[i])
			switch {
			case has[k] != c.Revision:
				return rouse.Errorf(rouse.Conflict, "change "+c.Kind, c.Ref.String(),
					"it is at revision %d, not %d: read it again", has[k], c.Revision)
			case c.Data == nil:
				t.Delete(keys[i])
				delete(has, k)
			default:
				has[k]++
				t.Put(keys[i], append(tuple.Uint(nil, uint64(has[k])), c.Data...))
			}
		}
		return err // a document that is damaged can't be changed
	})
}
