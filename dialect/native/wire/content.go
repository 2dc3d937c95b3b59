package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
)

// Content returns bytes as two fields of a JSON object, of which one is set:
// a JSON value stands for itself, text is a string, and other bytes are base64.
// Text that begins with a quotation mark is a string as well, so that a string
// always is text.
func Content(b []byte) (plain json.RawMessage, base64 []byte) {
	switch {
	case len(b) == 0:
		return json.RawMessage(`""`), nil
	case json.Valid(b) && bytes.TrimLeft(b, " \t\r\n")[0] != '"':
		return b, nil
	case utf8.Valid(b):
		return quote(b), nil
	}
	return nil, b
}

// Bytes returns what Content was made of; field names the first of the two. A
// JSON value may be spaced differently. Errors: Invalid where both are set.
func Bytes(field string, plain json.RawMessage, base64 []byte) ([]byte, error) {
	switch {
	case plain != nil && base64 != nil:
		return nil, rouse.Errorf(rouse.Invalid, "read request", "", "%s and %sBase64 are both given; one is enough", field, field)
	case base64 != nil:
		return base64, nil
	case len(plain) > 0 && plain[0] == '"':
		var s string
		if err := json.Unmarshal(plain, &s); err != nil {
			return nil, fmt.Errorf("read %s: %w", field, err)
		}
		return []byte(s), nil
	}
	return plain, nil
}

// quote returns text as a JSON string in which <, > and & stay as they are.
func quote(text []byte) json.RawMessage {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(string(text)) // a string always marshals
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
