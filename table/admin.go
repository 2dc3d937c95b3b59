package table

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/tuple"
)

// CreateTable implements data.TableAdmin.
func (t *Tables) CreateTable(ctx context.Context, in data.Table) (data.Table, error) {
	if err := in.Check(); err != nil {
		return in, rouse.Errorf(rouse.Invalid, "create table", in.Ref.String(), "%w", err)
	}
	in.Created = t.now().UTC()
	err := t.keys.Update(ctx, func(w rouse.KeyWriter) error {
		key := definitionKey(in.Ref)
		values, err := w.Get(key, []byte{nextKind})
		if err != nil {
			return err
		}
		if values[0] != nil {
			return rouse.Errorf(rouse.Conflict, "create table", in.Ref.String(), "there is one of this name")
		}
		d := &definition{Table: in}
		next, err := nextID(values[1])
		if err != nil {
			return err
		}
		d.ID = next()
		for range in.Indexes {
			d.IndexIDs = append(d.IndexIDs, next())
		}
		w.Put([]byte{nextKind}, tuple.Uint(nil, next()))
		w.Put(idKey(nameKind, d.ID), tuple.String(tuple.String(nil, in.Namespace), in.Name))
		return putDefinition(w, d)
	})
	return in, err
}

// nextID hands out ids from the stored one.
func nextID(stored []byte) (func() uint64, error) {
	id := uint64(1)
	if stored != nil {
		if len(stored) != 8 {
			return nil, rouse.Errorf(rouse.Internal, "create table", "", "the next id is broken")
		}
		id = binary.BigEndian.Uint64(stored)
	}
	return func() uint64 { id++; return id - 1 }, nil
}

func putDefinition(w rouse.KeyWriter, d *definition) error {
	raw, err := d.encode()
	w.Put(definitionKey(d.Ref), raw)
	return err
}

// ChangeTable implements data.TableAdmin.
func (t *Tables) ChangeTable(ctx context.Context, in data.Table) (data.Table, error) {
	if err := in.Check(); err != nil {
		return in, rouse.Errorf(rouse.Invalid, "change table", in.Ref.String(), "%w", err)
	}
	err := t.keys.Update(ctx, func(w rouse.KeyWriter) error {
		old, err := t.load(w, in.Ref)
		if err != nil {
			return err
		}
		if old.Key != in.Key || old.Sort != in.Sort {
			return rouse.Errorf(rouse.Conflict, "change table", in.Ref.String(), "key and sort can't be changed: make another table")
		}
		d := &definition{Table: in, ID: old.ID, Filling: old.Filling || in.TTL != "" && in.TTL != old.TTL}
		d.Created = old.Created
		d.Indexes = slices.Clone(in.Indexes)
		if err := d.keepIndexes(w, old); err != nil {
			return err
		}
		return putDefinition(w, d)
	})
	if err != nil {
		return in, err
	}
	t.poke()
	if err := t.fill(ctx, in.Ref); err != nil {
		return in, err
	}
	return t.Table(ctx, in.Ref)
}

// keepIndexes gives d's indexes the ids of those that old has just so, and new
// ids to the others. What is no longer used becomes garbage.
func (d *definition) keepIndexes(w rouse.KeyWriter, old *definition) error {
	values, err := w.Get([]byte{nextKind})
	if err != nil {
		return err
	}
	next, err := nextID(values[0])
	if err != nil {
		return err
	}
	kept := map[uint64]bool{}
	d.IndexIDs = make([]uint64, len(d.Indexes))
	for i := range d.Indexes {
		x := &d.Indexes[i]
		n := slices.IndexFunc(old.Indexes, func(o data.Index) bool { return o.Name == x.Name && o.Key == x.Key && o.Sort == x.Sort })
		if n >= 0 {
			d.IndexIDs[i], x.Filling = old.IndexIDs[n], old.Indexes[n].Filling
			kept[d.IndexIDs[i]] = true
			continue
		}
		d.IndexIDs[i], x.Filling, d.Filling = next(), true, true
	}
	for _, id := range old.IndexIDs {
		if !kept[id] {
			w.Put(garbage(d.ID, id), nil)
		}
	}
	w.Put([]byte{nextKind}, tuple.Uint(nil, next()))
	return nil
}

// garbage is the key that says what is to be cleared: an index, or all of a
// table where index is 0.
func garbage(table, index uint64) []byte { return tuple.Uint(idKey(garbageKind, table), index) }

// Table implements data.TableAdmin.
func (t *Tables) Table(ctx context.Context, r rouse.Ref) (out data.Table, err error) {
	err = t.keys.View(ctx, func(k rouse.KeyReader) error {
		d, err := t.load(k, r)
		if err == nil {
			out = d.Table
		}
		return err
	})
	return out, err
}

// Tables implements data.TableAdmin.
func (t *Tables) Tables(ctx context.Context, ns rouse.Namespace, after string, limit int) (out []data.Table, err error) {
	prefix := namespaceKey(ns)
	s := rouse.Span{From: prefix, To: tuple.After(prefix), Limit: limit}
	if after != "" {
		s.From = append(tuple.String(slices.Clip(prefix), after), 0)
	}
	err = t.keys.View(ctx, func(k rouse.KeyReader) error {
		pairs, err := k.Scan(s)
		if err != nil {
			return err
		}
		out = make([]data.Table, 0, len(pairs))
		for _, p := range pairs {
			d, err := decodeDefinition(p.Value)
			if err != nil {
				return rouse.Errorf(rouse.Internal, "list tables", string(ns), "key %x: %w", p.Key, err)
			}
			out = append(out, d.Table)
		}
		return nil
	})
	return out, err
}

// RemoveTable implements data.TableAdmin. Its items leave the Keys while Run
// runs.
func (t *Tables) RemoveTable(ctx context.Context, r rouse.Ref) error {
	err := t.keys.Update(ctx, func(w rouse.KeyWriter) error {
		d, err := t.load(w, r)
		if err != nil {
			return err
		}
		w.Delete(definitionKey(r))
		w.Delete(idKey(nameKind, d.ID))
		w.Put(garbage(d.ID, 0), nil)
		return nil
	})
	if err == nil {
		t.cache.drop(r)
		t.poke()
	}
	return err
}
