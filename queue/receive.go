package queue

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/tuple"
)

const (
	dueAtOnce    = 1_000    // leases that are over of which one transaction makes messages that wait
	bodiesAtOnce = 16 << 20 // bytes that one receive hands out, but for its last message
	maxReceive   = 1_000    // messages
	damage       = "damaged: its bytes do not match their checksum"
)

// A candidate is a message that waits.
type candidate struct {
	id    int64
	state state
	value []byte // its content as stored; nil where that is damaged or lost
	err   error  // of the state
}

// A taken is a message that was leased.
type taken struct {
	candidate
	content
}

func receipts(ms []taken) []rouse.Receipt {
	rs := make([]rouse.Receipt, len(ms))
	for i, m := range ms {
		rs[i] = rouse.Receipt{ID: m.id, Epoch: m.state.epoch}
	}
	return rs
}

// due makes those messages wait whose time has come.
func (b *box) due() error {
	if b.lookedL {
		return nil
	}
	b.lookedL = true
	pairs, err := b.scan(rouse.Span{From: b.key(leasedKind), To: tuple.After(b.idKey(leasedKind, lastTick(b.now))), Limit: dueAtOnce})
	if err != nil {
		return err
	}
	for _, p := range pairs {
		id, until, s, broken := decodeLeased(p)
		switch {
		case id == 0:
			b.w.Delete(p.Key)
		case broken != nil:
			err = b.buryBroken(id, p.Key, state{})
		default:
			err = b.back(id, until, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// decodeLeased reads a pair of leasedKind. The ID is 0 where the key is broken.
func decodeLeased(p rouse.Pair) (id, until int64, s state, err error) {
	if len(p.Key) < 16 {
		return 0, 0, s, errBroken
	}
	if id, err = idOf(p.Key); err != nil {
		return 0, 0, s, err
	}
	if until, err = idOf(p.Key[:len(p.Key)-8]); err != nil {
		return 0, 0, s, err
	}
	s, err = decodeState(p.Value)
	return id, until, s, err
}

// buryBroken makes a dead letter of a message whose state, under key, is broken.
func (b *box) buryBroken(id int64, key []byte, s state) error {
	if _, err := b.counters(); err != nil {
		return err
	}
	bodies, err := b.get(b.idKey(bodyKind, id))
	if err != nil {
		return err
	}
	b.w.Delete(key)
	if c, err := decodeContent(bodies[0]); err == nil && b.fifo() && c.group != "" {
		if err := b.release(groupOf(c.group)); err != nil { // it was leased, if anything
			return err
		}
	}
	return b.bury(id, s, bodies[0], damage)
}

// receive leases up to n messages for d, the first first; held for the server
// itself.
func (b *box) receive(n int, d time.Duration, held bool) ([]taken, error) {
	if err := b.due(); err != nil {
		return nil, err
	}
	var out []taken
	number, size := int64(0), 0
	for n = min(n, maxReceive); len(out) < n && size < bodiesAtOnce; {
		cs, err := b.candidates(n - len(out))
		if err != nil {
			return nil, err
		}
		if len(cs) == 0 {
			break
		}
		for i, c := range cs {
			if size >= bodiesAtOnce && len(out) > 0 {
				b.ahead = append(slices.Clone(cs[i:]), b.ahead...)
				break
			}
			m, err := b.fit(c)
			if err != nil {
				return nil, err
			}
			if m == nil {
				continue
			}
			number, size = max(number, c.state.epoch&1023+1), size+len(c.value)
			out = append(out, *m)
		}
		if b.fifo() && len(out) > 0 {
			break // what is taken is among the candidates still
		}
	}
	epoch := tick(later(b.now, d), number)
	for i := range out {
		out[i].state.held = held && d > 0
		if err := b.hand(&out[i], epoch, d); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// hand leases a message that waits.
func (b *box) hand(m *taken, epoch int64, d time.Duration) error {
	s := &m.state
	s.epoch, s.count = epoch, s.count+1
	if s.first == 0 {
		s.first = b.now.UnixMicro()
	}
	if d <= 0 {
		b.w.Put(b.waitingKey(m.id, s.group), s.encode(b.fifo()))
		return nil
	}
	if err := b.unwait(m.id, s.group); err != nil {
		return err
	}
	return b.lease(m.id, *s)
}

// fit returns what of a candidate can be leased; nil where it is put elsewhere.
func (b *box) fit(c candidate) (*taken, error) {
	m := taken{candidate: c}
	broken := c.err
	if c.value == nil {
		broken = errBroken
	} else if broken == nil {
		m.content, broken = decodeContent(c.value)
	}
	old := broken == nil && c.state.expiry(b.settings) <= b.now.UnixMicro()
	tired := broken == nil && !old && b.settings.MaxReceives > 0 && int(c.state.count) >= b.settings.MaxReceives
	if broken == nil && !old && !tired {
		return &m, nil
	}
	var to *box
	if tired {
		var err error
		if to, err = b.tx.box(source{Ref: b.settings.DeadLetter}); err != nil {
			if rouse.KindOf(err) == rouse.NotFound { // there is nowhere to go
				return &m, nil
			}
			return nil, err
		}
	}
	if _, err := b.counters(); err != nil {
		return nil, err
	}
	if err := b.unwait(c.id, c.state.group); err != nil {
		return nil, err
	}
	switch {
	case old:
		return nil, b.forget(c.id, c.state)
	case tired:
		return nil, b.move(&m, to, true)
	}
	return nil, b.bury(c.id, c.state, c.value, damage)
}

// move sends a message, which is in none of the box's states any more, to
// another box. A dead letter remembers where it comes from.
func (b *box) move(m *taken, to *box, isDead bool) error {
	if err := b.forget(m.id, m.state); err != nil {
		return err
	}
	c := m.content
	c.origin = nil
	if isDead {
		c.origin = origin(b.Ref, m)
	}
	id, err := to.id()
	if err != nil {
		return err
	}
	s := state{sent: m.state.sent, group: groupOf(c.group)}
	if to.fifo() {
		s.expires = s.expiry(to.settings)
	}
	return to.add(id, 0, s, c)
}

// candidates returns up to n messages that wait; there is none where it returns
// none.
func (b *box) candidates(n int) ([]candidate, error) {
	if b.fifo() {
		return b.ready(n)
	}
	if len(b.ahead) == 0 {
		from := b.idKey(waitKind, b.upTo+1)
		pairs, err := b.scan(rouse.Span{From: from, To: tuple.After(b.key(waitKind)), Limit: min(max(n, b.demand), demandAtOnce)})
		if err != nil || len(pairs) == 0 {
			return nil, err
		}
		cs, err := b.read(pairs)
		if err != nil {
			return nil, err
		}
		b.ahead, b.upTo = cs, cs[len(cs)-1].id
	}
	n = min(n, len(b.ahead))
	cs := b.ahead[:n:n]
	b.ahead = b.ahead[n:]
	return cs, nil
}

// ready returns messages of groups of which none is leased: group by group, and
// no more than a receive wants of each.
func (b *box) ready(n int) ([]candidate, error) {
	groups, perGroup := cmp.Or(b.groups, n), cmp.Or(b.perGroup, n)
	heads, err := b.scan(rouse.Span{From: b.key(waitKind), To: tuple.After(b.key(waitKind)), Limit: min(n, groups)})
	if err != nil {
		return nil, err
	}
	var all []rouse.Pair
	for _, h := range heads {
		if len(all) >= n {
			break
		}
		var g group
		if len(h.Value) == len(g) {
			g = group(h.Value)
		} else if g, err = b.lost(h.Key); err != nil {
			return nil, err
		}
		prefix := b.groupKey(fifoKind, g)
		pairs, err := b.scan(rouse.Span{From: prefix, To: tuple.After(prefix), Limit: min(n-len(all), perGroup)})
		if err != nil {
			return nil, err
		}
		if len(pairs) == 0 {
			b.w.Delete(h.Key) // left by one that is damaged
		}
		all = append(all, pairs...)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return b.read(all)
}

// lost returns the group whose first message a damaged pair of waitKind names.
func (b *box) lost(key []byte) (g group, err error) {
	id, err := idOf(key)
	if err != nil {
		return g, err
	}
	bodies, err := b.get(b.idKey(bodyKind, id))
	if err != nil {
		return g, err
	}
	c, err := decodeContent(bodies[0])
	if err != nil {
		return g, nil
	}
	return groupOf(c.group), nil
}

// read returns candidates for the first of pairs, which are states that wait:
// not all where their bodies are large.
func (b *box) read(pairs []rouse.Pair) ([]candidate, error) {
	cs := make([]candidate, len(pairs))
	ids := make([]int64, len(pairs))
	for i, p := range pairs {
		id, err := idOf(p.Key)
		if err != nil {
			return nil, err
		}
		c := candidate{id: id}
		if c.state, c.err = decodeState(p.Value); c.err != nil && b.fifo() {
			c.state.group = groupOfKey(p.Key)
		}
		cs[i], ids[i] = c, id
	}
	bodies, err := b.bodies(ids)
	if err != nil {
		return nil, err
	}
	for i, body := range bodies {
		cs[i].value = body
	}
	return cs[:len(bodies)], nil
}

// bodies returns what is stored of the first of ids, at least one: not all
// where they are large.
func (b *box) bodies(ids []int64) ([][]byte, error) {
	if len(ids) > 1 && slices.IsSorted(ids) {
		return b.bodiesBetween(ids)
	}
	var out [][]byte
	for size := 0; len(out) < len(ids) && size < bodiesAtOnce; {
		part := ids[len(out):min(len(out)+16, len(ids))]
		keys := make([][]byte, len(part))
		for i, id := range part {
			keys[i] = b.idKey(bodyKind, id)
		}
		values, err := b.get(keys...)
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			size += len(v)
		}
		out = append(out, values...)
	}
	return out, nil
}

// bodiesBetween reads all between the first and the last of ids: mostly these
// are they, and one scan costs less than many keys.
func (b *box) bodiesBetween(ids []int64) ([][]byte, error) {
	last := ids[len(ids)-1]
	limit := 2*len(ids) + 8
	pairs, err := b.scan(rouse.Span{From: b.idKey(bodyKind, ids[0]), To: b.idKey(bodyKind, last+1), Limit: limit, Size: bodiesAtOnce})
	if err != nil {
		return nil, err
	}
	read := last // all up to here are in pairs
	size := 0
	stored := make(map[int64][]byte, len(pairs))
	for _, p := range pairs {
		id, err := idOf(p.Key)
		if err != nil {
			return nil, err
		}
		size += len(p.Value)
		stored[id] = p.Value
		if len(pairs) == limit || size >= bodiesAtOnce {
			read = id
		}
	}
	n := 0
	for n < len(ids) && ids[n] <= read {
		n++
	}
	if n == 0 {
		return b.bodies(ids[:1])
	}
	out := make([][]byte, n)
	for i, id := range ids[:n] {
		out[i] = stored[id]
	}
	return out, nil
}

var errStale = errors.New("the receipt is out of date: the message is deleted or in other hands")

func stale(op string, s source) error {
	return rouse.Errorf(rouse.Conflict, op, s.String(), "%w", errStale)
}

// A place is where a message is whose receipt is good.
type place struct {
	id     int64
	state  state
	leased bool // or delayed, until the epoch; it waits otherwise
}

// find returns the places of messages; nil for a receipt that is not good.
func (b *box) find(rs []rouse.Receipt) ([]*place, error) {
	values, err := b.get(b.leasedKeys(rs)...)
	if err != nil {
		return nil, err
	}
	return b.places(rs, values)
}

func (b *box) leasedKeys(rs []rouse.Receipt) [][]byte {
	keys := make([][]byte, len(rs))
	for i, r := range rs {
		keys[i] = b.leasedKey(r.Epoch, r.ID)
	}
	return keys
}

// places is find where the states that are leased were read.
func (b *box) places(rs []rouse.Receipt, values [][]byte) (places []*place, err error) {
	places = make([]*place, len(rs))
	for i, r := range rs {
		if r.Epoch <= 0 {
			continue // never handed out
		}
		waits := values[i] == nil
		value := values[i]
		if waits {
			if value, err = b.waiting(r.ID); err != nil {
				return nil, err
			}
		}
		if s, err := decodeState(value); err == nil && s.epoch == r.Epoch {
			places[i] = &place{r.ID, s, !waits}
		}
	}
	return places, nil
}

// waiting returns the stored state of a message that waits, or nil.
func (b *box) waiting(id int64) ([]byte, error) {
	var g group
	if b.fifo() {
		bodies, err := b.get(b.idKey(bodyKind, id))
		if err != nil || bodies[0] == nil {
			return nil, err
		}
		c, err := decodeContent(bodies[0])
		if err != nil {
			return nil, nil
		}
		g = groupOf(c.group)
	}
	values, err := b.get(b.waitingKey(id, g))
	if err != nil {
		return nil, err
	}
	return values[0], nil
}

// take takes a message out of the box's states.
func (b *box) take(p *place) error {
	if p.leased {
		return b.unlease(p.id, p.state.epoch, p.state)
	}
	return b.unwait(p.id, p.state.group)
}

// delete removes the messages of rs whose receipts are good, and says which.
func (b *box) delete(rs []rouse.Receipt) ([]bool, error) {
	if _, err := b.counters(); err != nil {
		return nil, err
	}
	places, err := b.find(rs)
	if err != nil {
		return nil, err
	}
	return b.remove(places)
}

// remove removes messages, but for those that are nowhere, and says which.
func (b *box) remove(places []*place) ([]bool, error) {
	deleted := make([]bool, len(places))
	gone := map[int64]bool{} // one may come twice
	for i, p := range places {
		if p == nil || gone[p.id] {
			continue
		}
		gone[p.id], deleted[i] = true, true
		if err := b.take(p); err != nil {
			return nil, err
		}
		if err := b.forget(p.id, p.state); err != nil {
			return nil, err
		}
	}
	return deleted, nil
}

// extend makes the message of a good receipt visible after d.
func (b *box) extend(op string, r rouse.Receipt, d time.Duration, body []byte) (rouse.Receipt, error) {
	places, err := b.find([]rouse.Receipt{r})
	if err != nil {
		return rouse.Receipt{}, err
	}
	p := places[0]
	if p == nil {
		return rouse.Receipt{}, stale(op, b.source)
	}
	if body != nil {
		if err := b.replace(p.id, body); err != nil {
			return rouse.Receipt{}, err
		}
	}
	if d > 0 && d < look { // who waits looks too late for it
		b.wake(b.source, 1)
	}
	old, s := p.state.epoch, p.state
	s.epoch = tick(later(b.now, d), old+1)
	switch {
	case d > 0 && p.leased: // its group stays as it is
		b.w.Delete(b.leasedKey(old, p.id))
		b.w.Put(b.leasedKey(s.epoch, p.id), s.encode(b.fifo()))
	case d > 0:
		if err = b.unwait(p.id, s.group); err == nil {
			err = b.lease(p.id, s)
		}
	case p.leased:
		err = b.back(p.id, old, s)
	default:
		b.w.Put(b.waitingKey(p.id, s.group), s.encode(b.fifo()))
	}
	return rouse.Receipt{ID: r.ID, Epoch: s.epoch}, err
}

// replace gives a message another body.
func (b *box) replace(id int64, body []byte) error {
	key := b.idKey(bodyKind, id)
	bodies, err := b.get(key)
	if err != nil {
		return err
	}
	c, err := decodeContent(bodies[0])
	if err != nil {
		c = content{} // it was damaged, and is whole now
	}
	c.body = body
	b.w.Put(key, c.encode())
	return nil
}
