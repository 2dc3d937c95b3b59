// Package tuple writes values as keys whose bytes sort as the values do, one
// after the other: "a", 1 comes before "a", 2 and before "ab", 0.
package tuple

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// In a string the byte 0 is written as 0 255, and 0 1 ends it: no string's
// writing is then the beginning of another's, and shorter ones come first.
const (
	zero   = 0x00
	stop   = 0x01
	escape = 0xff
)

var errShort = errors.New("the key ends too early")

// String appends s, which may hold any bytes.
func String[S ~string | ~[]byte](to []byte, s S) []byte {
	for i := range len(s) {
		if to = append(to, s[i]); s[i] == zero {
			to = append(to, escape)
		}
	}
	return append(to, zero, stop)
}

// Uint appends n in 8 bytes.
func Uint(to []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(to, n) }

// Int appends n in 8 bytes, negative ones first.
func Int(to []byte, n int64) []byte { return Uint(to, uint64(n)^1<<63) }

// Prefix appends the beginning of a String whose end is left open: all strings
// that begin so have it in front.
func Prefix[S ~string | ~[]byte](to []byte, s S) []byte {
	to = String(to, s)
	return to[:len(to)-2]
}

// After returns the first key that does not begin with prefix; nil where there
// is none.
func After(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := bytes.Clone(prefix[:i+1])
			end[i]++
			return end
		}
	}
	return nil
}

// ReadString returns the string that from begins with, and what follows it.
func ReadString(from []byte) (s, rest []byte, err error) {
	for i := 0; i+1 < len(from); i++ {
		if from[i] != zero {
			continue
		}
		switch from[i+1] {
		case stop:
			return bytes.ReplaceAll(from[:i], []byte{zero, escape}, []byte{zero}), from[i+2:], nil
		case escape:
			i++
		default:
			return nil, nil, errors.New("a string in the key is broken")
		}
	}
	return nil, nil, errShort
}

// ReadUint returns the number that from begins with, and what follows it.
func ReadUint(from []byte) (n uint64, rest []byte, err error) {
	if len(from) < 8 {
		return 0, nil, errShort
	}
	return binary.BigEndian.Uint64(from), from[8:], nil
}

// ReadInt returns the number that from begins with, and what follows it.
func ReadInt(from []byte) (n int64, rest []byte, err error) {
	u, rest, err := ReadUint(from)
	return int64(u ^ 1<<63), rest, err
}
