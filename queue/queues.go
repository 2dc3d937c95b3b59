// Package queue hands messages to one receiver at a time, over any rouse.Keys.
// It implements data.Queues, and rouse.Queue for the queues of the platform
// itself, which need not be made.
package queue

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
)

// A Config says what Queues stand on.
type Config struct {
	Keys  rouse.Keys       // of which nobody else has a part
	Now   func() time.Time // nil is time.Now
	Log   *slog.Logger     // nil discards
	Sweep time.Duration    // how often Run looks for what is too old; 0 is a minute
}

// Queues implement data.Queues; Plain returns what implements rouse.Queue.
// Messages that are too old are never handed out, and removed while Run runs.
type Queues struct {
	Config
	owner     uint64 // tells this process from others
	documents documents
	homes     homes
	waiters   waiters
	holds     holds
	work      sync.WaitGroup // the lanes

	mu     sync.Mutex
	lanes  map[source]*lane // guarded by mu; those where something waits
	closed bool             // guarded by mu
}

// A source names a queue: a plain one by the Name alone.
type source struct {
	rouse.Ref
	plain bool
}

func (s source) String() string {
	if s.plain {
		return s.Name
	}
	return s.Ref.String()
}

// New returns the Queues that are in c.Keys.
func New(c Config) *Queues {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Sweep <= 0 {
		c.Sweep = time.Minute
	}
	return &Queues{Config: c, owner: rand.Uint64(), lanes: map[source]*lane{}}
}

// Close refuses what comes from now on and returns when what came before is
// done.
func (q *Queues) Close() error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.work.Wait()
	return nil
}

// waiters wait for messages in this process. The zero value has none.
type waiters struct {
	mu  sync.Mutex
	all map[source][]chan struct{} // guarded by mu
}

// wait returns a channel on which one wake of s is received, and a function to
// be called when it is no longer waited for.
func (ws *waiters) wait(s source) (woken <-chan struct{}, done func()) {
	c := make(chan struct{}, 1)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.all == nil {
		ws.all = map[source][]chan struct{}{}
	}
	ws.all[s] = append(ws.all[s], c)
	return c, func() {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		for i, other := range ws.all[s] {
			if other == c {
				ws.remove(s, i)
				return
			}
		}
	}
}

func (ws *waiters) remove(s source, i int) {
	if ws.all[s] = append(ws.all[s][:i], ws.all[s][i+1:]...); len(ws.all[s]) == 0 {
		delete(ws.all, s)
	}
}

// wake wakes up to n who wait for s, those first who wait longest.
func (ws *waiters) wake(s source, n int) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for ; n > 0 && len(ws.all[s]) > 0; n-- {
		ws.all[s][0] <- struct{}{} // has room: it is in the list once
		ws.remove(s, 0)
	}
}

// An op is what one caller wants of a queue.
type op struct {
	ctx    context.Context
	rank   rank
	demand int // messages that a receive asks for
	size   int // bytes it writes

	// run does it, perhaps more than once. Where it returns an Error that says
	// no to the caller alone, it must have written nothing.
	run func(*box) error

	leased []rouse.Receipt // by the last run
	err    error
	gone   bool          // its caller no longer waits; guarded by Queues.mu
	done   chan struct{} // closed under Queues.mu
}

// A rank orders the ops of one transaction: who receives goes first, while
// nothing that was written must be read again.
type rank int

const (
	receives rank = iota
	settles
	sends
)

const (
	opsAtOnce    = 512
	sizeAtOnce   = 8 << 20
	demandAtOnce = 5_000
)

// A lane is where what is wanted of one queue waits for the transaction before:
// all that waits goes into one, and so does not get into its own way.
type lane struct{ waiting []*op } // guarded by Queues.mu

// do has o done in the next transaction of its queue.
func (q *Queues) do(s source, o *op) error {
	if err := o.ctx.Err(); err != nil {
		return err
	}
	o.done = make(chan struct{})
	if err := q.enter(s, o); err != nil {
		return err
	}
	select {
	case <-o.done:
		return o.err
	case <-o.ctx.Done():
		if q.leave(o) {
			return o.ctx.Err()
		}
		return o.err
	}
}

// leave has nobody wait for o, unless it is done.
func (q *Queues) leave(o *op) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-o.done:
	default:
		o.gone = true
	}
	return o.gone
}

// finish tells the caller of o that it is done. What it has leased for one who
// has gone is given back at once: nobody else could have it before the lease is
// over.
func (q *Queues) finish(l *lane, o *op) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if o.gone && o.err == nil && len(o.leased) > 0 {
		back := &op{ctx: context.WithoutCancel(o.ctx), rank: receives, done: make(chan struct{}), run: func(b *box) error {
			for _, r := range o.leased {
				if _, err := b.extend("receive", r, 0, nil); err != nil {
					return err
				}
			}
			return nil
		}}
		l.waiting = append([]*op{back}, l.waiting...) // before those who receive what there is
	}
	close(o.done)
}

func (q *Queues) enter(s source, o *op) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return rouse.Errorf(rouse.Unavailable, "use queue", s.String(), "the queues are closed")
	}
	l := q.lanes[s]
	if l == nil {
		l = &lane{}
		q.lanes[s] = l
		q.work.Go(func() { q.drive(s, l) })
	}
	l.waiting = append(l.waiting, o)
	return nil
}

// drive does what comes into a lane until nothing waits there.
func (q *Queues) drive(s source, l *lane) {
	for {
		ops := q.next(s, l)
		if len(ops) == 0 {
			return
		}
		if err := q.transact(s, ops); err != nil {
			for _, o := range ops {
				o.err = err
			}
		}
		for _, o := range ops {
			q.finish(l, o)
		}
	}
}

// next takes what goes into one transaction, in the order of ranks; none where
// the lane has ended.
func (q *Queues) next(s source, l *lane) []*op {
	q.mu.Lock()
	defer q.mu.Unlock()
	var taken [sends + 1][]*op
	n, size, demand := 0, 0, 0
	for len(l.waiting) > 0 && n < opsAtOnce {
		o := l.waiting[0]
		if err := o.ctx.Err(); err != nil {
			o.err = err
			close(o.done)
			l.waiting = l.waiting[1:]
			continue
		}
		if size, demand = size+o.size, demand+o.demand; n > 0 && (size > sizeAtOnce || demand > demandAtOnce) {
			break
		}
		taken[o.rank] = append(taken[o.rank], o)
		l.waiting = l.waiting[1:]
		n++
	}
	if n == 0 {
		delete(q.lanes, s)
	}
	return append(append(taken[receives], taken[settles]...), taken[sends]...)
}

// transact does ops in one transaction.
func (q *Queues) transact(s source, ops []*op) error {
	defer q.holds.take(s)()
	var t *tx
	// Not the context of one of them: its end would be the others' as well.
	err := q.Keys.Update(context.WithoutCancel(ops[0].ctx), func(w rouse.KeyWriter) error {
		t = &tx{queues: q, w: w, now: q.Now()}
		b, err := t.box(s)
		if err != nil {
			return err
		}
		for _, o := range ops {
			b.demand += o.demand
		}
		for _, o := range ops {
			if o.err = o.run(b); o.err != nil && !refusal(o.err) {
				return o.err
			}
			b.demand -= o.demand
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

// refusal reports whether err is the answer to one caller, and not the end of
// the transaction.
func refusal(err error) bool {
	switch rouse.KindOf(err) {
	case rouse.Conflict, rouse.NotFound, rouse.Invalid, rouse.TooLarge:
		return true
	}
	return false
}
