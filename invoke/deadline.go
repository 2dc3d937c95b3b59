package invoke

import (
	"context"
	"sync"
	"time"
)

// A deadline is a context that ends at a time, and by nothing else. It starts a
// timer only for who waits for its end: a worker's pipe has a deadline of its
// own, and most calls need no other.
type deadline struct {
	parent context.Context // for values alone
	at     time.Time

	mu    sync.Mutex
	timed context.Context // guarded by mu; nil until somebody waits
	stop  context.CancelFunc
}

// newDeadline returns a context with the values of parent that ends at a time.
// Its close must be called.
func newDeadline(parent context.Context, at time.Time) *deadline {
	return &deadline{parent: parent, at: at}
}

func (d *deadline) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop != nil {
		d.stop()
	}
}

// Deadline implements context.Context.
func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

// Value implements context.Context.
func (d *deadline) Value(key any) any { return d.parent.Value(key) }

// Done implements context.Context.
func (d *deadline) Done() <-chan struct{} { return d.timer().Done() }

// Err implements context.Context.
func (d *deadline) Err() error {
	d.mu.Lock()
	timed := d.timed
	d.mu.Unlock()
	if timed != nil {
		return timed.Err()
	}
	if time.Now().After(d.at) {
		return context.DeadlineExceeded
	}
	return nil
}

func (d *deadline) timer() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.stop = context.WithDeadline(context.WithoutCancel(d.parent), d.at)
	}
	return d.timed
}

// Timed says that the context ends at its Deadline and by nothing else, so that
// who sets a deadline of its own need not wait for Done.
func (d *deadline) Timed() {}
