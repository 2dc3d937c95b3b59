// Package storetest is what every driver of the store must pass: each promise
// of rouse.Keys and rouse.Records, as a test, and of rouse.Meta and rouse.Queue
// where a driver has them.
package storetest

import (
	"context"
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

// An Open returns a function that opens one and the same store, empty at first,
// each time it is called. The store takes the time from now. A test closes the
// store before it opens it again, and at its end.
type Open func(t *testing.T, now func() time.Time) (reopen func(t *testing.T) Store)

// Run tests a driver.
func Run(t *testing.T, open Open) {
	for _, group := range []struct {
		name  string
		tests map[string]func(*testing.T, *store)
		has   func(Store) bool
	}{
		{"Keys", keysTests, has[Store]}, {"Records", recordsTests, has[Store]}, {"Lines", linesTests, has[Store]},
		{"Meta", metaTests, has[interface{ Meta() rouse.Meta }]}, {"Queue", queueTests, has[interface{ Queue() rouse.Queue }]},
	} {
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
					if !group.has(s.Store) {
						t.Skip("the driver leaves it to the engine")
					}
					test(t, s)
				})
			}
		})
	}
}

// has reports whether a driver has the methods of T.
func has[T any](s Store) bool {
	_, ok := s.(T)
	return ok
}

// A store is what one test works on.
type store struct {
	Store
	clock *clock
	open  func(*testing.T) Store
}

// Meta returns the documents of a driver that has them.
func (s *store) Meta() rouse.Meta { return s.Store.(interface{ Meta() rouse.Meta }).Meta() }

// Queue returns the messages of a driver that has them.
func (s *store) Queue() rouse.Queue { return s.Store.(interface{ Queue() rouse.Queue }).Queue() }

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
