// Package wire holds the shapes that travel between the native API's server and
// its clients. All are JSON.
package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
)

// The headers of an invocation's answer. Durations are milliseconds.
const (
	HeaderActivation = "Rouse-Activation"
	HeaderStatus     = "Rouse-Status"
	HeaderCold       = "Rouse-Cold"
	HeaderQueued     = "Rouse-Queued"
	HeaderInit       = "Rouse-Init"
	HeaderDuration   = "Rouse-Duration" // in the function
)

// The content types the API speaks.
const (
	JSON   = "application/json"
	NDJSON = "application/x-ndjson" // one JSON value a line
)

// Options are what a deploy may say of a function; the zero value leaves all to
// the platform.
type Options struct {
	Runtime  string            `json:"runtime,omitempty"`
	Handler  string            `json:"handler,omitempty"`
	Contract string            `json:"contract,omitempty"`
	Env      map[string]string `json:"env,omitempty"`
	Limits   rouse.Limits      `json:"limits,omitzero"`
	Egress   bool              `json:"egress,omitempty"`
	Public   bool              `json:"public,omitempty"`
	Allow    []string          `json:"allow,omitempty"` // grants of the platform's services, such as "table:seen rw"
	Retry    rouse.Retry       `json:"retry,omitzero"`
	Code     rouse.Digest      `json:"code,omitempty"` // of an earlier deploy, in place of code that is sent
}

// DeployEvent is one line of a deploy's answer: a Step, or at the end the
// Function or the Error.
type DeployEvent struct {
	Step     string          `json:"step,omitempty"`
	Function *rouse.Function `json:"function,omitempty"`
	Error    *Error          `json:"error,omitempty"`
}

// Functions is a page of functions; Next, where not "", is the "after" of the
// next one.
type Functions struct {
	Functions []rouse.Function `json:"functions"`
	Next      string           `json:"next,omitempty"`
}

// Versions are all versions of a function, oldest first.
type Versions struct {
	Versions []rouse.Function `json:"versions"`
}

// Aliases are all aliases of a function.
type Aliases struct {
	Aliases []rouse.Alias `json:"aliases"`
}

// AliasTarget is what an alias is set to.
type AliasTarget struct {
	Version int     `json:"version"`
	Other   int     `json:"other,omitempty"`
	Weight  float64 `json:"weight,omitempty"`
}

// Accepted answers an asynchronous invocation.
type Accepted struct {
	Activation string `json:"activation"`
}

// AcceptedBatch answers a batch; the IDs are in the order of its lines.
type AcceptedBatch struct {
	Activations []string `json:"activations"`
}

// Activations is a page of activations, newest first; Next, where not "", is
// the "before" of the next one.
type Activations struct {
	Activations []Activation `json:"activations"`
	Next        string       `json:"next,omitempty"`
}

// Lines are lines of log, oldest first.
type Lines struct {
	Lines []rouse.Line `json:"lines"`
}

// Dead is a page of dead letters; Next, where not 0, is the "after" of the
// next one.
type Dead struct {
	Dead []DeadLetter `json:"dead"`
	Next int64        `json:"next,omitempty"`
}

// Redrive picks dead letters; no IDs stand for all.
type Redrive struct {
	IDs []int64 `json:"ids,omitempty"`
}

// Redriven says how many dead letters run again.
type Redriven struct {
	Redriven int `json:"redriven"`
}

// ErrorBody is every answer that is not the one asked for.
type ErrorBody struct {
	Error      Error  `json:"error"`
	Activation string `json:"activation,omitempty"` // where it came as far as one

	// Refused are the writes of items whose conditions did not hold.
	Refused []RefusedWrite `json:"refused,omitempty"`
}

// Error is the platform's error, or a function's failure: then Kind is the word
// of a rouse.Status and Type and Stack are the function's.
type Error struct {
	Kind    string `json:"kind"`
	Op      string `json:"op,omitempty"`
	On      string `json:"on,omitempty"`
	Type    string `json:"type,omitempty"`
	Message string `json:"message"`
	Stack   string `json:"stack,omitempty"`
	ID      string `json:"id,omitempty"` // of an internal error, in the server's log
}

// Err returns the platform's error that e stands for.
func (e Error) Err() *rouse.Error {
	var k rouse.Kind
	_ = k.UnmarshalText([]byte(e.Kind)) // a word it does not know is Internal
	msg := e.Message
	if e.ID != "" {
		msg += "; the server's log has the details under id " + e.ID
	}
	op := e.Op
	if op == "" {
		op = "ask the server"
	}
	return rouse.Errorf(k, op, e.On, "%s", msg)
}

// Activation is a rouse.Activation whose result people can read: JSON stands as
// itself, text as a string, other bytes as base64, and Encoding says so.
type Activation struct {
	rouse.Activation
	Result   json.RawMessage `json:"result,omitempty"`
	Encoding string          `json:"encoding,omitempty"` // "", "text" or "base64"
}

// ActivationOf wraps a.
func ActivationOf(a rouse.Activation) Activation {
	w := Activation{Activation: a}
	w.Result, w.Encoding = encode(a.Result, IsJSON(a.ContentType))
	return w
}

// Unwrap returns the Activation; a result in JSON may be spaced differently.
func (w Activation) Unwrap() (rouse.Activation, error) {
	a := w.Activation
	var err error
	a.Result, err = decode(w.Result, w.Encoding)
	return a, err
}

// DeadLetter is a rouse.DeadLetter whose body people can read, as a result is.
type DeadLetter struct {
	rouse.DeadLetter
	Body     json.RawMessage `json:"body"`
	Encoding string          `json:"encoding,omitempty"`
}

// DeadLetterOf wraps d.
func DeadLetterOf(d rouse.DeadLetter) DeadLetter {
	w := DeadLetter{DeadLetter: d}
	w.Body, w.Encoding = encode(d.Body, true)
	return w
}

// Unwrap returns the DeadLetter; a body in JSON may be spaced differently.
func (w DeadLetter) Unwrap() (rouse.DeadLetter, error) {
	d := w.DeadLetter
	var err error
	d.Body, err = decode(w.Body, w.Encoding)
	return d, err
}

// IsJSON reports whether a content type is JSON; "" is.
func IsJSON(contentType string) bool {
	switch contentType {
	case "", JSON:
		return true
	}
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == JSON || strings.HasSuffix(t, "+json"))
}

func encode(b []byte, isJSON bool) (json.RawMessage, string) {
	switch {
	case b == nil:
		return nil, ""
	case isJSON && json.Valid(b):
		return b, ""
	case utf8.Valid(b):
		s, _ := json.Marshal(string(b)) // a string always marshals
		return s, "text"
	}
	s, _ := json.Marshal(base64.StdEncoding.EncodeToString(b))
	return s, "base64"
}

func decode(raw json.RawMessage, encoding string) ([]byte, error) {
	if raw == nil || encoding == "" {
		return bytes.Clone(raw), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("decode %s: %w", encoding, err)
	}
	switch encoding {
	case "text":
		return []byte(s), nil
	case "base64":
		return base64.StdEncoding.DecodeString(s)
	}
	return nil, fmt.Errorf("unknown encoding %q; is the server newer than this client?", encoding)
}
