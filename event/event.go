// Package event is the third part of the language: what rouses functions.
// Triggers make events, and rules say which of them go where.
package event

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/rouse-run/rouse"
)

// A Trigger makes Events when something happens outside: a timer goes off, a
// file is written, a request comes in.
type Trigger struct {
	rouse.Ref
	Kind    string          `json:"kind"`   // names its Source, such as "schedule"
	Config  json.RawMessage `json:"config"` // in the words of its Source
	Created time.Time       `json:"created"`
	Notes   rouse.Notes     `json:"notes,omitempty"`
}

// A Source makes the Events of all Triggers of one Kind. All methods may be
// called concurrently.
type Source interface {
	// Kind names it.
	Kind() string

	// Check returns a Trigger's Config with the defaults filled in. Errors:
	// Invalid, which names the field.
	Check(config json.RawMessage) (json.RawMessage, error)

	// Start begins to make Events of t, whose Config was checked, until stop is
	// called, which returns when no more will come. It does not wait for what t
	// watches: what is not there now may come later.
	Start(t Trigger) (stop func(), err error)
}

// A Keeper is a Source that keeps things of its Triggers by itself.
type Keeper interface {
	Source

	// Forget removes what is kept of a Trigger, which was stopped, and will not be
	// started as it was.
	Forget(trigger rouse.Ref) error
}

// A Server is a Source whose Events come in as HTTP requests.
type Server interface {
	Source

	// Serve answers a request to t; path is what follows its address, with a
	// leading slash or "". It answers well only when the Event is durable.
	Serve(w http.ResponseWriter, r *http.Request, t Trigger, path string)

	// Open reports whether callers of t show no token of the platform, for
	// instance because they sign what they send.
	Open(t Trigger) bool
}

// An Emitter takes what happened. All methods may be called concurrently.
type Emitter interface {
	// Emit stores Events of a Trigger, in order, and returns when they are
	// durable. An Event with the ID of one that the Trigger made is dropped, while
	// that is kept; one without gets a new ID, and the time now where it has none.
	// State, where not nil, is kept with them in one transaction. Errors:
	// NotFound, TooLarge, Unavailable.
	Emit(ctx context.Context, trigger rouse.Ref, es []rouse.Event, state []byte) error

	// State returns what was kept last for a Trigger; nil where there is none.
	State(ctx context.Context, trigger rouse.Ref) ([]byte, error)
}

// The names of Attributes that the platform gives to Events; Cause.In leaves out
// those that others gave.
const (
	AttributeHops       = "rousehops"       // how many activations led to it, one after the other
	AttributeCause      = "rousecause"      // the ID of the last of them
	AttributeActivation = "rouseactivation" // RULE/ID: the rule of that name is to run it as the Activation of that ID
	AttributeReplayed   = "rousereplayed"   // "true" where it is delivered again on demand
)
