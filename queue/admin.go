package queue

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/tuple"
)

// Create implements data.Queues.
func (q *Queues) Create(ctx context.Context, c data.Queue) (data.Queue, error) {
	if err := c.Check(); err != nil {
		return data.Queue{}, rouse.Errorf(rouse.Invalid, "create queue", c.Ref.String(), "%w", err)
	}
	c.Created = q.Now().UTC()
	d := &document{Queue: c, ID: rand.Uint64()}
	err := q.Keys.Update(ctx, func(w rouse.KeyWriter) error {
		switch _, err := q.documents.load(w, c.Ref); {
		case err == nil:
			return rouse.Errorf(rouse.Conflict, "create queue", c.Ref.String(), "there is a queue of this name: remove it or choose another name")
		case rouse.KindOf(err) != rouse.NotFound:
			return err
		}
		return d.save(w)
	})
	if err != nil {
		return data.Queue{}, err
	}
	return c, nil
}

// Update implements data.Queues.
func (q *Queues) Update(ctx context.Context, c data.Queue) (data.Queue, error) {
	if err := c.Check(); err != nil {
		return data.Queue{}, rouse.Errorf(rouse.Invalid, "update queue", c.Ref.String(), "%w", err)
	}
	err := q.Keys.Update(ctx, func(w rouse.KeyWriter) error {
		d, err := q.documents.load(w, c.Ref)
		if err != nil {
			return err
		}
		c.Fifo, c.Created = d.Queue.Fifo, d.Queue.Created
		return (&document{Queue: c, ID: d.ID}).save(w)
	})
	if err != nil {
		return data.Queue{}, err
	}
	return c, nil
}

// Queue implements data.Queues.
func (q *Queues) Queue(ctx context.Context, r rouse.Ref) (c data.Queue, err error) {
	err = q.Keys.View(ctx, func(k rouse.KeyReader) error {
		d, err := q.documents.load(k, r)
		if err == nil {
			c = d.Queue
		}
		return err
	})
	return c, err
}

// List implements data.Queues. Queues whose documents are damaged are left out,
// and logged.
func (q *Queues) List(ctx context.Context, ns rouse.Namespace, after string, limit int) ([]data.Queue, error) {
	prefix := tuple.String([]byte{documentKind}, ns)
	span := rouse.Span{From: prefix, To: tuple.After(prefix), Limit: limit}
	if after != "" {
		span.From = append(tuple.String(slices.Clip(prefix), after), 0)
	}
	var list []data.Queue
	err := q.Keys.View(ctx, func(k rouse.KeyReader) error {
		list = nil
		pairs, err := q.scan(k, span)
		for _, p := range pairs {
			if d, err := decodeDocument(p); err == nil {
				list = append(list, d.Queue)
			} else if p.Value != nil {
				q.Log.Error("a queue is damaged", "error", err)
			}
		}
		return err
	})
	return list, err
}

// Remove implements data.Queues. The messages are cleared away by Run.
func (q *Queues) Remove(ctx context.Context, r rouse.Ref) error {
	return q.Keys.Update(ctx, func(w rouse.KeyWriter) error {
		d, err := q.documents.load(w, r)
		if err != nil {
			return err
		}
		w.Delete(documentKey(r))
		w.Put(append([]byte{garbageKind}, d.box()...), nil)
		return nil
	})
}

// Purge implements data.Queues. The messages are cleared away by Run.
func (q *Queues) Purge(ctx context.Context, r rouse.Ref) error {
	fresh := rand.Uint64()
	return q.Keys.Update(ctx, func(w rouse.KeyWriter) error {
		d, err := q.documents.load(w, r)
		if err != nil {
			return err
		}
		w.Put(append([]byte{garbageKind}, d.box()...), nil)
		return (&document{Queue: d.Queue, ID: fresh}).save(w)
	})
}

// Redrive implements data.Queues.
func (q *Queues) Redrive(ctx context.Context, from, to rouse.Ref, limit int) (int, error) {
	if from == to {
		return 0, rouse.Errorf(rouse.Invalid, "redrive", from.String(), "to: it is the queue itself")
	}
	all := 0
	for after := []byte(nil); ; {
		part := redriveAtOnce
		if limit > 0 {
			part = min(part, limit-all)
		}
		if part == 0 {
			return all, nil
		}
		n, end := 0, []byte(nil)
		err := q.do(source{Ref: from}, &op{ctx: ctx, rank: settles, run: func(b *box) (err error) {
			n, end, err = b.redriveTo(to, after, part)
			return err
		}})
		if all += n; err != nil || end == nil {
			return all, err
		}
		after = end
	}
}

// redriveTo moves up to n messages that wait after a key, and says how many it
// moved and where to go on; nil is the end.
func (b *box) redriveTo(to rouse.Ref, after []byte, n int) (moved int, end []byte, err error) {
	if to != (rouse.Ref{}) {
		if _, err := b.tx.box(source{Ref: to}); err != nil {
			return 0, nil, err
		}
	}
	if _, err := b.counters(); err != nil {
		return 0, nil, err
	}
	if err := b.due(); err != nil {
		return 0, nil, err
	}
	waiting := b.key(b.waitingKind())
	span := rouse.Span{From: waiting, To: tuple.After(waiting), Limit: n}
	if after != nil {
		span.From = append(slices.Clip(after), 0)
	}
	pairs, err := b.scan(span)
	if err != nil || len(pairs) == 0 {
		return 0, nil, err
	}
	for _, p := range pairs {
		cs, err := b.read([]rouse.Pair{p})
		if err != nil {
			return 0, nil, err
		}
		m := taken{candidate: cs[0]}
		var broken error
		if m.content, broken = decodeContent(m.value); broken != nil || m.err != nil {
			continue // who receives it puts it aside
		}
		target := to
		if to == (rouse.Ref{}) {
			if m.origin == nil {
				continue
			}
			target = m.origin.Queue
		}
		dest, err := b.tx.box(source{Ref: target})
		if rouse.KindOf(err) == rouse.NotFound && err != nil {
			continue
		}
		if err != nil {
			return 0, nil, err
		}
		if err := b.unwait(m.id, m.state.group); err != nil {
			return 0, nil, err
		}
		if err := b.move(&m, dest, false); err != nil {
			return 0, nil, err
		}
		moved++
	}
	return moved, pairs[len(pairs)-1].Key, nil
}
