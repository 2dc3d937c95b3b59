// Package ident makes the IDs of what comes and goes: activations, events, requests.
package ident

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	"github.com/google/uuid"
)

// New returns a UUIDv7 (RFC 9562) as 32 lowercase hex digits: one that was never
// there before. Those of one process sort by when they were made. It may be called
// concurrently.
func New() string {
	u := uuid.Must(uuid.NewV7FromReader(random{})) // which never fails
	var b [2 * len(u)]byte
	hex.Encode(b[:], u[:])
	return string(b[:])
}

// random reads from the runtime's source, a ChaCha8 that the system has seeded: IDs
// are names that open no door, and that of a call must not cost a system call.
type random struct{}

// Read implements io.Reader.
func (random) Read(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		var word [8]byte
		binary.NativeEndian.PutUint64(word[:], rand.Uint64())
		rest = rest[copy(rest, word[:]):]
	}
	return len(b), nil
}
