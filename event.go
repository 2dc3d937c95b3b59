package rouse

import "time"

// An Event says that something happened. It is never changed once made. The
// names are those of CloudEvents 1.0; a plain invocation needs only Data.
type Event struct {
	ID          string            `json:"id,omitempty"`
	Type        string            `json:"type,omitempty"` // such as "object.created"
	Source      string            `json:"source,omitempty"`
	Subject     string            `json:"subject,omitempty"`
	Time        time.Time         `json:"time,omitzero"`
	ContentType string            `json:"contentType,omitempty"` // of Data; "" is JSON
	Data        []byte            `json:"data,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`

	// HTTP is set where the Event is an HTTP request, whose body is Data.
	HTTP *Request `json:"http,omitempty"`
}

// A Request is an HTTP request as a Function sees it.
type Request struct {
	Method string              `json:"method"`
	Path   string              `json:"path"`  // below the Function's route, decoded, with a leading slash
	Query  string              `json:"query"` // raw, without "?"
	Header map[string][]string `json:"header"`
	Remote string              `json:"remote,omitempty"` // the caller's address
}
