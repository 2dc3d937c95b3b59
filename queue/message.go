package queue

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/internal/tuple"
)

const (
	maxSend     = 10_000   // messages at once
	maxSendSize = 24 << 20 // bytes at once
	look        = time.Second
	countAtOnce = 10_000 // of those that are leased or delayed
)

func encodeReceipt(r rouse.Receipt) string { return fmt.Sprintf("%x-%x", r.ID, r.Epoch) }

// decodeReceipt returns one that is never good where s is none.
func decodeReceipt(s string) rouse.Receipt {
	a, b, _ := strings.Cut(s, "-")
	id, err := strconv.ParseInt(a, 16, 64)
	epoch, err2 := strconv.ParseInt(b, 16, 64)
	r := rouse.Receipt{ID: id, Epoch: epoch}
	if err != nil || err2 != nil || encodeReceipt(r) != s {
		return rouse.Receipt{}
	}
	return r
}

func origin(r rouse.Ref, m *taken) *data.Origin {
	return &data.Origin{Queue: r, ID: m.id, Count: int(m.state.count)}
}

// Send implements data.Queues.
func (q *Queues) Send(ctx context.Context, r rouse.Ref, ms []data.Message) ([]data.Sent, error) {
	const what = "send"
	total := 0
	for i, m := range ms {
		size := len(m.Body) + len(m.Group) + len(m.Dedup)
		for k, v := range m.Attributes {
			size += len(k) + len(v)
		}
		if size > data.MaxMessage {
			return nil, rouse.Errorf(rouse.TooLarge, what, r.String(), "messages[%d]: it has %d bytes, %d are the most", i, size, data.MaxMessage)
		}
		if total += size; total > maxSendSize || i >= maxSend {
			return nil, rouse.Errorf(rouse.TooLarge, what, r.String(), "%d messages are too many or too large together: send them in parts", len(ms))
		}
	}
	if len(ms) == 0 {
		_, err := q.Queue(ctx, r)
		return nil, err
	}
	ms = caused(ctx, ms)
	var sent []data.Sent
	err := q.do(source{Ref: r}, &op{ctx: ctx, rank: sends, size: total, run: func(b *box) error {
		if err := fitting(b, ms); err != nil {
			return err
		}
		if b.settings.DedupByBody || slices.ContainsFunc(ms, func(m data.Message) bool { return m.Dedup != "" }) {
			if err := b.expireDedups(); err != nil {
				return err
			}
		}
		sent = make([]data.Sent, len(ms))
		for i, m := range ms {
			var err error
			if sent[i], err = b.send(m); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return sent, nil
}

// caused returns messages with what led to them among their attributes, where
// that is known, and with nothing there that others say of it.
func caused(ctx context.Context, ms []data.Message) []data.Message {
	cause := event.CauseOf(ctx)
	if cause == (event.Cause{}) && !slices.ContainsFunc(ms, func(m data.Message) bool { return len(m.Attributes) > 0 }) {
		return ms
	}
	ms = slices.Clone(ms)
	for i := range ms {
		ms[i].Attributes = cause.In(ms[i].Attributes)
	}
	return ms
}

// fitting says what of ms does not go with the queue.
func fitting(b *box, ms []data.Message) error {
	if !b.fifo() {
		return nil
	}
	for i, m := range ms {
		switch {
		case m.Group == "":
			return rouse.Errorf(rouse.Invalid, "send", b.String(), "messages[%d].group: a queue that is fifo needs one", i)
		case m.Delay > 0:
			return rouse.Errorf(rouse.Invalid, "send", b.String(), "messages[%d].delay: in a queue that is fifo only the queue has one", i)
		}
	}
	return nil
}

func (b *box) send(m data.Message) (data.Sent, error) {
	dedup := m.Dedup
	if dedup == "" && b.settings.DedupByBody {
		dedup = fmt.Sprintf("%x", sha256.Sum256(m.Body))
	}
	if dedup != "" {
		if id, err := b.duplicate(dedup); id != 0 || err != nil {
			return data.Sent{ID: id, Duplicate: true}, err
		}
	}
	id, err := b.id()
	if err != nil {
		return data.Sent{}, err
	}
	if dedup != "" {
		b.remember(dedup, id)
	}
	s := state{sent: b.now.UnixMicro(), group: groupOf(m.Group)}
	switch {
	case m.TTL < 0:
		s.expires = forever
	case m.TTL > 0:
		s.expires = later(b.now, m.TTL).UnixMicro()
	case b.fifo(): // the sweep finds the old ones of a Fifo queue by that alone
		s.expires = s.expiry(b.settings)
	}
	delay := m.Delay
	if delay == 0 {
		delay = time.Duration(b.settings.Delay)
	}
	s.epoch = tick(later(b.now, delay), 0)
	until := int64(0)
	if delay > 0 {
		until = s.epoch
	}
	if err := b.add(id, until, s, content{body: m.Body, attributes: m.Attributes, group: m.Group, dedup: m.Dedup}); err != nil {
		return data.Sent{}, err
	}
	return data.Sent{ID: id, Receipt: encodeReceipt(rouse.Receipt{ID: id, Epoch: s.epoch}), Visible: timeOf(s.epoch),
		Expires: expires(s.expiry(b.settings))}, nil
}

func expires(micros int64) time.Time {
	if micros == forever {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

func (b *box) dedupKey(dedup string) []byte {
	sum := sha256.Sum256([]byte(dedup))
	return append(b.key(dedupKind), sum[:]...)
}

// duplicate returns the ID of the message that was sent with the same dedup
// within the window; 0 where there was none.
func (b *box) duplicate(dedup string) (int64, error) {
	values, err := b.get(b.dedupKey(dedup))
	if err != nil || len(values[0]) != 16 {
		return 0, err
	}
	id, rest, _ := tuple.ReadInt(values[0])
	at, _, _ := tuple.ReadInt(rest)
	if at <= b.now.Add(-data.DedupWindow).UnixMicro() {
		return 0, nil
	}
	return id, nil
}

func (b *box) remember(dedup string, id int64) {
	at := b.now.UnixMicro()
	key := b.dedupKey(dedup)
	b.w.Put(key, tuple.Int(tuple.Int(nil, id), at))
	b.w.Put(append(tuple.Int(b.key(windowKind), at), key[len(key)-sha256.Size:]...), nil)
}

// expireDedups forgets some that are out of the window, more than one send adds
// on average.
func (b *box) expireDedups() error {
	over := b.now.Add(-data.DedupWindow).UnixMicro()
	pairs, err := b.scan(rouse.Span{From: b.key(windowKind), To: tuple.Int(b.key(windowKind), over), Limit: 100})
	if err != nil {
		return err
	}
	for _, p := range pairs {
		b.w.Delete(p.Key)
		key := append(b.key(dedupKind), p.Key[max(0, len(p.Key)-sha256.Size):]...)
		values, err := b.get(key)
		if err != nil {
			return err
		}
		if len(values[0]) == 16 { // unless it was sent again since
			if at, _, _ := tuple.ReadInt(values[0][8:]); at < over {
				b.w.Delete(key)
			}
		}
	}
	return nil
}

// Receive implements data.Queues. What was sent here wakes it at once; what
// other nodes sent it finds within a second.
func (q *Queues) Receive(ctx context.Context, r data.Receive) ([]data.Delivery, error) {
	return q.await(ctx, r, false)
}

// Take is Receive for the server itself: what it leases is free when the server
// has ended and Recover is called.
func (q *Queues) Take(ctx context.Context, r data.Receive) ([]data.Delivery, error) {
	return q.await(ctx, r, true)
}

func (q *Queues) await(ctx context.Context, r data.Receive, held bool) ([]data.Delivery, error) {
	s := source{Ref: r.Queue}
	if r.Wait <= 0 {
		ds, _, err := q.receive(ctx, r, held)
		return ds, err
	}
	over := time.NewTimer(r.Wait)
	defer over.Stop()
	for waiting := true; ; {
		woken, done := q.waiters.wait(s)
		ds, next, err := q.receive(ctx, r, held)
		if err != nil || len(ds) > 0 || !waiting {
			done()
			return ds, err
		}
		pause := look
		if next >= 0 {
			pause = min(pause, next+time.Millisecond)
		}
		again := time.NewTimer(pause)
		select {
		case <-woken:
		case <-again.C:
		case <-over.C:
			waiting = false
		case <-ctx.Done():
		}
		again.Stop()
		done()
	}
}

// receive does not wait; where there is no message it returns when there may be.
func (q *Queues) receive(ctx context.Context, r data.Receive, held bool) ([]data.Delivery, time.Duration, error) {
	var ds []data.Delivery
	var next time.Duration
	r.Max = min(max(r.Max, 1), maxReceive)
	o := &op{ctx: ctx, rank: receives, demand: r.Max}
	o.run = func(b *box) error {
		ds, next = nil, -1
		d := time.Duration(b.settings.Visibility)
		if r.Visibility != nil {
			d = *r.Visibility
		}
		b.groups, b.perGroup = r.Groups, r.PerGroup
		ms, err := b.receive(r.Max, d, held)
		if err != nil {
			return err
		}
		o.leased = receipts(ms)
		for i, m := range ms {
			ds = append(ds, b.delivery(m, encodeReceipt(o.leased[i])))
		}
		if len(ds) == 0 && r.Wait > 0 {
			next, err = b.next()
		}
		return err
	}
	if err := q.do(source{Ref: r.Queue}, o); err != nil {
		return nil, 0, err
	}
	return ds, next, nil
}

// next returns how long it is until a message is visible that is leased or
// delayed; below 0 where there is none.
func (b *box) next() (time.Duration, error) {
	pairs, err := b.scan(rouse.Span{From: b.key(leasedKind), To: tuple.After(b.key(leasedKind)), Limit: 1})
	if err != nil || len(pairs) == 0 {
		return -1, err
	}
	_, until, _, _ := decodeLeased(pairs[0])
	return max(0, timeOf(until).Sub(b.now)), nil
}

func (b *box) delivery(m taken, receipt string) data.Delivery {
	s := m.state
	d := data.Delivery{ID: m.id, Receipt: receipt, Body: m.body, Attributes: m.attributes, Dedup: m.dedup, Group: m.group, Fifo: b.fifo(), Count: int(s.count),
		Sent: time.UnixMicro(s.sent).UTC(), Visible: timeOf(s.epoch), Expires: expires(s.expiry(b.settings)), Origin: m.origin}
	if s.first != 0 {
		d.First = time.UnixMicro(s.first).UTC()
	}
	return d
}

// Delete implements data.Queues.
func (q *Queues) Delete(ctx context.Context, r rouse.Ref, receipts []string) ([]bool, error) {
	if len(receipts) == 0 {
		_, err := q.Queue(ctx, r)
		return nil, err
	}
	rs := make([]rouse.Receipt, len(receipts))
	for i, text := range receipts {
		rs[i] = decodeReceipt(text)
	}
	deleted, err := q.delete(ctx, source{Ref: r}, rs)
	if i := slices.Index(deleted, false); err == nil && i >= 0 {
		err = rouse.Errorf(rouse.Conflict, "delete", r.String(), "receipts[%d]: %w", i, errStale)
	}
	return deleted, err
}

// Extend implements data.Queues.
func (q *Queues) Extend(ctx context.Context, r rouse.Ref, receipt string, d time.Duration, body []byte) (string, error) {
	if len(body) > data.MaxMessage {
		return "", rouse.Errorf(rouse.TooLarge, "extend", r.String(), "body: it has %d bytes, %d are the most", len(body), data.MaxMessage)
	}
	fresh, err := q.extend(ctx, source{Ref: r}, decodeReceipt(receipt), d, body)
	if err != nil {
		return "", err
	}
	return encodeReceipt(fresh), nil
}

// view runs f on a box that is only read.
func (q *Queues) view(ctx context.Context, r rouse.Ref, f func(b *box, k rouse.KeyReader) error) error {
	return q.Keys.View(ctx, func(k rouse.KeyReader) error {
		d, err := q.documents.load(k, r)
		if err != nil {
			return err
		}
		b := &box{tx: &tx{queues: q, now: q.Now()}, source: source{Ref: r}, settings: d.Queue, name: d.box()}
		b.prefix = append([]byte{messageKind}, b.name...)
		return f(b, k)
	})
}

// Peek implements data.Queues.
func (q *Queues) Peek(ctx context.Context, r rouse.Ref, limit int) ([]data.Delivery, error) {
	limit = min(max(limit, 1), maxReceive)
	var ds []data.Delivery
	err := q.view(ctx, r, func(b *box, k rouse.KeyReader) error {
		ds = nil
		waiting := b.key(b.waitingKind())
		pairs, err := q.scan(k, rouse.Span{From: waiting, To: tuple.After(waiting), Limit: limit})
		if err != nil {
			return err
		}
		due, err := q.scan(k, rouse.Span{From: b.key(leasedKind), To: tuple.After(b.idKey(leasedKind, lastTick(b.now))), Limit: limit})
		if err != nil {
			return err
		}
		var cs []candidate
		for _, p := range append(pairs, due...) {
			if s, err := decodeState(p.Value); err == nil && s.expiry(b.settings) > b.now.UnixMicro() {
				id, err := idOf(p.Key)
				if err != nil {
					return err
				}
				cs = append(cs, candidate{id: id, state: s})
			}
		}
		if !b.fifo() {
			slices.SortFunc(cs, func(x, y candidate) int { return int(min(max(x.id-y.id, -1), 1)) })
		}
		ds, err = b.peek(k, cs[:min(limit, len(cs))])
		return err
	})
	return ds, err
}

// peek reads the bodies of messages, as many as go at once.
func (b *box) peek(k rouse.KeyReader, cs []candidate) ([]data.Delivery, error) {
	var ds []data.Delivery
	for size := 0; len(cs) > 0 && size < bodiesAtOnce; {
		part := cs[:min(16, len(cs))]
		cs = cs[len(part):]
		keys := make([][]byte, len(part))
		for i, c := range part {
			keys[i] = b.idKey(bodyKind, c.id)
		}
		values, err := k.Get(keys...)
		if len(values) != len(keys) {
			return nil, err
		}
		for i, v := range values {
			size += len(v)
			c, err := decodeContent(v)
			if err != nil {
				continue // who receives it puts it aside
			}
			ds = append(ds, b.delivery(taken{part[i], c}, ""))
		}
	}
	return ds, nil
}

// Counts implements data.Queues.
func (q *Queues) Counts(ctx context.Context, r rouse.Ref) (data.QueueCounts, error) {
	var c data.QueueCounts
	err := q.view(ctx, r, func(b *box, k rouse.KeyReader) error {
		c = data.QueueCounts{Next: -1}
		prefix := counterPrefix(b.name)
		pairs, err := q.scan(k, rouse.Span{From: prefix, To: append(counterPrefix(b.name), slots)})
		if err != nil {
			return err
		}
		for _, p := range pairs {
			if s, err := decodeSlot(p.Value); err == nil {
				c.Visible, c.Damaged = c.Visible+s.alive, c.Damaged+s.dead
			}
		}
		hidden, err := q.scan(k, rouse.Span{From: tuple.After(b.idKey(leasedKind, lastTick(b.now))), To: tuple.After(b.key(leasedKind)), Limit: countAtOnce})
		if err != nil {
			return err
		}
		for i, p := range hidden {
			_, until, s, _ := decodeLeased(p)
			if i == 0 {
				c.Next = time.Duration(until>>10-b.now.UnixMicro()) * time.Microsecond
			}
			if s.count == 0 {
				c.Delayed++
			}
		}
		all := int64(len(hidden))
		if all == countAtOnce {
			all, err = k.Count(tuple.After(b.idKey(leasedKind, lastTick(b.now))), tuple.After(b.key(leasedKind)))
		}
		c.Leased, c.Visible = all-c.Delayed, max(c.Visible-all, 0)
		return err
	})
	return c, err
}
