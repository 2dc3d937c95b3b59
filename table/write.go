package table

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

// A change is a Write that was checked, and what it came to.
type change struct {
	op    data.WriteOp
	def   *definition
	tail  []byte
	key   []byte    // in the Keys
	names data.Item // the attributes of the table's key
	item  data.Item // of a put
	code  []byte    // of item
	edits data.Edits
	cond  *data.Cond

	// Made anew by each run of the transaction.
	stored []byte    // what was there
	old    data.Item // what it says, where somebody has to know
	gone   bool      // it has expired: it counts as if it was not there
	after  data.Item // what is there now
}

func refuse(k rouse.Kind, op data.WriteOp, r rouse.Ref, err error) error {
	word := op.String()
	if word == "" {
		word = "write"
	}
	return rouse.Errorf(k, word+" item", r.String(), "%w", err)
}

// prepare checks all of w that can be checked without the item.
func (t *Tables) prepare(w data.Write, d *definition) (*change, error) {
	c := &change{op: w.Op, def: d}
	if err := c.read(w); err != nil {
		return nil, refuse(rouse.Invalid, w.Op, w.Table, err)
	}
	if c.op == data.WritePut {
		if err := t.encode(c, c.item); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *change) read(w data.Write) (err error) {
	key := w.Key
	switch w.Op {
	case data.WritePut:
		if len(w.Key) > 0 || len(w.Edits) > 0 {
			return errors.New("a put has an item and neither a key nor edits")
		}
		if c.item, err = clean(w.Item); err != nil {
			return err
		}
		key = c.item
	case data.WriteUpdate, data.WriteDelete, data.WriteCheck:
		if len(w.Item) > 0 || len(w.Edits) > 0 && w.Op != data.WriteUpdate {
			return errors.New("only a put has an item, and only an update edits")
		}
		if err := c.def.exact(key); err != nil {
			return err
		}
	default:
		return errors.New("op: it is put, update, delete or check")
	}
	if c.tail, err = c.def.tail(key); err != nil {
		return err
	}
	c.key = c.def.itemKey(c.tail)
	c.names, err = clean(c.def.keyOf(key))
	if err != nil {
		return err
	}
	if c.edits, err = cleanEdits(w.Edits); err != nil {
		return fmt.Errorf("edits: %w", err)
	}
	for _, e := range c.edits {
		if _, is := c.names[e.Path[0].Name]; is {
			return fmt.Errorf("edits: %q belongs to the key, which can't be changed", e.Path[0].Name)
		}
	}
	if c.cond, err = cleanCond(w.If, 0); err != nil {
		return fmt.Errorf("if: %w", err)
	}
	return nil
}

// exact fails where key has other attributes than those of d's key.
func (d *definition) exact(key data.Item) error {
	want := 1
	if d.Sort.Name != "" {
		want = 2
	}
	if len(key) > want {
		return fmt.Errorf("key: it has %d attributes, and the table's %d", len(key), want)
	}
	return nil
}

// keyOf returns the attributes of d's key that item has.
func (d *definition) keyOf(item data.Item) data.Item {
	return pick(item, d.Key.Name, d.Sort.Name)
}

func pick(item data.Item, names ...string) data.Item {
	out := data.Item{}
	for _, n := range names {
		if v, ok := item[n]; ok && n != "" {
			out[n] = v
		}
	}
	return out
}

// encode makes the bytes of what is to be stored, and checks its size and the
// attributes that an index is made of.
func (t *Tables) encode(c *change, item data.Item) error {
	if n := itemSize(item); n > t.maxItem {
		return refuse(rouse.TooLarge, c.op, c.def.Ref, fmt.Errorf("the item has %d bytes, %d are the most", n, t.maxItem))
	}
	for n := range c.def.Indexes {
		if _, err := c.def.entryKey(n, item, c.tail); err != nil {
			return refuse(rouse.Invalid, c.op, c.def.Ref, err)
		}
	}
	c.after, c.code = item, encodeItem(item)
	return nil
}

// Write implements data.Items.
func (t *Tables) Write(ctx context.Context, w data.Write) (data.Written, error) {
	out, err := t.Transact(ctx, []data.Write{w})
	if err != nil {
		return data.Written{}, err
	}
	return out[0], nil
}

// Transact implements data.Items.
func (t *Tables) Transact(ctx context.Context, ws []data.Write) ([]data.Written, error) {
	if len(ws) > maxWrites {
		return nil, rouse.Errorf(rouse.Invalid, "write items", "", "there are %d writes, %d are the most at once", len(ws), maxWrites)
	}
	if len(ws) == 0 {
		return nil, nil
	}
	var refs []rouse.Ref
	for _, w := range ws {
		if !slices.Contains(refs, w.Table) {
			refs = append(refs, w.Table)
		}
	}
	var cs []*change
	cause := event.CauseOf(ctx)
	err := t.defined(ctx, refs, func(defs []*definition) (err error) {
		if cs, err = t.prepareAll(ws, refs, defs); err != nil {
			return err
		}
		return t.keys.Update(ctx, func(w rouse.KeyWriter) error { return t.commit(w, cause, defs, cs) })
	})
	if err != nil {
		return nil, err
	}
	out := make([]data.Written, len(cs))
	for i, c := range cs {
		if c.def.Changes > 0 && c.op != data.WriteCheck {
			t.wake(c)
		}
		if out[i], err = c.written(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (t *Tables) prepareAll(ws []data.Write, refs []rouse.Ref, defs []*definition) ([]*change, error) {
	cs := make([]*change, len(ws))
	seen := make(map[string]bool, len(ws))
	for i, w := range ws {
		c, err := t.prepare(w, defs[slices.Index(refs, w.Table)])
		if err == nil && seen[string(c.key)] {
			err = rouse.Errorf(rouse.Invalid, "write items", w.Table.String(), "two writes are of the same item: make them in two transactions")
		}
		if err != nil && len(ws) > 1 {
			return nil, rouse.Errorf(rouse.KindOf(err), "write items", fmt.Sprintf("write %d", i), "%w", err)
		}
		if err != nil {
			return nil, err
		}
		seen[string(c.key)] = true
		cs[i] = c
	}
	return cs, nil
}

// written returns what a change did, after its transaction.
func (c *change) written() (data.Written, error) {
	w := data.Written{Old: c.visible(), New: c.after}
	if c.old == nil && c.stored != nil && !c.gone {
		old, err := c.decode()
		if err != nil {
			return w, err
		}
		if w.Old = old; c.op == data.WriteCheck {
			w.New = old
		}
	}
	return w, nil
}

func (c *change) decode() (data.Item, error) {
	item, err := decodeItem(c.stored)
	if err != nil {
		return nil, rouse.Errorf(rouse.Internal, "read item", c.def.Ref.String(), "%w", err)
	}
	return item, nil
}

// blind reports whether a change needs not know what was there before.
func (c *change) blind() bool {
	d := c.def
	return c.cond == nil && (c.op == data.WritePut || c.op == data.WriteDelete || c.op == data.WriteCheck) &&
		len(d.Indexes) == 0 && d.TTL == "" && d.Changes <= 0
}

// commit makes all changes, or none and returns an error.
func (t *Tables) commit(w rouse.KeyWriter, cause event.Cause, defs []*definition, cs []*change) error {
	keys := make([][]byte, 0, len(defs)+len(cs))
	for _, d := range defs {
		keys = append(keys, definitionKey(d.Ref))
	}
	for _, c := range cs {
		keys = append(keys, c.key)
	}
	values, err := w.Get(keys...)
	if err != nil {
		return err
	}
	if err := fresh(defs, values); err != nil {
		return err
	}
	now := t.now()
	var refused data.Refused
	for i, c := range cs {
		ok, err := t.try(c, values[len(defs)+i], now.Unix())
		if err != nil {
			return err
		}
		if !ok {
			refused.Writes = append(refused.Writes, data.RefusedWrite{Index: i, Item: c.visible()})
		}
	}
	if len(refused.Writes) > 0 {
		first := cs[refused.Writes[0].Index]
		return refuse(rouse.Conflict, first.op, first.def.Ref, &refused)
	}
	log := ledger{now: now, cause: cause}
	for _, c := range cs {
		c.store(w, &log)
	}
	return log.append(w)
}

// try finds out what a change comes to; ok is false where its condition does not
// hold.
func (t *Tables) try(c *change, stored []byte, now int64) (ok bool, err error) {
	c.stored, c.old, c.gone = stored, nil, false
	if stored != nil && !c.blind() {
		if c.old, err = c.decode(); err != nil {
			return false, err
		}
		c.gone = c.def.expired(c.old, now)
	}
	before := c.visible()
	if !holds(before, c.cond) {
		return false, nil
	}
	switch c.op {
	case data.WriteDelete:
		c.after = nil
	case data.WriteCheck:
		c.after = before
	case data.WriteUpdate:
		if before == nil {
			before = c.names
		}
		item, err := edit(before, c.edits)
		if err == nil {
			item, err = clean(item)
		}
		if err != nil {
			return false, refuse(rouse.Invalid, c.op, c.def.Ref, fmt.Errorf("edits: %w", err))
		}
		return true, t.encode(c, item)
	}
	return true, nil
}

// visible is the item that was there, for those who may see it.
func (c *change) visible() data.Item {
	if c.gone {
		return nil
	}
	return c.old
}

func (d *definition) expired(item data.Item, now int64) bool {
	second := d.expiry(item)
	return second > 0 && int64(second) <= now
}

// store writes what a change came to, with all that is kept beside the item.
func (c *change) store(w rouse.KeyWriter, log *ledger) {
	if c.op == data.WriteCheck {
		return
	}
	d := c.def
	for n := range d.Indexes {
		from, to := c.entry(n, c.old), c.entry(n, c.after)
		if from != nil && string(from) != string(to) {
			w.Delete(from)
		}
		if to != nil && string(from) != string(to) {
			w.Put(to, c.tail)
		}
	}
	from, to := d.expiry(c.old), d.expiry(c.after)
	if from > 0 && from != to {
		w.Delete(d.expiryKey(from, c.tail))
	}
	if to > 0 && from != to {
		w.Put(d.expiryKey(to, c.tail), nil)
	}
	if c.after != nil {
		w.Put(c.key, c.code)
	} else if c.stored != nil {
		w.Delete(c.key)
	}
	if d.Changes > 0 {
		if c.gone {
			log.add(c, c.old, nil, true)
		}
		log.add(c, c.visible(), c.after, false)
	}
}

// entry is the key of an item in an index. It can't fail: what is stored was
// checked, and what is new has been.
func (c *change) entry(n int, item data.Item) []byte {
	if item == nil {
		return nil
	}
	key, err := c.def.entryKey(n, item, c.tail)
	if err != nil { // stored before the index was, with another type
		return nil
	}
	return key
}
