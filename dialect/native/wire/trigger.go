package wire

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
)

// TriggerOptions are what a trigger is to be.
type TriggerOptions struct {
	Kind   string          `json:"kind"`
	Config json.RawMessage `json:"config,omitempty"` // in the words of its kind; none is {}
}

// Triggers is a page of triggers; Next, where not "", is the "after" of the next
// one.
type Triggers struct {
	Triggers []Trigger `json:"triggers"`
	Next     string    `json:"next,omitempty"`
}

// An Event is a rouse.Event whose data people can read: Data is JSON where
// ContentType is, and otherwise a string; DataBase64 is for other bytes.
type Event struct {
	ID          string            `json:"id,omitempty"`
	Type        string            `json:"type,omitempty"`
	Source      string            `json:"source,omitempty"`
	Subject     string            `json:"subject,omitempty"`
	Time        time.Time         `json:"time,omitzero"`
	ContentType string            `json:"contentType,omitempty"`
	Data        json.RawMessage   `json:"data,omitempty"`
	DataBase64  []byte            `json:"dataBase64,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`
}

// EventOf makes an Event.
func EventOf(e rouse.Event) Event {
	w := Event{ID: e.ID, Type: e.Type, Source: e.Source, Subject: e.Subject, Time: e.Time, ContentType: e.ContentType, Attributes: e.Attributes}
	switch {
	case len(e.Data) == 0:
	case IsJSON(e.ContentType) && json.Valid(e.Data):
		w.Data = e.Data
	case utf8.Valid(e.Data):
		w.Data = quote(e.Data)
	default:
		w.DataBase64 = e.Data
	}
	return w
}

// Unwrap returns the rouse.Event. Errors: Invalid.
func (w Event) Unwrap() (rouse.Event, error) {
	e := rouse.Event{ID: w.ID, Type: w.Type, Source: w.Source, Subject: w.Subject, Time: w.Time, ContentType: w.ContentType, Attributes: w.Attributes}
	if IsJSON(w.ContentType) && w.DataBase64 == nil {
		e.Data = w.Data
		return e, nil
	}
	var err error
	e.Data, err = Bytes("data", w.Data, w.DataBase64)
	return e, err
}

// Events are those that a trigger is to make.
type Events struct {
	Events []Event `json:"events"`
}

// Fired are the IDs of events, in their order.
type Fired struct {
	IDs []string `json:"ids"`
}
