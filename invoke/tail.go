package invoke

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/rouse-run/rouse"
)

// tail hands lines to those who follow a function. Who does not keep up misses
// lines.
type tail struct {
	followers atomic.Int32 // so that publish costs nothing where there are none

	mu sync.Mutex
	by map[rouse.Ref]map[chan rouse.Line]struct{} // guarded by mu
}

func (t *tail) publish(l rouse.Line) {
	if t.followers.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.by[l.Function] {
		select {
		case c <- l:
		default:
		}
	}
}

func (t *tail) follow(ctx context.Context, r rouse.Ref, f func(rouse.Line) bool) error {
	c := make(chan rouse.Line, 1024)
	t.mu.Lock()
	if t.by == nil {
		t.by = map[rouse.Ref]map[chan rouse.Line]struct{}{}
	}
	if t.by[r] == nil {
		t.by[r] = map[chan rouse.Line]struct{}{}
	}
	t.by[r][c] = struct{}{}
	t.followers.Add(1)
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.followers.Add(-1)
		delete(t.by[r], c)
		if len(t.by[r]) == 0 {
			delete(t.by, r)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l := <-c:
			if !f(l) {
				return nil
			}
		}
	}
}
