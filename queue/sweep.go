package queue

import (
	"context"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/tuple"
)

const (
	sweepAtOnce = 500
	clearAtOnce = 4 << 20 // bytes
)

// Run removes what is too old, every Sweep, until ctx ends.
func (q *Queues) Run(ctx context.Context) error {
	t := time.NewTicker(q.Sweep)
	defer t.Stop()
	for {
		if err := q.Expire(ctx); err != nil && ctx.Err() == nil {
			q.Log.Error("remove old messages", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// Expire removes the messages that are too old by now, and what purged and
// removed queues have left.
func (q *Queues) Expire(ctx context.Context) error {
	span := rouse.Span{From: []byte{documentKind}, To: []byte{documentKind + 1}, Limit: 100}
	for more := true; more; {
		var queues []data.Queue
		err := q.Keys.View(ctx, func(k rouse.KeyReader) error {
			pairs, err := q.scan(k, span)
			if more = len(pairs) == span.Limit; len(pairs) == 0 {
				return err
			}
			for _, p := range pairs {
				if d, err := decodeDocument(p); err == nil {
					queues = append(queues, d.Queue)
				}
			}
			span.From = append(slices.Clip(pairs[len(pairs)-1].Key), 0)
			return nil
		})
		if err != nil {
			return err
		}
		for _, c := range queues {
			if err := q.expire(ctx, c); err != nil {
				return err
			}
		}
	}
	return q.clear(ctx)
}

// expire removes the old messages of one queue.
func (q *Queues) expire(ctx context.Context, c data.Queue) error {
	sweeps := []func(b *box, after []byte) ([]byte, error){(*box).expireTimed}
	if !c.Fifo && c.Keep > 0 {
		sweeps = append(sweeps, (*box).expireKept)
	}
	for _, sweep := range sweeps {
		for after, more := []byte(nil), true; more; {
			var end []byte
			err := q.do(source{Ref: c.Ref}, &op{ctx: ctx, rank: settles, run: func(b *box) (err error) {
				if err = b.expireDedups(); err == nil {
					err = b.due()
				}
				if err == nil {
					end, err = sweep(b, after)
				}
				return err
			}})
			if err != nil && rouse.KindOf(err) == rouse.NotFound {
				return nil // removed meanwhile
			}
			if err != nil {
				return err
			}
			after, more = end, end != nil
		}
	}
	return nil
}

// expireTimed removes messages that wait and that say themselves when they are
// too old: some of those after a key. It returns where to go on; nil is the end.
func (b *box) expireTimed(after []byte) (end []byte, err error) {
	span := rouse.Span{From: b.key(expiresKind), To: b.idKey(expiresKind, b.now.UnixMicro()+1), Limit: sweepAtOnce}
	if after != nil {
		span.From = append(slices.Clip(after), 0)
	}
	pairs, err := b.scan(span)
	if err != nil || len(pairs) == 0 {
		return nil, err
	}
	for _, p := range pairs {
		id, err := idOf(p.Key)
		if err != nil {
			return nil, err
		}
		value, err := b.waiting(id)
		if err != nil {
			return nil, err
		}
		s, err := decodeState(value)
		if err != nil {
			continue // it is leased: who would receive it next removes it
		}
		if err := b.drop(id, s); err != nil {
			return nil, err
		}
	}
	return pairs[len(pairs)-1].Key, nil
}

// expireKept removes messages that wait and that the queue's Keep makes too
// old. They are in the order of their age, but for redriven ones.
func (b *box) expireKept(after []byte) (end []byte, err error) {
	span := rouse.Span{From: b.key(waitKind), To: tuple.After(b.key(waitKind)), Limit: sweepAtOnce}
	if after != nil {
		span.From = append(slices.Clip(after), 0)
	}
	pairs, err := b.scan(span)
	if err != nil || len(pairs) == 0 {
		return nil, err
	}
	for _, p := range pairs {
		s, err := decodeState(p.Value)
		if err != nil || s.expires != 0 {
			continue
		}
		if s.expiry(b.settings) > b.now.UnixMicro() {
			return nil, nil
		}
		id, err := idOf(p.Key)
		if err != nil {
			return nil, err
		}
		if err := b.drop(id, s); err != nil {
			return nil, err
		}
	}
	return pairs[len(pairs)-1].Key, nil
}

// drop removes a message that waits.
func (b *box) drop(id int64, s state) error {
	if _, err := b.counters(); err != nil {
		return err
	}
	if err := b.unwait(id, s.group); err != nil {
		return err
	}
	return b.forget(id, s)
}

// clear removes what purged and removed queues have left.
func (q *Queues) clear(ctx context.Context) error {
	for {
		done := false
		err := q.Keys.Update(ctx, func(w rouse.KeyWriter) error {
			garbage, err := w.Scan(rouse.Span{From: []byte{garbageKind}, To: []byte{garbageKind + 1}, Limit: 1})
			if done = len(garbage) == 0; done {
				return err
			}
			box := garbage[0].Key[1:]
			prefix := append([]byte{messageKind}, box...)
			pairs, err := w.Scan(rouse.Span{From: prefix, To: tuple.After(prefix), Limit: sweepAtOnce, Size: clearAtOnce})
			if len(pairs) > 0 {
				w.Clear(prefix, append(slices.Clip(pairs[len(pairs)-1].Key), 0))
				return nil
			}
			if err == nil {
				counters := counterPrefix(box)
				w.Clear(counters, tuple.After(counters))
				w.Delete(garbage[0].Key)
			}
			return err
		})
		if done || err != nil {
			return err
		}
	}
}
