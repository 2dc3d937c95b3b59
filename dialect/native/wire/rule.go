package wire

import (
	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// Rule is an event.Rule, and how it does, which is ignored in input.
type Rule struct {
	event.Rule
	Status *event.Status `json:"status,omitempty"`
}

// Rules is a page of rules; Next, where not "", is the "after" of the next one.
type Rules struct {
	Rules []Rule `json:"rules"`
	Next  string `json:"next,omitempty"`
}

// Pause says why a rule is to rest.
type Pause struct {
	Why string `json:"why,omitempty"`
}

// Replay delivers events once more. Since and Until are times, or how long ago.
type Replay struct {
	Since    string  `json:"since"`
	Until    string  `json:"until,omitempty"`    // none is now
	Function string  `json:"function,omitempty"` // in place of the rule's own target
	Version  string  `json:"version,omitempty"`
	Rate     float64 `json:"rate,omitempty"` // deliveries a second; 0 is 50
}

// Replayed says how many events are delivered once more.
type Replayed struct {
	Queued int `json:"queued"`
}

// An Explanation says what led to an activation, and what it led to.
type Explanation struct {
	Activation Activation   `json:"activation"`
	Cold       string       `json:"cold,omitempty"`      // why an instance had to be booted
	Attempts   []Activation `json:"attempts,omitempty"`  // the other ones at the same event, oldest first
	Causes     []Cause      `json:"causes,omitempty"`    // the nearest first
	Effects    []Effect     `json:"effects,omitempty"`   // oldest first
	Truncated  bool         `json:"truncated,omitempty"` // there was more than was looked at
}

// A Cause is one step back from an activation.
type Cause struct {
	ID         string         `json:"id"`                   // of the event, or of the activation where there was none
	Event      *Event         `json:"event,omitempty"`      // none where it is not kept any more
	Rule       string         `json:"rule,omitempty"`       // that delivered it
	On         string         `json:"on,omitempty"`         // what the rule listens to, such as "trigger inbox"
	Waited     rouse.Duration `json:"waited,omitempty"`     // from the event to the activation
	Activation *Activation    `json:"activation,omitempty"` // that made the event
}

// An Effect is an activation that another led to, and what that led to.
type Effect struct {
	Activation Activation `json:"activation"`
	Effects    []Effect   `json:"effects,omitempty"`
}
