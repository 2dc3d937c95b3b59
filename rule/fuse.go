package rule

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// A usage counts what the functions of rules with a budget used in the last
// hour, by minute.
type usage struct {
	now func() time.Time

	mu  sync.Mutex
	all map[rouse.Ref]*[60]minute // guarded by mu; by rule
}

type minute struct {
	number int64 // since 1970
	used   float64
}

func (u *usage) add(c *compiled, gbSeconds float64) {
	if c.Budget <= 0 {
		return
	}
	n := u.now().Unix() / 60
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all == nil {
		u.all = map[rouse.Ref]*[60]minute{}
	}
	hour := u.all[c.Ref]
	if hour == nil {
		hour = &[60]minute{}
		u.all[c.Ref] = hour
	}
	m := &hour[n%60]
	if m.number != n {
		*m = minute{number: n}
	}
	m.used += gbSeconds
}

// last returns what a rule used in the last hour.
func (u *usage) last(c *compiled) (sum float64) {
	n := u.now().Unix() / 60
	u.mu.Lock()
	defer u.mu.Unlock()
	if hour := u.all[c.Ref]; hour != nil {
		for _, m := range hour {
			if n-m.number < 60 {
				sum += m.used
			}
		}
	}
	return sum
}

func (u *usage) clear(r rouse.Ref) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.all, r)
}

// fused pauses a rule whose function has used up its budget. What waits is kept.
func (e *Engine) fused(ctx context.Context, c *compiled) bool {
	used := e.usage.last(c)
	if c.Budget <= 0 || used < c.Budget {
		return false
	}
	e.blow(ctx, c, fmt.Sprintf("%s it used %.1f GB-seconds within an hour; its budget is %.1f", fuse, used, c.Budget))
	return true
}

// fuse begins the reasons of what the fuse does.
const fuse = "fuse:"

// blow pauses a rule: from now on, also where that can't be stored.
func (e *Engine) blow(ctx context.Context, c *compiled, why string) {
	if c.paused.Swap(true) {
		return // by another of its events
	}
	e.Log.Warn("a rule is paused", "rule", c.Ref.String(), "why", why)
	if err := e.Pause(context.WithoutCancel(ctx), c.Ref, why); err != nil {
		e.Log.Error("pause rule", "rule", c.Ref.String(), "error", err)
	}
}

// far reports whether an event has come through too many activations. Nothing
// else counts: what goes round would always find the way past it.
func (e *Engine) far(ev *rouse.Event) bool { return hops(ev) >= e.MaxHops }

// park puts events that have come too far among the dead letters of their rule,
// from where they are delivered with hops that begin anew. A rule of which too
// many are parked is paused: a circle that doubles has no end.
func (e *Engine) park(ctx context.Context, c *compiled, es []rouse.Event) error {
	many := e.parked.known(c.Ref)
	if many < 0 {
		var err error
		if many, err = e.countParked(ctx, c); err != nil {
			return err
		}
		e.parked.begin(c.Ref, many)
	}
	qs := make([]queued, len(es))
	for i, ev := range es {
		reason := fmt.Sprintf("%s it has come through %d activations, one leading to the next", fuse, hops(&ev))
		e.Log.Warn("an event is parked", "rule", c.Ref.String(), "event", ev.ID, "why", reason)
		qs[i] = queued{Event: anew(ev), Reason: reason, Given: e.Now()}
	}
	if err := e.bury(ctx, c, qs); err != nil {
		return err
	}
	if e.parked.add(c.Ref, len(es)) > e.MaxParked {
		e.blow(ctx, c, fmt.Sprintf("%s more than %d of its events have come through %d activations, one leading to the next, and are parked", fuse, e.MaxParked, e.MaxHops))
	}
	return nil
}

// anew returns an event whose hops begin anew.
func anew(ev rouse.Event) rouse.Event {
	ev.Attributes = maps.Clone(ev.Attributes)
	delete(ev.Attributes, event.AttributeHops)
	return ev
}

// countParked counts the events of a rule that are parked since it was resumed,
// as far as that matters.
func (e *Engine) countParked(ctx context.Context, c *compiled) (n int, err error) {
	for after := int64(0); n <= e.MaxParked; {
		ls, err := e.Queue.Dead(ctx, queueOf(c), after, 100)
		if err != nil || len(ls) == 0 {
			return n, err
		}
		for _, l := range ls {
			if after = l.ID; strings.HasPrefix(l.Reason, fuse) && l.Buried.After(c.Resumed) {
				n++
			}
		}
	}
	return n, nil
}

// parked counts the events of rules that the fuse has parked, since the rule was
// resumed.
type parked struct {
	mu  sync.Mutex
	all map[rouse.Ref]int // guarded by mu; of rules that were counted
}

// known returns the count of a rule; below 0 where it was not counted.
func (p *parked) known(r rouse.Ref) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n, ok := p.all[r]; ok {
		return n
	}
	return -1
}

// begin notes how many there are of a rule that was not counted.
func (p *parked) begin(r rouse.Ref, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[rouse.Ref]int{}
	}
	if _, ok := p.all[r]; !ok {
		p.all[r] = n
	}
}

// add counts n more, and returns how many there are.
func (p *parked) add(r rouse.Ref, n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.all[r]; ok {
		p.all[r] += n
	}
	return p.all[r]
}

// forget has a rule counted again.
func (p *parked) forget(r rouse.Ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, r)
}
