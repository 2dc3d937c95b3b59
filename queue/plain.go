package queue

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/tuple"
)

// maxPlain is how many bytes a message of a plain queue has at most.
const maxPlain = 32<<20 - 1024

// redriveAtOnce is how many messages one transaction moves.
const redriveAtOnce = 500

// plain implements rouse.Queue.
type plain struct{ *Queues }

// Plain returns the queues that need not be made: those of the platform itself.
// A name it knows is never that of one of the Queues.
func (q *Queues) Plain() rouse.Queue { return plain{q} }

func plainSource(name string) source { return source{rouse.Ref{Name: name}, true} }

// Send implements rouse.Queue.
func (q plain) Send(ctx context.Context, name string, ms []rouse.Message) ([]int64, error) {
	size, err := plainSize(name, ms)
	if err != nil {
		return nil, err
	}
	if len(ms) == 0 {
		return nil, ctx.Err()
	}
	var ids []int64
	err = q.do(plainSource(name), &op{ctx: ctx, rank: sends, size: size, run: func(b *box) (err error) {
		ids, err = b.sendPlain(ms)
		return err
	}})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// plainSize returns the bytes of messages. Errors: TooLarge.
func plainSize(name string, ms []rouse.Message) (size int, err error) {
	for i, m := range ms {
		if len(m.Body) > maxPlain {
			return 0, rouse.Errorf(rouse.TooLarge, "send", name, "messages[%d]: it has %d bytes, %d are the most", i, len(m.Body), maxPlain)
		}
		size += len(m.Body)
	}
	return size, nil
}

func (b *box) sendPlain(ms []rouse.Message) (ids []int64, err error) {
	ids = make([]int64, len(ms))
	for i, m := range ms {
		if ids[i], err = b.id(); err != nil {
			return nil, err
		}
		s, until := state{sent: b.now.UnixMicro()}, int64(0)
		if m.Delay > 0 {
			until = tick(later(b.now, m.Delay), 0)
			s.epoch = until
		}
		if err := b.add(ids[i], until, s, content{body: m.Body}); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// Receive implements rouse.Queue.
func (q plain) Receive(ctx context.Context, name string, n int, d time.Duration) ([]rouse.Lease, error) {
	if n <= 0 {
		return nil, nil
	}
	var leases []rouse.Lease
	o := &op{ctx: ctx, rank: receives, demand: n}
	o.run = func(b *box) error {
		ms, err := b.receive(n, d, true)
		o.leased = receipts(ms)
		leases = make([]rouse.Lease, len(ms))
		for i, m := range ms {
			leases[i] = rouse.Lease{Receipt: o.leased[i], Body: m.body, Count: int(m.state.count), Sent: time.UnixMicro(m.state.sent).UTC()}
		}
		return err
	}
	if err := q.do(plainSource(name), o); err != nil {
		return nil, err
	}
	return leases, nil
}

// Delete implements rouse.Queue.
func (q plain) Delete(ctx context.Context, name string, rs []rouse.Receipt) ([]bool, error) {
	return q.delete(ctx, plainSource(name), rs)
}

func (q *Queues) delete(ctx context.Context, s source, rs []rouse.Receipt) ([]bool, error) {
	var deleted []bool
	err := q.do(s, &op{ctx: ctx, rank: settles, run: func(b *box) (err error) {
		deleted, err = b.delete(rs)
		return err
	}})
	if err != nil {
		return nil, err
	}
	return deleted, nil
}

// Extend implements rouse.Queue.
func (q plain) Extend(ctx context.Context, name string, r rouse.Receipt, d time.Duration) (rouse.Receipt, error) {
	return q.extend(ctx, plainSource(name), r, d, nil)
}

func (q *Queues) extend(ctx context.Context, s source, r rouse.Receipt, d time.Duration, body []byte) (rouse.Receipt, error) {
	var fresh rouse.Receipt
	err := q.do(s, &op{ctx: ctx, rank: settles, size: len(body), run: func(b *box) (err error) {
		fresh, err = b.extend("extend", r, d, body)
		return err
	}})
	if err != nil {
		return rouse.Receipt{}, err
	}
	return fresh, nil
}

// Bury implements rouse.Queue.
func (q plain) Bury(ctx context.Context, name string, r rouse.Receipt, reason string) error {
	return q.do(plainSource(name), &op{ctx: ctx, rank: settles, run: func(b *box) error {
		if _, err := b.counters(); err != nil {
			return err
		}
		places, err := b.find([]rouse.Receipt{r})
		if err != nil {
			return err
		}
		p := places[0]
		if p == nil {
			return stale("bury", b.source)
		}
		bodies, err := b.get(b.idKey(bodyKind, p.id))
		if err != nil {
			return err
		}
		if err := b.take(p); err != nil {
			return err
		}
		return b.bury(p.id, p.state, bodies[0], reason)
	}})
}

// PurgePlain removes all that is in a plain queue, its dead letters included. A
// receipt of what was leased is good for nothing then.
func (q *Queues) PurgePlain(ctx context.Context, name string) error {
	for more := true; more; {
		err := q.do(plainSource(name), &op{ctx: ctx, rank: settles, run: func(b *box) (err error) {
			more, err = b.purge()
			return err
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// purge removes some of what is in a plain box, and says whether there may be more.
func (b *box) purge() (more bool, err error) {
	if _, err := b.counters(); err != nil {
		return false, err
	}
	pairs, err := b.scan(rouse.Span{From: b.prefix, To: tuple.After(b.prefix), Limit: sweepAtOnce, Size: clearAtOnce})
	if err != nil || len(pairs) == 0 {
		return false, err
	}
	var alive, dead int64
	for _, p := range pairs {
		switch p.Key[len(b.prefix)] {
		case waitKind, leasedKind:
			alive++
		case deadKind:
			dead++
		}
	}
	b.w.Clear(b.prefix, append(slices.Clip(pairs[len(pairs)-1].Key), 0))
	b.ahead, b.upTo = nil, 0
	return true, b.count(-alive, -dead)
}

// at is a box that is only read.
func (q plain) at(name string) *box { return q.in(&tx{queues: q.Queues, now: q.Now()}, name) }

// in is a box of a transaction that does not have it yet.
func (q plain) in(t *tx, name string) *box {
	b := &box{tx: t, source: plainSource(name), name: plainName(name)}
	b.prefix = append([]byte{messageKind}, b.name...)
	return b
}

// Dead implements rouse.Queue. Of a dead letter that is damaged it leaves out
// the Body, and says so in its Reason.
func (q plain) Dead(ctx context.Context, name string, after int64, limit int) ([]rouse.DeadLetter, error) {
	b := q.at(name)
	var letters []rouse.DeadLetter
	err := q.Keys.View(ctx, func(r rouse.KeyReader) error {
		letters = nil
		pairs, err := q.scan(r, rouse.Span{From: b.idKey(deadKind, max(after, 0)+1), To: tuple.After(b.key(deadKind)), Limit: max(limit, 0)})
		for _, p := range pairs {
			id, err := idOf(p.Key)
			if err != nil {
				return err
			}
			letters = append(letters, letter(id, p.Value))
		}
		return err
	})
	return letters, err
}

func letter(id int64, value []byte) rouse.DeadLetter {
	d, err := decodeDead(value)
	l := rouse.DeadLetter{ID: id, Count: int(d.count), Reason: d.reason}
	if err == nil {
		l.Sent, l.Buried = time.UnixMicro(d.sent).UTC(), time.UnixMicro(d.buried).UTC()
	}
	c, broken := decodeContent(d.content)
	if err != nil || d.damaged || broken != nil {
		if !strings.HasPrefix(l.Reason, damage) {
			l.Reason = damage + "; " + l.Reason
		}
		return l
	}
	l.Body = c.body
	return l
}

// Redrive implements rouse.Queue. Messages are sent as new ones that keep their
// date; a damaged one stays where it is.
func (q plain) Redrive(ctx context.Context, name string, ids []int64) (int, error) {
	all, sent := len(ids) == 0, 0
	for after := int64(0); ; {
		if all {
			letters, err := q.Dead(ctx, name, after, redriveAtOnce)
			if err != nil || len(letters) == 0 {
				return sent, err
			}
			ids = nil
			for _, l := range letters {
				ids = append(ids, l.ID)
			}
			after = ids[len(ids)-1]
		}
		part := ids[:min(len(ids), redriveAtOnce)]
		if ids = ids[len(part):]; len(part) == 0 {
			return sent, nil
		}
		n := 0
		err := q.do(plainSource(name), &op{ctx: ctx, rank: sends, run: func(b *box) (err error) {
			n, err = b.redrive(part)
			return err
		}})
		if err != nil {
			return sent, err
		}
		sent += n
	}
}

// redrive sends dead letters again, and says how many.
func (b *box) redrive(ids []int64) (n int, err error) {
	if _, err := b.counters(); err != nil {
		return 0, err
	}
	for _, id := range ids {
		key := b.idKey(deadKind, id)
		values, err := b.get(key)
		if err != nil {
			return 0, err
		}
		d, err := decodeDead(values[0])
		if err != nil || d.damaged {
			continue
		}
		c, err := decodeContent(d.content)
		if err != nil {
			continue
		}
		fresh, err := b.id()
		if err != nil {
			return 0, err
		}
		if err := b.add(fresh, 0, state{sent: d.sent}, c); err != nil {
			return 0, err
		}
		if err := b.count(0, -1); err != nil {
			return 0, err
		}
		b.w.Delete(key)
		n++
	}
	return n, nil
}

// Stats implements rouse.Queue.
func (q plain) Stats(ctx context.Context, prefix string) (map[string]rouse.QueueStats, error) {
	now := q.Now()
	all := map[string]rouse.QueueStats{}
	err := q.Keys.View(ctx, func(r rouse.KeyReader) error {
		clear(all)
		kind := []byte{counterKind, plainBox}
		from := tuple.Prefix(kind, prefix)
		pairs, err := q.scan(r, rouse.Span{From: from, To: tuple.After(from)})
		if err != nil {
			return err
		}
		for _, p := range pairs {
			name, _, err := tuple.ReadString(p.Key[len(kind):])
			if err != nil {
				continue
			}
			if s, err := decodeSlot(p.Value); err == nil { // else it is counted again when it is used
				sum := all[string(name)]
				all[string(name)] = rouse.QueueStats{Visible: sum.Visible + s.alive, Dead: sum.Dead + s.dead}
			}
		}
		for name, s := range all {
			if s.Visible <= 0 && s.Dead <= 0 {
				delete(all, name)
				continue
			}
			if s.Leased, s.Next, err = q.hidden(r, q.at(name), now); err != nil {
				return err
			}
			s.Visible = max(s.Visible-s.Leased, 0)
			all[name] = s
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// hidden counts the messages that are leased or delayed, and says how long it is
// until the first one is visible; below 0 where there is none.
func (q *Queues) hidden(r rouse.KeyReader, b *box, now time.Time) (n int64, next time.Duration, err error) {
	from, to := tuple.After(b.idKey(leasedKind, lastTick(now))), tuple.After(b.key(leasedKind))
	first, err := q.scan(r, rouse.Span{From: from, To: to, Limit: 1})
	if err != nil || len(first) == 0 {
		return 0, -1, err
	}
	_, until, _, _ := decodeLeased(first[0])
	n, err = r.Count(from, to)
	return n, time.Duration(until>>10-now.UnixMicro()) * time.Microsecond, err
}
