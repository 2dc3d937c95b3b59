package journal

import (
	"context"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
)

// Waiters are those who wait, in one process, for more of a data.Feed. The zero
// value has none. Its methods may be called concurrently.
type Waiters struct {
	Look time.Duration // how often they look for what other nodes have added; 0 is a second

	mu    sync.Mutex
	bells map[place]*bell // guarded by mu
}

// A place is one shard of one thing's Feed.
type place struct {
	ref   rouse.Ref
	shard string
}

// A bell rings once, for all who hold it.
type bell struct {
	rung    chan struct{}
	holders int
}

// Read implements the Read of a data.Feed with what reads once. It calls that
// again when somebody calls Wake and when it is time to look, for as long as
// there are no entries, the shard has not ended, and the Wait of q is not over.
// Errors: Unavailable where ctx ends while it waits; otherwise those of read.
func (w *Waiters) Read(ctx context.Context, q data.FeedQuery, read func(context.Context, data.FeedQuery) (data.Batch, error)) (data.Batch, error) {
	if q.Wait <= 0 {
		return read(ctx, q)
	}
	over := time.NewTimer(q.Wait)
	defer over.Stop()
	at := place{q.Ref, q.Shard}
	for waiting := true; ; {
		rung, done := w.wait(at) // before it reads
		b, err := read(ctx, q)
		if err != nil || len(b.Entries) > 0 || b.Ended || !waiting {
			done()
			return b, err
		}
		q.After = b.After // not to pass over the same damage again and again
		again := time.NewTimer(w.look())
		select {
		case <-rung:
		case <-again.C:
		case <-over.C:
			waiting = false
		case <-ctx.Done():
			err = rouse.Errorf(rouse.Unavailable, "wait for entries", q.Ref.String()+"/"+q.Shard, "%w", ctx.Err())
		}
		again.Stop()
		done()
		if err != nil {
			return b, err
		}
	}
}

func (w *Waiters) look() time.Duration {
	if w.Look <= 0 {
		return time.Second
	}
	return w.Look
}

// wait returns a channel that the next ring at a place closes, and a function to
// be called when it is no longer waited for.
func (w *Waiters) wait(at place) (rung <-chan struct{}, done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.bells[at]
	if b == nil {
		b = &bell{rung: make(chan struct{})}
		if w.bells == nil {
			w.bells = map[place]*bell{}
		}
		w.bells[at] = b
	}
	b.holders++
	return b.rung, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if b.holders--; b.holders == 0 && w.bells[at] == b {
			delete(w.bells, at)
		}
	}
}

// Wake wakes all who wait for more of a shard.
func (w *Waiters) Wake(r rouse.Ref, shard string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := place{r, shard}
	if b := w.bells[at]; b != nil {
		close(b.rung)
		delete(w.bells, at)
	}
}
