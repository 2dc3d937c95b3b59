package rouse

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// A Namespace holds everything one tenant owns.
type Namespace string

// DefaultNamespace is where things live that name no other.
const DefaultNamespace Namespace = "default"

// A Ref names one thing in one namespace.
type Ref struct {
	Namespace Namespace `json:"namespace"`
	Name      string    `json:"name"`
}

func (r Ref) String() string { return string(r.Namespace) + "/" + r.Name }

// CheckName returns an Invalid Error where s can't name a function, an alias
// or a namespace.
func CheckName(s string) error {
	ok := len(s) > 0 && len(s) <= 128
	for i := 0; ok && i < len(s); i++ { // on the hot path: no regexp
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		ok = letter || i > 0 && (c == '.' || c == '_' || c == '-')
	}
	if ok {
		return nil
	}
	return &Error{Op: "check name", Kind: Invalid, On: s,
		Err: fmt.Errorf("a name is 1 to 128 of A-Z a-z 0-9 . _ - and begins with a letter or digit")}
}

// maxFunction bounds the name of a function: bytes.
const maxFunction = 768

// CheckFunction returns an Invalid Error where s can't name a function: names as
// CheckName takes them, in folders set apart by "/" and spaces set apart by ":",
// in which "~" may stand for what a dialect has to spell otherwise; 768 bytes in
// all.
func CheckFunction(s string) error {
	if CheckName(s) == nil {
		return nil
	}
	ok, first := len(s) > 0 && len(s) <= maxFunction, true
	for i := 0; ok && i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '~':
			first = false
		case c == '/', c == ':':
			ok, first = !first, true
		case c == '.', c == '_', c == '-':
			ok = !first
		default:
			ok = false
		}
	}
	if ok && !first {
		return nil
	}
	return &Error{Op: "check name", Kind: Invalid, On: s,
		Err: fmt.Errorf("a name is 1 to 128 of A-Z a-z 0-9 . _ - and begins with a letter or digit")}
}

// A Digest is a SHA-256 in lowercase hex, 64 characters; "" is none.
type Digest string

// DigestOf returns the Digest of b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest(hex.EncodeToString(sum[:]))
}

// Notes are what a dialect must remember and the core must never read, such as
// a role or an annotation. The key is the dialect's name.
type Notes map[string]json.RawMessage
