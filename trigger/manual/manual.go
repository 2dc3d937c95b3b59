// Package manual has triggers that make no events by themselves: somebody fires
// them, by hand or from another program.
package manual

import (
	"encoding/json"

	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/trigger"
)

// Source implements event.Source. Its zero value is ready.
type Source struct{}

// Config is what a manual trigger is told: nothing.
type Config struct{}

// Describe says what triggers of this kind are.
func Describe() trigger.Kind {
	return trigger.Kind{Name: "manual", About: "Nothing by itself: it is fired by hand or from a program, with rouse trigger fire or POST /v1/triggers/NAME/fire; so is any other kind besides.",
		Event: trigger.Event{Type: "as it was fired", Subject: "as it was fired", ID: "as it was fired, or a new one",
			Data: []trigger.Field{{Name: "(all)", Type: "any JSON", About: "as it was fired"}}},
		Example: "go: {manual: {}}"}
}

// Kind implements event.Source.
func (Source) Kind() string { return "manual" }

// Check implements event.Source.
func (Source) Check(config json.RawMessage) (json.RawMessage, error) {
	var c Config
	if err := trigger.Decode(config, &c); err != nil {
		return nil, err
	}
	return trigger.Encode(c)
}

// Start implements event.Source.
func (Source) Start(event.Trigger) (stop func(), err error) { return func() {}, nil }
