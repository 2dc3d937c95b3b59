package table

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/tuple"
	"github.com/rouse-run/rouse/stream/journal"
)

// expire removes what has expired, in the order of time.
func (t *Tables) expire(ctx context.Context) error {
	for {
		now := uint64(max(t.now().Unix(), 0))
		var due []rouse.Pair
		err := t.keys.View(ctx, func(r rouse.KeyReader) (err error) {
			due, err = r.Scan(rouse.Span{From: []byte{expiryKind}, To: tuple.Uint([]byte{expiryKind}, now+1), Limit: stepSize})
			return err
		})
		if err != nil || len(due) == 0 {
			return err
		}
		var gone []*change
		if err := t.keys.Update(ctx, func(w rouse.KeyWriter) (err error) {
			gone, err = t.removeExpired(w, due)
			return err
		}); err != nil {
			return err
		}
		for _, c := range gone {
			t.wake(c)
		}
		if len(due) < stepSize {
			return nil
		}
	}
}

// removeExpired removes the items of expiry keys, or the keys alone where they
// are of what is not there any more. It returns what has gone.
func (t *Tables) removeExpired(w rouse.KeyWriter, due []rouse.Pair) (gone []*change, err error) {
	ids := make([]uint64, len(due))
	for i, p := range due {
		_, ids[i], _, _ = readExpiry(p.Key)
	}
	defs, err := t.byID(w, ids)
	if err != nil {
		return nil, err
	}
	log := ledger{now: t.now()}
	var cs []*change
	var keys [][]byte
	for i, p := range due {
		w.Delete(p.Key)
		if d := defs[ids[i]]; d != nil {
			_, _, tail, _ := readExpiry(p.Key)
			c := &change{def: d, tail: tail, key: d.itemKey(tail)}
			cs, keys = append(cs, c), append(keys, c.key)
		}
	}
	values, err := w.Get(keys...)
	if err != nil {
		return nil, err
	}
	for i, c := range cs {
		if c.stored = values[i]; c.stored == nil {
			continue
		}
		if c.old, err = c.decode(); err != nil {
			return nil, err
		}
		if !c.def.expired(c.old, log.now.Unix()) {
			continue
		}
		c.gone = true
		c.store(w, &log)
		gone = append(gone, c)
	}
	return gone, log.append(w)
}

// byID finds definitions by their ids; those of removed tables are missing.
func (t *Tables) byID(r rouse.KeyReader, ids []uint64) (map[uint64]*definition, error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	keys := make([][]byte, len(ids))
	for i, id := range ids {
		keys[i] = idKey(nameKind, id)
	}
	names, err := r.Get(keys...)
	if err != nil {
		return nil, err
	}
	var refs []rouse.Ref
	keys = keys[:0]
	for _, name := range names {
		if name == nil {
			continue
		}
		ns, rest, err := tuple.ReadString(name)
		if err != nil {
			return nil, err
		}
		n, _, err := tuple.ReadString(rest)
		if err != nil {
			return nil, err
		}
		ref := rouse.Ref{Namespace: rouse.Namespace(ns), Name: string(n)}
		refs, keys = append(refs, ref), append(keys, definitionKey(ref))
	}
	raws, err := r.Get(keys...)
	if err != nil {
		return nil, err
	}
	defs := map[uint64]*definition{}
	for i, raw := range raws {
		d, err := t.define(refs[i], raw)
		if err != nil {
			return nil, err
		}
		defs[d.ID] = d
	}
	return defs, nil
}

// collect clears what is left of removed tables and indexes.
func (t *Tables) collect(ctx context.Context) error {
	for {
		var found []rouse.Pair
		err := t.keys.View(ctx, func(r rouse.KeyReader) (err error) {
			found, err = r.Scan(rouse.Span{From: []byte{garbageKind}, To: []byte{garbageKind + 1}, Limit: 1})
			return err
		})
		if err != nil || len(found) == 0 {
			return err
		}
		key := found[0].Key
		if len(key) != 17 {
			return rouse.Errorf(rouse.Internal, "clear table", "", "the key %x is broken", key)
		}
		table, index := binary.BigEndian.Uint64(key[1:]), binary.BigEndian.Uint64(key[9:])
		prefixes := [][]byte{tuple.Uint(idKey(entryKind, table), index)}
		if index == 0 {
			prefixes = [][]byte{idKey(itemKind, table), idKey(entryKind, table), idKey(journalKind, table)}
		}
		for _, p := range prefixes {
			if err := t.clear(ctx, p); err != nil {
				return err
			}
		}
		if err := t.keys.Update(ctx, func(w rouse.KeyWriter) error { w.Delete(key); return nil }); err != nil {
			return err
		}
	}
}

// clear removes all keys with a prefix, in steps that don't hold up others.
func (t *Tables) clear(ctx context.Context, prefix []byte) error {
	for more := true; more; {
		err := t.keys.Update(ctx, func(w rouse.KeyWriter) error {
			pairs, err := w.Scan(rouse.Span{From: prefix, To: tuple.After(prefix), Limit: 5 * stepSize, Size: pageSize})
			if len(pairs) == 0 {
				more = false
				return err
			}
			more = true
			w.Clear(prefix, append(bytes.Clone(pairs[len(pairs)-1].Key), 0))
			return nil // damaged ones go as well
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tend trims the feeds, and fills what was left unfilled.
func (t *Tables) tend(ctx context.Context) error {
	from := []byte{definitionKind}
	for {
		var pairs []rouse.Pair
		err := t.keys.View(ctx, func(r rouse.KeyReader) (err error) {
			pairs, err = r.Scan(rouse.Span{From: from, To: []byte{definitionKind + 1}, Limit: stepSize})
			return err
		})
		if err != nil || len(pairs) == 0 {
			return err
		}
		for _, p := range pairs {
			d, err := decodeDefinition(p.Value)
			if err != nil {
				return rouse.Errorf(rouse.Internal, "read table", "", "key %x: %w", p.Key, err)
			}
			if err := t.trim(ctx, d); err != nil {
				return err
			}
			if d.Filling {
				if err := t.fill(ctx, d.Ref); err != nil && rouse.KindOf(err) != rouse.NotFound {
					return err
				}
			}
		}
		from = append(bytes.Clone(pairs[len(pairs)-1].Key), 0)
	}
}

// trim removes changes that are too old; all of them where none are kept.
func (t *Tables) trim(ctx context.Context, d *definition) error {
	before := t.now().Add(-time.Duration(max(d.Changes, 0)))
	for shard := range feedShards {
		j := journalOf(feedShard{d.ID, shard})
		if old, err := t.anyOlder(ctx, j, before); err != nil || !old {
			if err != nil {
				return err
			}
			continue
		}
		for n := stepSize; n == stepSize; {
			err := t.keys.Update(ctx, func(w rouse.KeyWriter) (err error) {
				n, err = j.Trim(w, before, stepSize)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// anyOlder reports whether a journal has entries older than before; it keeps
// those that have none from a transaction.
func (t *Tables) anyOlder(ctx context.Context, j journal.Journal, before time.Time) (yes bool, err error) {
	err = t.keys.View(ctx, func(r rouse.KeyReader) error {
		first, next, err := j.Bounds(r)
		if err != nil || first == next {
			return err
		}
		after, err := j.Seek(r, before)
		yes = after >= first
		return err
	})
	return yes, err
}

// fill makes the entries of new indexes, and of the expiry, for the items that
// were there before them. Changes meanwhile make their own.
func (t *Tables) fill(ctx context.Context, ref rouse.Ref) error {
	var from, seen []byte
	for done := false; !done; {
		next, raw := from, seen
		err := t.keys.Update(ctx, func(w rouse.KeyWriter) error {
			d, err := t.load(w, ref)
			if err != nil {
				return err
			}
			if done = !d.Filling; done {
				return nil
			}
			start := from
			if raw = d.raw; !bytes.Equal(raw, seen) { // with other indexes than before
				start = nil
			}
			next, err = t.fillStep(w, d, start)
			if err != nil || next != nil {
				return err
			}
			full := *d
			full.Filling, full.Indexes = false, slices.Clone(d.Indexes)
			for i := range full.Indexes {
				full.Indexes[i].Filling = false
			}
			done = true
			return putDefinition(w, &full)
		})
		if err != nil {
			return err
		}
		from, seen = next, raw
	}
	return nil
}

// fillStep goes on from a key and returns the next one to go on from, nil at the
// end.
func (t *Tables) fillStep(w rouse.KeyWriter, d *definition, from []byte) ([]byte, error) {
	prefix := idKey(itemKind, d.ID)
	if from == nil {
		from = prefix
	}
	pairs, err := w.Scan(rouse.Span{From: from, To: tuple.After(prefix), Limit: stepSize, Size: pageSize})
	if err != nil || len(pairs) == 0 {
		return nil, err
	}
	for _, p := range pairs {
		c := &change{def: d, tail: p.Key[len(prefix):], stored: p.Value}
		item, err := c.decode()
		if err != nil {
			return nil, errors.Join(err, rouse.Errorf(rouse.Internal, "fill index", d.Ref.String(), "key %x", p.Key))
		}
		for n := range d.Indexes {
			if key := c.entry(n, item); d.Indexes[n].Filling && key != nil {
				w.Put(key, c.tail)
			}
		}
		if second := d.expiry(item); second > 0 {
			w.Put(d.expiryKey(second, c.tail), nil)
		}
	}
	return append(bytes.Clone(pairs[len(pairs)-1].Key), 0), nil
}
