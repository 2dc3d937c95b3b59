package postgres

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/pending"
)

const (
	writers  = 2  // that commit the changes of one map at the same time
	maxBatch = 64 // changes in one transaction
)

// A request is one caller's change.
type request struct {
	f     func(rouse.KeyWriter) error
	until time.Time   // it is tried again
	begun atomic.Bool // by a writer, or withdrawn by the caller
	err   error
	done  chan struct{}
}

func startKeys(s *Store, name string, sql statements) *keys {
	k := &keys{store: s, name: name, sql: sql, requests: make(chan *request, 4*maxBatch)}
	for range writers {
		k.writers.Go(k.run)
	}
	return k
}

// Update implements rouse.Keys.
func (k *keys) Update(ctx context.Context, f func(rouse.KeyWriter) error) error {
	const op = "write"
	if err := ctx.Err(); err != nil {
		return explain(op, k.name, err)
	}
	if k.store.closed() {
		return explain(op, k.name, errClosed)
	}
	r := &request{f: f, until: time.Now().Add(patience), done: make(chan struct{})}
	select {
	case k.requests <- r:
	case <-ctx.Done():
		return explain(op, k.name, ctx.Err())
	case <-k.store.closing:
		return explain(op, k.name, errClosed)
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		r.begun.Store(true)
		return explain(op, k.name, ctx.Err())
	}
}

// run is a writer. It ends once the store closes and what was accepted before is
// committed.
func (k *keys) run() {
	for {
		var batch []*request
		select {
		case r := <-k.requests:
			batch = append(batch, r)
		case <-k.store.closing:
		}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case r := <-k.requests:
				batch = append(batch, r)
			default:
				more = false
			}
		}
		if len(batch) == 0 {
			return
		}
		k.write(batch)
	}
}

// write gives each request its own outcome.
func (k *keys) write(batch []*request) {
	live := batch[:0]
	for _, r := range batch {
		if r.begun.CompareAndSwap(false, true) {
			live = append(live, r)
		}
	}
	for b := (backoff{}); len(live) > 0; {
		err := k.try(live)
		_, final := errors.AsType[*rouse.Error](err)
		again := err != nil && !final && (conflict(err) || lost(err))
		if again && b.wait(context.Background(), k.patience(err)) != nil {
			again = false
		}
		left, now := live[:0], time.Now()
		for _, r := range live {
			if again && now.Before(r.until) {
				left = append(left, r)
				continue
			}
			if err != nil {
				r.err = explain("write", k.name, err)
			}
			close(r.done)
		}
		live = left
	}
}

// patience is what ends a wait for a server that may not come back; one for
// another's transaction is short.
func (k *keys) patience(err error) <-chan struct{} {
	if conflict(err) {
		return nil
	}
	return k.store.closing
}

// try runs the changes of batch in one transaction. An error means that none of
// them was made, or is Unavailable where that is not known.
func (k *keys) try(batch []*request) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := k.store.write.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release() // which closes it where its transaction is not ended
	t := &tx{conn: c.Conn(), sql: &k.sql, begin: "BEGIN ISOLATION LEVEL SERIALIZABLE"}
	joint := pending.New(reader{name: k.name, ask: func(q *question) error { return t.ask(ctx, []*question{q}) }})
	if err := k.runTogether(ctx, t, joint, batch); err == nil {
		if t.begin != "" && joint.Empty() {
			return nil // nothing was read or written
		}
		err = t.commit(ctx, joint)
		if err == nil {
			return nil
		}
		if !refused(err) {
			return rouse.Errorf(rouse.Unavailable, "write", k.name,
				"the connection broke while the change was committed, which may or may not be made: read what is there before you repeat it (%w)", err)
		}
	}
	if refused(t.err) {
		_, _ = c.Exec(ctx, "ROLLBACK") // where it fails, the connection is closed
	}
	return t.err
}

// runTogether runs the changes of batch side by side and puts them into joint one
// after the other. Their reads share round trips. One that has read what another
// before it writes is run again after all those.
func (k *keys) runTogether(ctx context.Context, t *tx, joint *pending.Writer, batch []*request) error {
	if len(batch) == 1 {
		k.runAlone(joint, batch[0])
		return t.err
	}
	runs := k.runAll(ctx, t, batch)
	if t.err != nil {
		return t.err
	}
	var again []*request
	for i, run := range runs {
		r := batch[i]
		if run.outdated(joint) {
			again = append(again, r)
			continue
		}
		if r.err = run.err; r.err == nil {
			r.err = run.w.Apply(joint)
		}
	}
	for _, r := range again {
		if k.runAlone(joint, r); t.err != nil {
			break
		}
	}
	return t.err
}

func (k *keys) runAlone(joint *pending.Writer, r *request) {
	w := pending.New(joint)
	if r.err = r.f(w); r.err == nil {
		r.err = w.Apply(joint)
	}
}

// A run is one execution of a change, and what it has read of the database.
type run struct {
	w     *pending.Writer
	asked []*question
	err   error // its own
}

// outdated reports whether it has read what is written since.
func (r *run) outdated(by *pending.Writer) bool {
	for _, q := range r.asked {
		for _, key := range q.keys {
			if by.Wrote(key) {
				return true
			}
		}
		if q.keys == nil {
			if from, to := q.covered(); by.WroteIn(from, to) {
				return true
			}
		}
	}
	return false
}

// covered is the part of its span that a question depends on.
func (q *question) covered() (from, to []byte) {
	from, to = q.span.From, q.span.To
	if n := len(q.rows); q.span.Limit > 0 && n == q.span.Limit {
		if last := q.rows[n-1].key; q.span.Reverse {
			from = last
		} else {
			to = append(append([]byte{}, last...), 0)
		}
	}
	return from, to
}

// runAll runs each change in a goroutine. Once all that still run wait for an
// answer, it answers them all.
func (k *keys) runAll(ctx context.Context, t *tx, batch []*request) []*run {
	runs := make([]*run, len(batch))
	questions := make(chan *question) // nil where one has ended
	for i, r := range batch {
		one := &run{}
		runs[i] = one
		one.w = pending.New(reader{name: k.name, ask: func(q *question) error {
			one.asked = append(one.asked, q)
			q.done = make(chan struct{})
			questions <- q
			<-q.done
			return q.err
		}})
		go func() {
			defer func() { questions <- nil }()
			one.err = r.f(one.w)
		}()
	}
	var waiting []*question
	for running := len(runs); running > 0; {
		if q := <-questions; q != nil {
			waiting = append(waiting, q)
		} else {
			running--
		}
		if len(waiting) == running && running > 0 {
			err := t.ask(ctx, waiting)
			for _, q := range waiting {
				q.err = err
				close(q.done)
			}
			waiting = waiting[:0]
		}
	}
	return runs
}
