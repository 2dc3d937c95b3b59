package queue

import (
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/tuple"
)

// The kinds of what is in a box. A message has a body and one state: it waits
// under its ID, in a Fifo queue under its group and its ID, or it is leased, or
// delayed, until a tick. Of a Fifo queue those groups are ready that have
// messages of which none is leased; they are found by their first message.
const (
	bodyKind    = 'b' // ID: a content
	waitKind    = 'w' // ID: a state; in a Fifo queue the group whose first message it is, if that is ready
	fifoKind    = 'f' // group, ID: a state
	leasedKind  = 'l' // tick, ID: a state; delayed where it was never received
	heldKind    = 'h' // group: how many of it are leased
	deadKind    = 'd' // ID: a dead
	dedupKind   = 'u' // SHA-256 of a Message.Dedup: the ID and the time of the last message with it
	windowKind  = 'v' // time, SHA-256 of a Message.Dedup
	expiresKind = 'x' // time, ID: when a message is too old, where the queue does not say so
)

// A tx is one transaction, in which boxes are used.
type tx struct {
	queues *Queues
	w      rouse.KeyWriter
	now    time.Time
	boxes  []*box
	wakes  map[source]int // receivers to wake once it is durable
}

// A box holds the messages of one queue.
type box struct {
	*tx
	source
	settings data.Queue // zero for a plain queue
	name     []byte     // what it is called in keys
	prefix   []byte
	demand   int // messages that are still to be asked for
	groups   int // that a receive wants of a Fifo queue; 0 is any number
	perGroup int // messages of each that it wants; 0 is any number

	slot    *slot // nil until it is asked for
	slotKey []byte
	number  byte // of the slot
	dirty   bool // slot is to be stored

	// What was read ahead for those who receive, and the ID up to which.
	ahead   []candidate
	upTo    int64
	lookedL bool // for leases that are over
}

// box returns that of a queue. Errors: NotFound.
func (t *tx) box(s source) (*box, error) {
	for _, b := range t.boxes {
		if b.source == s {
			return b, nil
		}
	}
	b := &box{tx: t, source: s, name: plainName(s.Name)}
	if !s.plain {
		d, err := t.queues.documents.load(t.w, s.Ref)
		if err != nil {
			return nil, err
		}
		b.name, b.settings = d.box(), d.Queue
	}
	b.prefix = append([]byte{messageKind}, b.name...)
	t.boxes = append(t.boxes, b)
	return b, nil
}

func plainName(queue string) []byte { return tuple.String([]byte{plainBox}, queue) }

// save stores the counters.
func (t *tx) save() error {
	for _, b := range t.boxes {
		if b.dirty {
			b.slot.written = t.now.UnixMicro()
			t.w.Put(b.slotKey, b.slot.encode())
		}
	}
	return nil
}

func (t *tx) wake(s source, n int) {
	if t.wakes == nil {
		t.wakes = map[source]int{}
	}
	t.wakes[s] += n
}

// unread reports whether a read failed, as opposed to one that found what it could
// beside something that is damaged.
func unread(err error) bool { return err != nil && rouse.KindOf(err) != rouse.Internal }

// get reads; what is damaged is logged, and nil.
func (t *tx) get(keys ...[]byte) ([][]byte, error) {
	values, err := t.w.Get(keys...)
	if len(values) != len(keys) || unread(err) {
		return nil, err
	}
	if err != nil {
		t.queues.Log.Error("a part of a queue is damaged", "error", err)
	}
	return values, nil
}

// scan reads; what is damaged is logged, and nil.
func (t *tx) scan(s rouse.Span) ([]rouse.Pair, error) { return t.queues.scan(t.w, s) }

// scan reads; what is damaged is logged, and nil.
func (q *Queues) scan(r rouse.KeyReader, s rouse.Span) ([]rouse.Pair, error) {
	pairs, err := r.Scan(s)
	if len(pairs) == 0 || unread(err) {
		return nil, err
	}
	if err != nil {
		q.Log.Error("a part of a queue is damaged", "error", err)
	}
	return pairs, nil
}

func (b *box) fifo() bool { return b.settings.Fifo }

func (b *box) key(kind byte) []byte {
	return append(append(make([]byte, 0, len(b.prefix)+33), b.prefix...), kind)
}

func (b *box) idKey(kind byte, id int64) []byte { return tuple.Uint(b.key(kind), uint64(id)) }

func (b *box) leasedKey(tick, id int64) []byte {
	return tuple.Uint(b.idKey(leasedKind, tick), uint64(id))
}

func (b *box) groupKey(kind byte, g group) []byte { return append(b.key(kind), g[:]...) }

func (b *box) fifoKey(g group, id int64) []byte {
	return tuple.Uint(b.groupKey(fifoKind, g), uint64(id))
}

func (b *box) waitingKind() byte {
	if b.fifo() {
		return fifoKind
	}
	return waitKind
}

func (b *box) waitingKey(id int64, g group) []byte {
	if b.fifo() {
		return b.fifoKey(g, id)
	}
	return b.idKey(waitKind, id)
}

// idOf returns the ID that a key ends with.
func idOf(key []byte) (int64, error) {
	if len(key) < 8 {
		return 0, errBroken
	}
	n, _, err := tuple.ReadUint(key[len(key)-8:])
	return int64(n), err
}

// groupOfKey returns the group of a fifoKind key.
func groupOfKey(key []byte) (g group) {
	if n := len(key); n >= 24 {
		g = group(key[n-24 : n-8])
	}
	return g
}

// add puts a message, which is new, where it waits or, until a tick, is delayed.
func (b *box) add(id, until int64, s state, c content) error {
	if err := b.count(1, 0); err != nil {
		return err
	}
	b.w.Put(b.idKey(bodyKind, id), c.encode())
	if s.expires != 0 && s.expires != forever {
		b.w.Put(tuple.Uint(b.idKey(expiresKind, s.expires), uint64(id)), nil)
	}
	if until > 0 {
		b.w.Put(b.leasedKey(until, id), s.encode(b.fifo()))
		return nil
	}
	b.wake(b.source, 1)
	return b.wait(id, s)
}

// wait makes a message wait that is not in the box's states.
func (b *box) wait(id int64, s state) error {
	if b.fifo() {
		if err := b.lead(id, s.group); err != nil {
			return err
		}
	}
	if id <= b.upTo {
		b.ahead, b.upTo = nil, id-1
	}
	b.w.Put(b.waitingKey(id, s.group), s.encode(b.fifo()))
	return nil
}

// lead makes id its group's first where it comes before the others and none of
// them is leased.
func (b *box) lead(id int64, g group) error {
	held, err := b.get(b.groupKey(heldKind, g))
	if err != nil || held[0] != nil {
		return err
	}
	first, err := b.first(g)
	if err != nil || first != 0 && first < id {
		return err
	}
	if first != 0 {
		b.w.Delete(b.idKey(waitKind, first))
	}
	b.w.Put(b.idKey(waitKind, id), g[:])
	return nil
}

// first returns the ID of the first message of a group that waits; 0 is none.
func (b *box) first(g group) (int64, error) {
	prefix := b.groupKey(fifoKind, g)
	pairs, err := b.scan(rouse.Span{From: prefix, To: tuple.After(prefix), Limit: 1})
	if err != nil || len(pairs) == 0 {
		return 0, err
	}
	return idOf(pairs[0].Key)
}

// unwait takes a message from those that wait.
func (b *box) unwait(id int64, g group) error {
	b.w.Delete(b.waitingKey(id, g))
	if !b.fifo() {
		return nil
	}
	head := b.idKey(waitKind, id)
	leads, err := b.get(head)
	if err != nil || leads[0] == nil {
		return err
	}
	b.w.Delete(head)
	next, err := b.first(g)
	if err == nil && next != 0 {
		b.w.Put(b.idKey(waitKind, next), g[:])
	}
	return err
}

// hold makes a group not ready, once more.
func (b *box) hold(g group) error {
	n, err := b.held(g)
	if err != nil {
		return err
	}
	b.w.Put(b.groupKey(heldKind, g), tuple.Uint(nil, n+1))
	if n > 0 {
		return nil
	}
	first, err := b.first(g)
	if err == nil && first != 0 {
		b.w.Delete(b.idKey(waitKind, first))
	}
	return err
}

func (b *box) held(g group) (uint64, error) {
	values, err := b.get(b.groupKey(heldKind, g))
	if err != nil || values[0] == nil {
		return 0, err
	}
	n, _, _ := tuple.ReadUint(values[0])
	return n, nil
}

// release undoes one hold.
func (b *box) release(g group) error {
	n, err := b.held(g)
	if err != nil {
		return err
	}
	if n > 1 {
		b.w.Put(b.groupKey(heldKind, g), tuple.Uint(nil, n-1))
		return nil
	}
	b.w.Delete(b.groupKey(heldKind, g))
	first, err := b.first(g)
	if err == nil && first != 0 {
		b.w.Put(b.idKey(waitKind, first), g[:])
		b.wake(b.source, 1)
	}
	return err
}

// lease makes a message leased that is not in the box's states.
func (b *box) lease(id int64, s state) error {
	b.w.Put(b.leasedKey(s.epoch, id), s.encode(b.fifo()))
	if b.fifo() && s.count > 0 {
		return b.hold(s.group)
	}
	return nil
}

// unlease takes a message from those that are leased until a tick.
func (b *box) unlease(id, until int64, s state) error {
	b.w.Delete(b.leasedKey(until, id))
	if b.fifo() && s.count > 0 {
		return b.release(s.group)
	}
	return nil
}

// back makes a leased message wait again.
func (b *box) back(id, until int64, s state) error {
	s.held = false
	if b.fifo() && s.count > 0 { // its group is not ready: release finds the first
		b.w.Put(b.fifoKey(s.group, id), s.encode(true))
		return b.unlease(id, until, s)
	}
	b.w.Delete(b.leasedKey(until, id))
	b.wake(b.source, 1)
	return b.wait(id, s)
}

// forget removes the rest of a message that is in none of the box's states any
// more.
func (b *box) forget(id int64, s state) error {
	b.w.Delete(b.idKey(bodyKind, id))
	if s.expires != 0 && s.expires != forever {
		b.w.Delete(tuple.Uint(b.idKey(expiresKind, s.expires), uint64(id)))
	}
	return b.count(-1, 0)
}

// bury makes a dead letter of a message that is in none of the box's states any
// more. Body is what is stored of it, nil where that is lost.
func (b *box) bury(id int64, s state, body []byte, reason string) error {
	if err := b.count(0, 1); err != nil {
		return err
	}
	d := dead{sent: s.sent, buried: b.now.UnixMicro(), count: s.count, damaged: body == nil, reason: reason, content: body}
	if err := b.forget(id, s); err != nil {
		return err
	}
	b.w.Put(b.idKey(deadKind, id), d.encode())
	return nil
}
