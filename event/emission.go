package event

import (
	"context"
	"time"

	"github.com/rouse-run/rouse"
)

// An Emission is what one Trigger made, as Emit takes it.
type Emission struct {
	Trigger rouse.Ref
	Events  []rouse.Event
	State   []byte // nil leaves it as it is

	// Due is when the Events happen, where they are stored ahead of that; zero is
	// now. Nobody sees them before. A Trigger has one Emission at a time that is
	// to come. Where the Trigger or a Rule on it is set or removed meanwhile, it
	// is withdrawn: the State is again what it was, and the Trigger started anew.
	Due time.Time
}

// A ManyEmitter is an Emitter for Triggers that make Events together.
type ManyEmitter interface {
	Emitter

	// EmitMany does for each Emission what Emit does, for all in one transaction.
	// It returns an error for each, nil where it was stored: one that is refused
	// for its own sake holds up no other.
	EmitMany(ctx context.Context, all []Emission) []error
}
