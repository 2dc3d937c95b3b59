package invoke

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/rouse-run/rouse"
)

// tail hands lines to those who follow a function. Who does not keep up misses
// lines, and is told so where they are missing.
type tail struct {
	followers atomic.Int32 // so that publish costs nothing where there are none

	mu sync.Mutex
	by map[rouse.Ref]map[*follower]struct{} // guarded by mu
}

// A follower has lines that wait for it.
type follower struct {
	lines  chan rouse.Line
	missed int // guarded by tail.mu; lines since the last that it got
}

func (t *tail) publish(l rouse.Line) {
	if t.followers.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for f := range t.by[l.Function] {
		if f.missed > 0 && f.offer(gap(l, f.missed)) {
			f.missed = 0
		}
		if f.missed > 0 || !f.offer(l) {
			f.missed++
		}
	}
}

func (f *follower) offer(l rouse.Line) bool {
	select {
	case f.lines <- l:
		return true
	default:
		return false
	}
}

// gap stands where n lines beside l are missing.
func gap(l rouse.Line, n int) rouse.Line {
	return rouse.Line{Function: l.Function, Time: l.Time, Stream: rouse.Platform,
		Text: fmt.Sprintf("%d lines are missing here, which came faster than they were read; they are in the log all the same", n)}
}

func (t *tail) follow(ctx context.Context, r rouse.Ref, f func(rouse.Line) bool) error {
	me := &follower{lines: make(chan rouse.Line, 1024)}
	t.mu.Lock()
	if t.by == nil {
		t.by = map[rouse.Ref]map[*follower]struct{}{}
	}
	if t.by[r] == nil {
		t.by[r] = map[*follower]struct{}{}
	}
	t.by[r][me] = struct{}{}
	t.followers.Add(1)
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.followers.Add(-1)
		delete(t.by[r], me)
		if len(t.by[r]) == 0 {
			delete(t.by, r)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l := <-me.lines:
			if !f(l) {
				return nil
			}
			if n := t.behind(me); n > 0 && !f(gap(l, n)) {
				return nil
			}
		}
	}
}

// behind returns how many lines a follower has missed after all that it has got.
func (t *tail) behind(f *follower) int {
	if len(f.lines) > 0 {
		return 0 // publish tells
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(f.lines) > 0 {
		return 0
	}
	n := f.missed
	f.missed = 0
	return n
}
