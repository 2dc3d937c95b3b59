package rouse

import (
	"errors"
	"fmt"
)

// A Kind is why the platform said no. Each dialect has one table from Kind to
// its own code and status; nothing else decides a status.
type Kind uint8

// The Kinds. Internal is our fault: only the operator sees the details.
const (
	Internal Kind = iota
	Invalid
	NotFound
	Conflict
	Denied
	Unauthenticated
	Throttled
	TooLarge
	Unavailable
	NotImplemented
)

var kinds = [...]string{"internal", "invalid", "not found", "conflict", "denied", "unauthenticated",
	"throttled", "too large", "unavailable", "not implemented"}

func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return "internal"
}

// MarshalText writes the Kind's word.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the Kind's word; one it does not know is Internal.
func (k *Kind) UnmarshalText(b []byte) error {
	*k = Internal
	for i, s := range kinds {
		if s == string(b) {
			*k = Kind(i)
		}
	}
	return nil
}

// An Error is what the platform reports.
type Error struct {
	Op   string // what was being done, such as "publish"
	Kind Kind
	On   string // what it was done to, such as "default/hello"; may be empty
	Err  error  // says what is wrong and, to a user, what to do
}

func (e *Error) Error() string {
	if e.On == "" {
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Op, e.On, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error whose Err is formatted as fmt.Errorf does.
func Errorf(k Kind, op, on, format string, args ...any) *Error {
	return &Error{Op: op, Kind: k, On: on, Err: fmt.Errorf(format, args...)}
}

// KindOf returns the Kind of the first Error in err's chain, or Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
