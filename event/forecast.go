package event

import (
	"encoding/json"
	"time"
)

// A Forecaster is a Source that knows when its Triggers fire next, unless
// something comes between.
type Forecaster interface {
	Source

	// Next returns when a Trigger of a Config fires next that has come as far as
	// state, as it is kept with its Events, says; nil is one that has yet to begin.
	// Zero is never. Errors: Invalid, as Check's.
	Next(config json.RawMessage, state []byte) (time.Time, error)
}
