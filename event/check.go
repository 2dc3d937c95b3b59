package event

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/rouse-run/rouse"
)

// A Checker says beforehand what the methods of Rules would, and changes
// nothing. All methods may be called concurrently.
type Checker interface {
	// CheckTrigger returns t as SetTrigger would store it. Errors: SetTrigger's.
	CheckTrigger(ctx context.Context, t Trigger) (Trigger, error)

	// CheckRule returns r as SetRule would store it, once p has come true. Errors:
	// SetRule's.
	CheckRule(ctx context.Context, r Rule, p Prospect) (Rule, error)
}

// A Prospect is what there will be in a namespace besides what there is.
type Prospect struct {
	There map[string]bool  // things that will be there, such as "queue jobs"
	Rules map[string]*Rule // those that will be set, by name; nil is one that will be gone
}

// Has reports whether a thing of a kind will be there. Of a function with a
// qualifier that is so where it is a number: versions are, and aliases are not.
func (p Prospect) Has(kind, name, qualifier string) bool {
	_, err := strconv.ParseUint(qualifier, 10, 32)
	return p.There[kind+" "+name] && (qualifier == "" || err == nil)
}

// A Beginner is a Source that refuses Triggers that would never make an Event,
// when they are set; not those that have come to that.
type Beginner interface {
	Source

	// CheckNew says what speaks against a Config, which was checked, of a Trigger
	// that begins now. Errors: Invalid, which names the field.
	CheckNew(config json.RawMessage) error
}

// A Reporter is a Source that knows how its Triggers do.
type Reporter interface {
	Source

	// Health says how a Trigger does that was started. Concurrent calls are safe.
	Health(trigger rouse.Ref) Health
}

// A Health says how a Trigger does.
type Health struct {
	State State     `json:"state"`
	Since time.Time `json:"since,omitzero"` // when it came to be so
	Error string    `json:"error,omitempty"`
	Next  time.Time `json:"next,omitzero"` // when it fires next, where that is known
}

// A State is one word of how a Trigger does.
type State string

// The States. Starting: it has not yet reached what it watches. Running: it
// makes events of what happens. Failing: it can't, and tries again. Stopped: it
// can't, and does not try again before it is set or the server started anew.
// Paused: it is told to make none. Done: it will make no more.
const (
	Starting State = "starting"
	Running  State = "running"
	Failing  State = "failing"
	Stopped  State = "stopped"
	Paused   State = "paused"
	Done     State = "done"
)
