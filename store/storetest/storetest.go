// Package storetest is what every driver of the store must pass: each promise
// of rouse.Meta, rouse.Queue and rouse.Records, as a test.
package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

// A Store is a driver that is open.
type Store interface {
	Meta() rouse.Meta
	Queue() rouse.Queue
	Records() rouse.Records
	Close() error
}

// An Open returns a function that opens one and the same store, empty at first,
// each time it is called. The store takes the time from now. A test closes the
// store before it opens it again, and at its end.
type Open func(t *testing.T, now func() time.Time) (reopen func(t *testing.T) Store)

// Run tests a driver.
func Run(t *testing.T, open Open) {
	for _, group := range []struct {
		name  string
		tests map[string]func(*testing.T, *store)
	}{{"Meta", metaTests}, {"Queue", queueTests}, {"Records", recordsTests}, {"Lines", linesTests}} {
		t.Run(group.name, func(t *testing.T) {
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) {
					c := &clock{at: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
					s := &store{clock: c, open: open(t, c.now)}
					s.Store = s.open(t)
					t.Cleanup(func() {
						if err := s.Close(); err != nil {
							t.Errorf("close: %v", err)
						}
					})
					test(t, s)
				})
			}
		})
	}
}

// A store is what one test works on.
type store struct {
	Store
	clock *clock
	open  func(*testing.T) Store
}

// reopen closes the store and opens it again.
func (s *store) reopen(t *testing.T) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	s.Store = s.open(t)
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
