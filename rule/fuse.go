package rule

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
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

// fused pauses a rule that has run away: one of es has come through too many
// activations, or its function has used up its budget. What waits is kept.
func (e *Engine) fused(ctx context.Context, c *compiled, es []rouse.Event) bool {
	why := ""
	for i := range es {
		// Who resumed the rule has seen what came before.
		if n := hops(&es[i]); n >= e.MaxHops && es[i].Time.After(c.Resumed) {
			why = fmt.Sprintf("fuse: event %s has come through %d activations, one leading to the next", es[i].ID, n)
			break
		}
	}
	if used := e.usage.last(c); why == "" && c.Budget > 0 && used >= c.Budget {
		why = fmt.Sprintf("fuse: it used %.1f GB-seconds within an hour; its budget is %.1f", used, c.Budget)
	}
	if why == "" {
		return false
	}
	// From now on, also where it can't be stored.
	c.paused.Store(true)
	e.Log.Warn("a rule is paused", "rule", c.Ref.String(), "why", why)
	if err := e.Pause(context.WithoutCancel(ctx), c.Ref, why); err != nil {
		e.Log.Error("pause rule", "rule", c.Ref.String(), "error", err)
	}
	return true
}
