package native

import (
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// How often a client hears that its turn has not come, or lasts. Between the two,
// what lies in between would take the connection for a dead one.
const (
	firstWord = time.Second
	nextWord  = 10 * time.Second
)

// turns has the clients that change many things of a namespace together do so
// one after the other, in the order in which they came.
type turns struct {
	mu  sync.Mutex
	all map[rouse.Namespace]*turn // guarded by mu; those that somebody has or waits for
}

type turn struct {
	free  chan struct{} // holds one while nobody has it
	users int           // guarded by turns.mu
}

// join returns what to wait for, and a function to call when that is over.
func (t *turns) join(ns rouse.Namespace) (free chan struct{}, leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[rouse.Namespace]*turn{}
	}
	it := t.all[ns]
	if it == nil {
		it = &turn{free: make(chan struct{}, 1)}
		it.free <- struct{}{}
		t.all[ns] = it
	}
	it.users++
	return it.free, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if it.users--; it.users == 0 {
			delete(t.all, ns)
		}
	}
}

// takeTurn waits for the client's turn, which lasts until the client goes: one
// that is killed leaves nothing behind.
func takeTurn(s *server, c *call) error {
	ns, err := c.namespace()
	if err != nil {
		return err
	}
	// The connection's end is seen once the body was read.
	if err := c.readOptional(&struct{}{}); err != nil {
		return err
	}
	free, leave := s.turns.join(ns)
	defer leave()
	out := &stream{c: c}
	out.start()
	word := time.NewTimer(firstWord)
	defer word.Stop()
	now := wire.Turn{}
	for wait := free; ; {
		select {
		case <-c.r.Context().Done():
			return nil
		case <-wait:
			wait, now.Mine = nil, true
			defer func() { free <- struct{}{} }()
		case <-word.C:
		}
		word.Reset(nextWord)
		if !out.send(now) {
			return nil
		}
	}
}
