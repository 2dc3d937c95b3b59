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
		h, l := nibble(s[2*i]), nibble(s[2*i+1])
		if h > 15 || l > 15 {
			return d, false
		}
		d[i] = h<<4 | l
	}
	return d, true
}

func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 16
}

func (d id) String() string { return hex.EncodeToString(d[:]) }

func (d id) ms() int64 {
	return int64(binary.BigEndian.Uint64(d[:]) >> 16)
}

func (d id) compare(e id) int { return bytes.Compare(d[:], e[:]) }
