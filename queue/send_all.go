package queue

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
)

// SendAll sends messages to several plain queues, all or none, in one
// transaction: much less work than as many of Send. Of a queue that taken names,
// so many of the first messages are leased for d at once, as if the server had
// received them, and returned, whatever their Delay. Errors: TooLarge.
func (q *Queues) SendAll(ctx context.Context, all map[string][]rouse.Message, taken map[string]int, d time.Duration) (map[string][]rouse.Lease, error) {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(name string) bool { return len(all[name]) == 0 })
	for _, name := range names {
		if _, err := plainSize(name, all[name]); err != nil {
			return nil, err
		}
	}
	var leases map[string][]rouse.Lease
	err := q.together(ctx, names, func(t *tx) error {
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
		return nil
	})
	if err != nil {
		return nil, err
	}
	return leases, nil
}

// DeleteAll removes messages of several plain queues, in one transaction, and
// says of each queue which receipts were good.
func (q *Queues) DeleteAll(ctx context.Context, all map[string][]rouse.Receipt) (map[string][]bool, error) {
	names := slices.Sorted(maps.Keys(all))
	var deleted map[string][]bool
	err := q.together(ctx, names, func(t *tx) error {
		deleted = map[string][]bool{}
		var keys [][]byte
		for i, name := range names {
			keys = append(keys, t.boxes[i].leasedKeys(all[name])...)
		}
		values, err := t.get(keys...)
		if err != nil {
			return err
		}
		for i, name := range names {
			b, n := t.boxes[i], len(all[name])
			if _, err := b.counters(); err != nil {
				return err
			}
			places, err := b.places(all[name], values[:n])
			if values = values[n:]; err != nil {
				return err
			}
			if deleted[name], err = b.remove(places); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return deleted, nil
}

// together runs f in one transaction on several plain queues, whose names are
// sorted; their boxes are in that order.
func (q *Queues) together(ctx context.Context, names []string, f func(*tx) error) error {
	if len(names) == 0 {
		return ctx.Err()
	}
	sources := make([]source, len(names))
	for i, name := range names {
		sources[i] = plainSource(name)
	}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return rouse.Errorf(rouse.Unavailable, "use queues", names[0], "the queues are closed")
	}
	q.work.Add(1)
	q.mu.Unlock()
	defer q.work.Done()
	if err := ctx.Err(); err != nil {
		return err
	}
	defer q.holds.take(sources...)()
	var t *tx
	// What it is done with is the caller's again when it returns: nothing must go
	// on behind it.
	err := q.Keys.Update(context.WithoutCancel(ctx), func(w rouse.KeyWriter) error {
		t = &tx{queues: q, w: w, now: q.Now()}
		for _, name := range names {
			t.boxes = append(t.boxes, plain{q}.in(t, name))
		}
		if err := t.preload(); err != nil {
			return err
		}
		if err := f(t); err != nil {
			return err
		}
		return t.save()
	})
	if err != nil {
		return err
	}
	for s, n := range t.wakes {
		q.waiters.wake(s, n)
	}
	return nil
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

// preload reads the counters of all boxes in as few steps as it can, while nothing
// is written. What it leaves out each box reads for itself.
func (t *tx) preload() error {
	var known, strange []*box
	var at []home
	for _, b := range t.boxes {
		if h, ok := t.queues.homes.get(b.name); ok {
			known, at = append(known, b), append(at, h)
		} else {
			strange = append(strange, b)
		}
	}
	if err := t.settleAll(strange); err != nil {
		return err
	}
	found, err := t.slots(known, func(i int) byte { return at[i].slot })
	for i, s := range found {
		known[i].occupy(at[i], s, true)
	}
	return err
}

// settleAll chooses for each box the first slot that no other process uses.
// Nearly always that is the first there is: one look for all of them.
func (t *tx) settleAll(boxes []*box) error {
	floors := make([]int64, len(boxes))
	for n := byte(0); n < slots && len(boxes) > 0; n++ {
		found, err := t.slots(boxes, func(int) byte { return n })
		if err != nil {
			return err
		}
		var rest []*box
		var higher []int64
		for i, s := range found {
			b, floor := boxes[i], max(floors[i], s.number)
			if !b.free(s) {
				rest, higher = append(rest, b), append(higher, floor)
				continue
			}
			h := home{n, floor}
			t.queues.homes.set(b.name, h)
			b.occupy(h, s, false)
		}
		boxes, floors = rest, higher
	}
	return nil
}

// slots returns one slot of each box, a new one where there is none; none at all
// where one is damaged.
func (t *tx) slots(boxes []*box, number func(i int) byte) ([]slot, error) {
	if len(boxes) == 0 {
		return nil, nil
	}
	keys := make([][]byte, len(boxes))
	for i, b := range boxes {
		keys[i] = append(counterPrefix(b.name), number(i))
	}
	values, err := t.w.Get(keys...)
	if len(values) != len(keys) || unread(err) {
		return nil, err
	}
	if err != nil {
		return nil, nil
	}
	found := make([]slot, len(values))
	for i, v := range values {
		if v == nil {
			continue
		}
		if found[i], err = decodeSlot(v); err != nil {
			return nil, nil
		}
	}
	return found, nil
}
