package block

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errMalformed = errors.New("the bytes are malformed")

// appendFrame closes the frame whose payload is b[start:], so that it can be
// found and checked: length, CRC32C, payload.
func appendFrame(dst, payload []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(payload)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(payload, castagnoli))
	return append(dst, payload...)
}

// cutFrame returns the payload of the first frame in b and what follows it.
// intact says that the payload is what was written; where rest is nil as well,
// even its length is not to be had.
func cutFrame(b []byte) (payload, rest []byte, intact bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || len(b)-w < 4 || n > uint64(len(b)-w-4) {
		return nil, nil, false
	}
	sum := binary.LittleEndian.Uint32(b[w:])
	payload, rest = b[w+4:w+4+int(n)], b[w+4+int(n):]
	return payload, rest, crc32.Checksum(payload, castagnoli) == sum
}

func appendText[S ~string | ~[]byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A reader takes values off bytes. Once they end too early it is bad and
// returns zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// take returns the next n bytes, which it shares.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) text() []byte { return r.take(r.uvarint()) }

// count reads how many things follow, of which each takes a byte at least.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return 0
	}
	return int(n)
}
