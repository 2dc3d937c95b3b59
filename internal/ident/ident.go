// Package ident makes the IDs of what comes and goes: activations, events, requests.
package ident

import (
	"encoding/hex"

	"github.com/google/uuid"
)

// New returns a UUIDv7 (RFC 9562) as 32 lowercase hex digits: one that was never
// there before. Those of one process sort by when they were made. It may be called
// concurrently.
func New() string {
	u := uuid.Must(uuid.NewV7()) // fails only where the system has no randomness, and then nothing goes
	var b [2 * len(u)]byte
	hex.Encode(b[:], u[:])
	return string(b[:])
}
