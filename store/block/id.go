package block

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
)

// An id is an Activation's: a UUIDv7, whose first 48 bits are milliseconds.
type id [16]byte

// parseID reads 32 lowercase hex digits.
func parseID(s string) (id, bool) {
	var d id
	if len(s) != 32 {
		return d, false
	}
	for i := range d {
		h, l := values[s[2*i]], values[s[2*i+1]]
		if h|l > 15 {
			return d, false
		}
		d[i] = h<<4 | l
	}
	return d, true
}

// values of hex digits; 16 is none. A table, for what differs from digit to digit is
// no branch that a processor could foresee.
var values = func() (t [256]byte) {
	for c := range t {
		t[c] = 16
	}
	for v, c := range []byte("0123456789abcdef") {
		t[c] = byte(v)
	}
	return t
}()

func (d id) String() string { return hex.EncodeToString(d[:]) }

func (d id) ms() int64 {
	return int64(binary.BigEndian.Uint64(d[:]) >> 16)
}

func (d id) compare(e id) int { return bytes.Compare(d[:], e[:]) }
