package trigger

import (
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// Healths are how the triggers of a source do. The zero value has none. All
// methods may be called concurrently.
type Healths struct {
	mu  sync.Mutex
	all map[rouse.Ref]event.Health // guarded by mu
}

// Set says how a trigger does from now on, and which error, if any, it met.
func (h *Healths) Set(r rouse.Ref, s event.State, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now, known := h.all[r]
	if known && now.State == s && now.Error == text {
		return
	}
	if !known || now.State != s {
		now.State, now.Since = s, time.Now().UTC()
	}
	if now.Error = text; h.all == nil {
		h.all = map[rouse.Ref]event.Health{}
	}
	h.all[r] = now
}

// Drop forgets a trigger, which was stopped.
func (h *Healths) Drop(r rouse.Ref) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.all, r)
}

// Health is what was Set last of a trigger. It implements event.Reporter.
func (h *Healths) Health(r rouse.Ref) event.Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now, ok := h.all[r]; ok {
		return now
	}
	return event.Health{State: event.Starting}
}
