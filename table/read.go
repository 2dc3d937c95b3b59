package table

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/tuple"
)

// GetItems implements data.Items.
func (t *Tables) GetItems(ctx context.Context, keys []data.ItemKey) ([]data.Item, error) {
	if len(keys) > maxGets {
		return nil, rouse.Errorf(rouse.Invalid, "get items", "", "there are %d keys, %d are the most at once", len(keys), maxGets)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	var refs []rouse.Ref
	for _, k := range keys {
		if !slices.Contains(refs, k.Table) {
			refs = append(refs, k.Table)
		}
	}
	var items []data.Item
	err := t.defined(ctx, refs, func(defs []*definition) error {
		of := make([]*definition, len(keys))
		ask := make([][]byte, 0, len(refs)+len(keys))
		for _, r := range refs {
			ask = append(ask, definitionKey(r))
		}
		for i, k := range keys {
			of[i] = defs[slices.Index(refs, k.Table)]
			tail, err := of[i].tail(k.Key)
			if err == nil {
				err = of[i].exact(k.Key)
			}
			if err != nil {
				return rouse.Errorf(rouse.Invalid, "get item", k.Table.String(), "%w", err)
			}
			ask = append(ask, of[i].itemKey(tail))
		}
		var values [][]byte
		err := t.keys.View(ctx, func(r rouse.KeyReader) (err error) {
			values, err = r.Get(ask...)
			return err
		})
		if err != nil {
			return err
		}
		if err := fresh(defs, values); err != nil {
			return err
		}
		now := t.now().Unix()
		items = make([]data.Item, len(keys))
		for i, v := range values[len(refs):] {
			if items[i], err = of[i].live(v, now); err != nil {
				return err
			}
		}
		return nil
	})
	return items, err
}

// live decodes an item; nil where there is none, or it has expired.
func (d *definition) live(stored []byte, now int64) (data.Item, error) {
	if stored == nil {
		return nil, nil
	}
	item, err := decodeItem(stored)
	if err != nil {
		return nil, rouse.Errorf(rouse.Internal, "read item", d.Ref.String(), "%w", err)
	}
	if d.expired(item, now) {
		return nil, nil
	}
	return item, nil
}

// A walk goes over items in the order of their keys.
type walk struct {
	def     *definition
	index   int // -1 is the table itself
	span    rouse.Span
	sel     data.Select
	filter  *data.Cond
	now     int64
	page    data.Page
	size    int
	lastKey data.Item // of what was looked at last
}

// index finds an index by name; -1 is the table's own.
func (d *definition) index(name string) (int, error) {
	if name == "" {
		return -1, nil
	}
	n := slices.IndexFunc(d.Indexes, func(x data.Index) bool { return x.Name == name })
	if n < 0 {
		return 0, rouse.Errorf(rouse.NotFound, "find index", d.Ref.String(), "there is no index %q", name)
	}
	if d.Indexes[n].Filling {
		return 0, rouse.Errorf(rouse.Unavailable, "use index", d.Ref.String(), "index %q is still being filled: try again", name)
	}
	return n, nil
}

// place returns the prefix and the attributes of an index, or of the table.
func (d *definition) place(index int) (prefix []byte, key, sort data.Attribute) {
	if index < 0 {
		return idKey(itemKind, d.ID), d.Key, d.Sort
	}
	return d.indexPrefix(index), d.Indexes[index].Key, d.Indexes[index].Sort
}

// Query implements data.Items.
func (t *Tables) Query(ctx context.Context, q data.Query) (data.Page, error) {
	return t.walk(ctx, q.Table, "query", q.Index, q.Select, func(w *walk) error {
		prefix, key, sort := w.def.place(w.index)
		v, err := keyPart(data.Item{key.Name: q.Key}, key)
		if err != nil {
			return fmt.Errorf("key: %w", err)
		}
		if prefix, err = appendPartition(prefix, v); err != nil {
			return fmt.Errorf("key: %w", err)
		}
		w.span.Reverse = q.Reverse
		w.span.From, w.span.To, err = span(prefix, sort, q.Sort)
		return err
	})
}

// Scan implements data.Items.
func (t *Tables) Scan(ctx context.Context, s data.Scan) (data.Page, error) {
	return t.walk(ctx, s.Table, "scan", s.Index, s.Select, func(w *walk) error {
		n := max(s.Segments, 1)
		if n > maxSegments || s.Segment < 0 || s.Segment >= n {
			return fmt.Errorf("segment: it is from 0 to one less than segments, and those are up to %d", maxSegments)
		}
		prefix, _, _ := w.def.place(w.index)
		from, to := s.Segment*maxSegments/n, (s.Segment+1)*maxSegments/n
		w.span.From = append(bytes.Clone(prefix), byte(from>>8), byte(from))
		if w.span.To = tuple.After(prefix); to < maxSegments {
			w.span.To = append(bytes.Clone(prefix), byte(to>>8), byte(to))
		}
		return nil
	})
}

// walk makes a page of what start asks for.
func (t *Tables) walk(ctx context.Context, ref rouse.Ref, op, index string, sel data.Select, start func(*walk) error) (data.Page, error) {
	if sel.Limit < 0 {
		return data.Page{}, rouse.Errorf(rouse.Invalid, op, ref.String(), "limit: it is %d; 0 is as many as go into a page", sel.Limit)
	}
	filter, err := cleanCond(sel.Filter, 0)
	for _, p := range sel.Attributes {
		if err == nil {
			err = cleanPath(p)
		}
	}
	if err != nil {
		return data.Page{}, rouse.Errorf(rouse.Invalid, op, ref.String(), "%w", err)
	}
	var page data.Page
	err = t.keys.View(ctx, func(r rouse.KeyReader) error {
		d, err := t.load(r, ref)
		if err != nil {
			return err
		}
		w := &walk{def: d, sel: sel, filter: filter, now: t.now().Unix()}
		if w.index, err = d.index(index); err != nil {
			return err
		}
		if err = start(w); err == nil {
			err = w.resume()
		}
		if err != nil {
			return rouse.Errorf(rouse.Invalid, op, ref.String(), "%w", err)
		}
		if err := w.run(r); err != nil {
			return err
		}
		page = w.page
		return nil
	})
	return page, err
}

// resume leaves out what earlier pages had.
func (w *walk) resume() error {
	if w.sel.After == nil {
		return nil
	}
	tail, err := w.def.tail(w.sel.After)
	var at []byte
	if err == nil && w.index < 0 {
		at = w.def.itemKey(tail)
	} else if err == nil {
		if at, err = w.def.entryKey(w.index, w.sel.After, tail); at == nil && err == nil {
			err = fmt.Errorf("the key of the index is missing")
		}
	}
	if err != nil {
		return fmt.Errorf("after: %w", err)
	}
	if w.span.Reverse {
		if w.span.To == nil || bytes.Compare(at, w.span.To) < 0 {
			w.span.To = at
		}
	} else if bytes.Compare(at, w.span.From) >= 0 {
		w.span.From = append(at, 0)
	}
	return nil
}

// run fills the page.
func (w *walk) run(r rouse.KeyReader) error {
	limit := w.sel.Limit
	for bytes.Compare(w.span.From, w.span.To) < 0 {
		w.span.Limit, w.span.Size = 1000, pageSize-w.size
		if limit > 0 {
			w.span.Limit = min(limit-w.page.Seen+1, 1000)
		}
		if w.index >= 0 { // a page of entries may be many items
			w.span.Limit = min(w.span.Limit, 200)
		}
		pairs, err := r.Scan(w.span)
		if err != nil {
			return err
		}
		items, err := w.items(r, pairs)
		if err != nil {
			return err
		}
		size := 0
		for i, stored := range items {
			size += len(pairs[i].Value)
			if limit > 0 && w.page.Seen >= limit || w.size >= pageSize {
				w.page.After = w.lastKey
				return nil
			}
			if err := w.look(stored); err != nil {
				return err
			}
		}
		if len(pairs) < w.span.Limit && size < w.span.Size {
			return nil // there are no more
		}
		if w.size >= pageSize {
			w.page.After = w.lastKey
			return nil
		}
		if last := pairs[len(pairs)-1].Key; w.span.Reverse {
			w.span.To = last
		} else {
			w.span.From = append(bytes.Clone(last), 0)
		}
	}
	return nil
}

// items returns what the values of pairs stand for.
func (w *walk) items(r rouse.KeyReader, pairs []rouse.Pair) ([][]byte, error) {
	values := make([][]byte, len(pairs))
	for i, p := range pairs {
		values[i] = p.Value
	}
	if w.index < 0 || len(pairs) == 0 {
		return values, nil
	}
	for i, tail := range values {
		values[i] = w.def.itemKey(tail)
	}
	return r.Get(values...)
}

// look puts an item on the page where it belongs there.
func (w *walk) look(stored []byte) error {
	item, err := w.def.live(stored, w.now)
	if err != nil || item == nil {
		return err
	}
	w.size += len(stored)
	w.page.Seen++
	w.lastKey = w.def.keyOf(item)
	if w.index >= 0 {
		x := w.def.Indexes[w.index]
		names := []string{w.def.Key.Name, w.def.Sort.Name, x.Key.Name, x.Sort.Name}
		w.lastKey = pick(item, names...)
		if x.KeysOnly {
			item = w.lastKey
		} else if len(x.Attributes) > 0 {
			item = pick(item, append(names, x.Attributes...)...)
		}
	}
	if !holds(item, w.filter) {
		return nil
	}
	if len(w.sel.Attributes) > 0 {
		item = project(item, w.sel.Attributes)
	}
	w.page.Items = append(w.page.Items, item)
	return nil
}
