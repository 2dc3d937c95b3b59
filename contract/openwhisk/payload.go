package openwhisk

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
)

// A writer makes what the code is sent of one event. A worker that has loaded
// the code gets the arguments, and before them, in quotes, the transaction where
// it has a name of its own; the rest it knows. A program gets a line of the
// ActionLoop protocol.
type writer struct {
	defaults map[string]json.RawMessage
	env      map[string]json.RawMessage // never arguments
	constant []byte                     // of a line, what is the same for all events; nil where the code is loaded
}

func newWriter(n Note) writer {
	w := writer{defaults: n.Arguments, env: n.Env}
	if !n.loaded() {
		w.constant = append(w.constant, `,"namespace":`...)
		w.constant = appendString(w.constant, n.namespace)
		w.constant = append(w.constant, `,"action_name":`...)
		w.constant = appendString(w.constant, "/"+n.Path)
		w.constant = append(w.constant, `,"action_version":`...)
		w.constant = appendString(w.constant, n.Version)
		w.constant = append(w.constant, `,"activation_id":`...)
	}
	return w
}

// append appends the event of in to b. The error is of arguments that are no
// object.
func (w *writer) append(ctx context.Context, b []byte, in rouse.Invocation) ([]byte, error) {
	transaction := in.Event.Attributes[Transaction]
	if w.constant == nil {
		if transaction != "" {
			b = appendString(b, transaction)
		}
		return w.appendArguments(b, in.Event)
	}
	b, err := w.appendArguments(append(b, `{"value":`...), in.Event)
	if err != nil {
		return b, err
	}
	b = appendString(append(b, w.constant...), in.ID)
	b = appendString(append(b, `,"transaction_id":`...), cmp.Or(transaction, in.ID))
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(24 * time.Hour)
	}
	b = append(b, `,"deadline":"`...)
	b = strconv.AppendInt(b, deadline.UnixMilli(), 10)
	return append(b, `"}`...), nil
}

var errNoObject = errors.New("arguments are a JSON object or array")

// appendArguments appends the object, or array, that main gets. Mostly that is
// the event's data as it is.
func (w *writer) appendArguments(b []byte, e rouse.Event) ([]byte, error) {
	data := bytes.TrimLeft(e.Data, " \t\r\n")
	if e.HTTP != nil {
		data = webArguments(e)
	}
	switch {
	case len(data) == 0:
		data = []byte("{}")
	case data[0] != '{' && data[0] != '[', !json.Valid(data):
		return b, errNoObject // what is not whole could pass for more than arguments
	}
	if !utf8.Valid(data) {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	if len(w.defaults)+len(w.env) == 0 || data[0] == '[' {
		return append(b, data...), nil
	}
	own := make(map[string]json.RawMessage)
	if err := json.Unmarshal(data, &own); err != nil {
		return b, errNoObject
	}
	all := maps.Clone(w.defaults)
	if all == nil {
		all = own
	}
	maps.Copy(all, own)
	for name := range w.env {
		delete(all, name)
	}
	merged, err := json.Marshal(all)
	return append(b, merged...), err
}

// appendString writes s as a JSON string; what is plain is copied.
func appendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return append(b, quote(s)...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// quote is s as a string of JSON, and of JavaScript.
func quote(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always can be
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
