package queue

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/tuple"
)

// SendAll sends messages to several plain queues, all or none, in one
// transaction: much less work than as many of Send. Of a queue that taken names,
// so many of the first messages are leased for d at once, as if the server had
// received them, and returned. Those have no Delay. Errors: TooLarge.
func (q *Queues) SendAll(ctx context.Context, all map[string][]rouse.Message, taken map[string]int, d time.Duration) (map[string][]rouse.Lease, error) {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(name string) bool { return len(all[name]) == 0 })
	sources := make([]source, len(names))
	for i, name := range names {
		sources[i] = plainSource(name)
		if _, err := plainSize(name, all[name]); err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		return nil, ctx.Err()
	}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return nil, rouse.Errorf(rouse.Unavailable, "use queues", names[0], "the queues are closed")
	}
	q.work.Add(1)
	q.mu.Unlock()
	defer q.work.Done()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	defer q.holds.take(sources...)()
	var t *tx
	var leases map[string][]rouse.Lease
	// The messages are the caller's again when it returns: nothing must go on
	// behind it.
	err := q.Keys.Update(context.WithoutCancel(ctx), func(w rouse.KeyWriter) error {
		t = &tx{queues: q, w: w, now: q.Now()}
		for _, name := range names {
			t.boxes = append(t.boxes, plain{q}.in(t, name))
		}
		if err := t.preload(); err != nil {
			return err
		}
		leases = map[string][]rouse.Lease{}
		for i, name := range names {
			b, n := t.boxes[i], min(taken[name], len(all[name]))
			held, err := b.sendTaken(all[name][:n], d)
			if err != nil {
				return err
			}
			if n > 0 {
				leases[name] = held
			}
			if _, err := b.sendPlain(all[name][n:]); err != nil {
				return err
			}
		}
		return t.save()
	})
	if err != nil {
		return nil, err
	}
	for s, n := range t.wakes {
		q.waiters.wake(s, n)
	}
	return leases, nil
}

// sendTaken sends messages that the server has received by that.
func (b *box) sendTaken(ms []rouse.Message, d time.Duration) ([]rouse.Lease, error) {
	leases := make([]rouse.Lease, len(ms))
	now := b.now.UnixMicro()
	for i, m := range ms {
		id, err := b.id()
		if err != nil {
			return nil, err
		}
		s := state{epoch: tick(later(b.now, d), 0), count: 1, sent: now, first: now, held: true}
		if err := b.add(id, s.epoch, s, content{body: m.Body}); err != nil {
			return nil, err
		}
		leases[i] = rouse.Lease{Receipt: rouse.Receipt{ID: id, Epoch: s.epoch}, Body: m.Body, Count: 1, Sent: b.now.UTC()}
	}
	return leases, nil
}

// preload reads the counters of all boxes, which are in the order of their keys,
// in as few steps as it can. What it leaves out each box reads for itself.
func (t *tx) preload() error {
	var strange, known []*box
	var keys [][]byte
	var at []home
	for _, b := range t.boxes {
		h, ok := t.queues.homes.get(b.name)
		if !ok {
			strange = append(strange, b)
			continue
		}
		known, at = append(known, b), append(at, h)
		keys = append(keys, append(counterPrefix(b.name), h.slot))
	}
	if err := t.settleAll(strange); err != nil || len(keys) == 0 {
		return err
	}
	values, err := t.get(keys...)
	if err != nil {
		return err
	}
	for i, b := range known {
		s := slot{}
		if values[i] != nil {
			if s, err = decodeSlot(values[i]); err != nil {
				continue
			}
		}
		b.occupy(at[i], s, true)
	}
	return nil
}

// settleAll chooses slots for boxes by one look at all counters between the
// first and the last of them, unless there are many others among those.
func (t *tx) settleAll(boxes []*box) error {
	if len(boxes) == 0 {
		return nil
	}
	span := rouse.Span{From: counterPrefix(boxes[0].name), To: tuple.After(counterPrefix(boxes[len(boxes)-1].name)), Limit: 4*len(boxes) + slots}
	pairs, damage := t.w.Scan(span)
	if damage != nil || len(pairs) == span.Limit {
		return nil
	}
	for _, b := range boxes {
		prefix := counterPrefix(b.name)
		n := 0
		for n < len(pairs) && len(pairs[n].Key) == len(prefix)+1 && string(pairs[n].Key[:len(prefix)]) == string(prefix) {
			n++
		}
		h := b.choose(pairs[:n])
		s := slot{}
		for _, p := range pairs[:n] {
			if p.Key[len(prefix)] == h.slot {
				var err error
				if s, err = decodeSlot(p.Value); err != nil {
					return nil // it is counted again when the box itself looks
				}
			}
		}
		pairs = pairs[n:]
		t.queues.homes.set(b.name, h)
		b.occupy(h, s, false)
	}
	return nil
}
