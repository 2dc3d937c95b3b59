package invoke

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
)

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

var errFull = rouse.Errorf(rouse.Unavailable, "post", "records", "the disk is full")

// What waits for a record is not done before, so that nothing is given up while
// there is hope.
func TestAFullStoreIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{err: errFull}
		r := NewRecorder(m, 0, slog.New(slog.DiscardHandler))
		told := 0
		var deaf atomic.Bool
		deaf.Store(true)
		r.Tell(func(_ context.Context, as []rouse.Activation) error {
			if deaf.Load() {
				return errFull
			}
			told += len(as)
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		r.Add(rouse.Activation{ID: "a"})
		time.Sleep(time.Minute)
		began := time.Now()
		if _, err := r.Activation(t.Context(), "a"); rouse.KindOf(err) != rouse.NotFound || time.Since(began) > 0 {
			t.Errorf("a reader is told %v after %v", err, time.Since(began))
		}
		settled := make(chan struct{})
		go func() { r.Settle(t.Context()); close(settled) }()
		for _, still := range []string{"the store", "who is told"} {
			time.Sleep(10 * again)
			select {
			case <-settled:
				t.Errorf("it is settled while %s can't take it", still)
			default:
			}
			if still == "the store" {
				m.fail(nil)
			} else {
				deaf.Store(false)
			}
		}
		<-settled
		if len(m.as) != 1 || told != 1 || r.Dropped() != 0 || m.posts < 50 || m.posts > 100 {
			t.Errorf("%d stored, %d told, %d dropped, %d attempts", len(m.as), told, r.Dropped(), m.posts)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAStoreThatStaysFullStopsNobody(t *testing.T) {
	m := &memory{err: errFull}
	r := newRecorder(t, m, 0)
	for range 3 * maxActivations {
		r.Add(rouse.Activation{})
	}
	if n := r.Dropped(); n < maxActivations {
		t.Errorf("%d were dropped", n)
	}
	m.fail(nil)
	r.Add(rouse.Activation{ID: "last"})
	r.Settle(t.Context())
	if _, err := r.Activation(t.Context(), "last"); err != nil {
		t.Error(err)
	}
}
