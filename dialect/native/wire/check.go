package wire

import (
	"encoding/json"

	"github.com/rouse-run/rouse/event"
)

// A Check asks what would come of changes, were they made together.
type Check struct {
	Changes []CheckChange `json:"changes"`
}

// A CheckChange is one that may be made.
type CheckChange struct {
	Kind string          `json:"kind"`          // "function", "stream", "queue", "table", "bucket", "trigger", "rule" or "route"
	Name string          `json:"name"`          // of a route, its pattern
	Set  json.RawMessage `json:"set,omitempty"` // what the thing is to be, as its PUT takes it; none is to be removed
}

// Checked says what would come of changes, in their order.
type Checked struct {
	Changes []CheckedChange `json:"changes"`
}

// A CheckedChange is what would come of one: what GET would show of the thing,
// of a function what was given; or why it would be refused.
type CheckedChange struct {
	Set   any    `json:"set,omitempty"`
	Error *Error `json:"error,omitempty"`
}

// Trigger is an event.Trigger, and how it does.
type Trigger struct {
	event.Trigger
	Status *event.Health `json:"status,omitempty"`
}
