// Package storetest is what every driver of the store must pass: each promise
// of rouse.Keys and rouse.Records, as a test. It holds those of rouse.Meta and
// rouse.Queue as well, which are made of Keys, and what lets the tests of all
// that is made of Keys run on each driver.
package storetest

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

// A Store is a driver that is open.
type Store interface {
	Keys(ctx context.Context, name string) (rouse.Keys, error)
	Records() rouse.Records
	Close() error
}

// A Meta is documents; Close closes what they are kept in.
type Meta interface {
	rouse.Meta
	io.Closer
}

// A Queue is messages; Close closes what they are kept in.
type Queue interface {
	rouse.Queue
	io.Closer
}

// An Open returns a function that opens one and the same S, empty at first,
// each time it is called. S takes the time from now. A test closes it before it
// opens it again, and at its end.
type Open[S io.Closer] func(t *testing.T, now func() time.Time) (reopen func(t *testing.T) S)

// Run tests a driver.
func Run(t *testing.T, open Open[Store]) {
	t.Run("Keys", func(t *testing.T) { runAll(t, open, keysTests) })
	t.Run("Records", func(t *testing.T) { runAll(t, open, recordsTests) })
	t.Run("Lines", func(t *testing.T) { runAll(t, open, linesTests) })
}

// RunMeta tests what implements rouse.Meta.
func RunMeta(t *testing.T, open Open[Meta]) { runAll(t, open, metaTests) }

// RunQueue tests what implements rouse.Queue.
func RunQueue(t *testing.T, open Open[Queue]) { runAll(t, open, queueTests) }

func runAll[S io.Closer](t *testing.T, open Open[S], tests map[string]func(*testing.T, *subject[S])) {
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := &clock{at: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
			s := &subject[S]{clock: c, open: open(t, c.now)}
			s.it = s.open(t)
			t.Cleanup(func() {
				if err := s.it.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test(t, s)
		})
	}
}

// A subject is what one test works on.
type subject[S io.Closer] struct {
	it    S
	clock *clock
	open  func(*testing.T) S
}

// reopen closes what is tested and opens it again.
func (s *subject[S]) reopen(t *testing.T) {
	t.Helper()
	if err := s.it.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	s.it = s.open(t)
}

// A clock stands until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time // guarded by mu
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// must fails the test where an error came with a value.
func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// is fails the test where err is not of a Kind.
func is(t *testing.T, err error, k rouse.Kind) {
	t.Helper()
	if err == nil || rouse.KindOf(err) != k {
		t.Fatalf("error %v (%v), want one that is %v", err, rouse.KindOf(err), k)
	}
}
