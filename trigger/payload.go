package trigger

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"
)

// A Payload is foreign bytes in JSON.
type Payload struct {
	Value    json.RawMessage // the bytes themselves where they are JSON, else a string
	Encoding string          // "json", "text", or "base64" where they are no UTF-8 either
}

// Read makes a Payload of b; no bytes are the text "".
func Read(b []byte) Payload {
	switch {
	case len(b) > 0 && json.Valid(b):
		return Payload{b, "json"}
	case utf8.Valid(b):
		return Payload{quote(string(b)), "text"}
	}
	return Payload{quote(base64.StdEncoding.EncodeToString(b)), "base64"}
}

func quote(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string always can be
	return b
}
