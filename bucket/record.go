package bucket

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/rouse-run/rouse/data"
)

// A record is one version of an object as it is stored, without its key.
type record struct {
	revision uint64
	marker   bool
	null     bool // put while the bucket was not versioned
	copied   bool
	etag     string
	modified int64 // microseconds
	header   map[string]string
	meta     map[string]string
	tags     map[string]string
	chunks   []chunk
	uploaded bool // its chunks are the parts of an upload
}

// A chunk is a part of an object's bytes, all of one blob.
type chunk struct {
	digest digest
	size   int64
}

func (r *record) size() (n int64) {
	for _, c := range r.chunks {
		n += c.size
	}
	return n
}

// object is what others see of a record.
func (r *record) object(key string, newest bool) data.Object {
	o := data.Object{Key: key, Version: r.version(), Size: r.size(), ETag: r.etag, Modified: time.UnixMicro(r.modified).UTC(),
		Header: r.header, Meta: r.meta, Tags: r.tags, Marker: r.marker, Newest: newest}
	if r.uploaded {
		for _, c := range r.chunks {
			o.Parts = append(o.Parts, c.size)
		}
	}
	return o
}

func (r *record) version() string {
	if r.null {
		return data.NullVersion
	}
	return versionName(r.revision)
}

const recordVersion = 1

// Bits of a record's flags.
const (
	flagMarker = 1 << iota
	flagNull
	flagCopied
	flagUploaded
)

func flag(b bool, bit byte) byte {
	if b {
		return bit
	}
	return 0
}

// encode writes a version, the flags, and the fields in their order. Lengths and
// numbers are uvarints.
func (r *record) encode() []byte {
	b := make([]byte, 0, 128+40*len(r.chunks))
	b = append(b, recordVersion, flag(r.marker, flagMarker)|flag(r.null, flagNull)|flag(r.copied, flagCopied)|flag(r.uploaded, flagUploaded))
	b = binary.AppendUvarint(b, r.revision)
	b = binary.AppendVarint(b, r.modified)
	b = appendText(b, r.etag)
	for _, m := range []map[string]string{r.header, r.meta, r.tags} {
		b = appendMap(b, m)
	}
	b = binary.AppendUvarint(b, uint64(len(r.chunks)))
	for _, c := range r.chunks {
		b = append(b, c.digest[:]...)
		b = binary.AppendUvarint(b, uint64(c.size))
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendMap(b []byte, m map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b = appendText(appendText(b, k), m[k])
	}
	return b
}

func decodeRecord(b []byte) (*record, error) {
	d := decoder{rest: b}
	version, flags := d.byte(), d.byte()
	r := &record{marker: flags&flagMarker != 0, null: flags&flagNull != 0, copied: flags&flagCopied != 0, uploaded: flags&flagUploaded != 0}
	r.revision, r.modified, r.etag = d.uint(), d.int(), d.text()
	r.header, r.meta, r.tags = d.texts(), d.texts(), d.texts()
	n := d.count(len(digest{}) + 1)
	r.chunks = make([]chunk, n)
	for i := range r.chunks {
		r.chunks[i] = d.chunk()
	}
	if d.broken || version != recordVersion || len(d.rest) > 0 {
		return nil, errBroken
	}
	return r, nil
}

// A decoder reads what is stored. Once broken it returns zeros.
type decoder struct {
	rest   []byte
	broken bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) || d.broken {
		d.broken = true
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.rest)
	d.take(max(size, 0))
	if size <= 0 || d.broken {
		d.broken = true
		return 0
	}
	return n
}

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.rest)
	d.take(max(size, 0))
	if size <= 0 || d.broken {
		d.broken = true
		return 0
	}
	return n
}

// count reads how many things follow that have at least so many bytes each.
func (d *decoder) count(each int) int {
	n := d.uint()
	if n > uint64(len(d.rest)/each) {
		d.broken = true
		return 0
	}
	return int(n)
}

func (d *decoder) text() string { return string(d.take(d.count(1))) }

func (d *decoder) texts() map[string]string {
	n := d.count(2)
	if n == 0 {
		return nil
	}
	m := make(map[string]string, n)
	for range n {
		k := d.text()
		m[k] = d.text()
	}
	d.broken = d.broken || len(m) != n
	return m
}

func (d *decoder) chunk() (c chunk) {
	copy(c.digest[:], d.take(len(c.digest)))
	n := d.uint()
	if c.size = int64(n); c.size < 0 {
		d.broken = true
	}
	return c
}
