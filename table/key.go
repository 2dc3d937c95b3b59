package table

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/tuple"
)

// The first byte of a key says what it is. An item's tail is what tells it apart
// in its table: a hash of its partition's key, that key, and its sort key.
const (
	definitionKind = 'd' // namespace, name -> a definition
	nameKind       = 'b' // id -> namespace and name
	nextKind       = 'n' // -> the next id
	itemKind       = 'i' // id, tail -> an item
	entryKind      = 'x' // id, index's id, tail of the index, item's tail -> the item's tail
	expiryKind     = 't' // second, id, tail -> nothing
	journalKind    = 'j' // id, shard: a journal of changes
	garbageKind    = 'g' // id, index's id or 0 -> nothing: what is to be cleared
)

// Keys that are longer than these have their hash in their place, where their
// order does not matter, and are refused where it does.
const (
	maxPlain = 100  // bytes of a partition's key
	maxTail  = 120  // bytes of an item's tail in the key of an index
	maxSort  = 1024 // bytes of a sort key
	hashed   = 0xff
)

func idKey(kind byte, id uint64) []byte {
	return tuple.Uint(append(make([]byte, 0, 128), kind), id)
}

func definitionKey(r rouse.Ref) []byte {
	return tuple.String(namespaceKey(r.Namespace), r.Name)
}

func namespaceKey(ns rouse.Namespace) []byte {
	return tuple.String([]byte{definitionKind}, ns)
}

// appendScalar appends a clean value of a key: its bytes sort as the values do,
// and no value's are the beginning of another's.
func appendScalar(to []byte, v data.Value) ([]byte, error) {
	to = append(to, byte(v.Type))
	switch v.Type {
	case data.String:
		return tuple.String(to, v.Text), nil
	case data.Number:
		return appendNumber(to, v.Text)
	case data.Binary:
		return tuple.String(to, v.Data), nil
	}
	return nil, fmt.Errorf("a %s can't be a key", v.Type)
}

// appendPartition appends a hash of two bytes and the value of a partition key.
func appendPartition(to []byte, v data.Value) ([]byte, error) {
	plain, err := appendScalar(make([]byte, 0, 64), v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(plain)
	to = append(to, sum[0], sum[1])
	if len(plain) > maxPlain {
		return append(append(to, hashed), sum[:]...), nil
	}
	return append(to, plain...), nil
}

// keyPart returns the clean value of an attribute of a key.
func keyPart(item data.Item, a data.Attribute) (data.Value, error) {
	v, ok := item[a.Name]
	switch {
	case !ok:
		return v, fmt.Errorf("the key attribute %q is missing", a.Name)
	case v.Type != a.Type:
		return v, fmt.Errorf("the key attribute %q is a %s, not a %s", a.Name, a.Type, v.Type)
	}
	return cleanValue(v, 0)
}

// appendKey appends the tail that two attributes of an item make.
func appendKey(to []byte, item data.Item, key, sort data.Attribute) ([]byte, error) {
	v, err := keyPart(item, key)
	if err != nil {
		return nil, err
	}
	if to, err = appendPartition(to, v); err != nil || sort.Name == "" {
		return to, err
	}
	if v, err = keyPart(item, sort); err != nil {
		return nil, err
	}
	if n := len(v.Text) + len(v.Data); n > maxSort {
		return nil, fmt.Errorf("the key attribute %q is too long: it has %d bytes, %d are the most", sort.Name, n, maxSort)
	}
	return appendScalar(to, v)
}

// tail returns the tail of an item of d.
func (d *definition) tail(item data.Item) ([]byte, error) {
	return appendKey(make([]byte, 0, 64), item, d.Key, d.Sort)
}

func (d *definition) itemKey(tail []byte) []byte {
	return append(idKey(itemKind, d.ID), tail...)
}

func (d *definition) indexPrefix(n int) []byte {
	return tuple.Uint(idKey(entryKind, d.ID), d.IndexIDs[n])
}

// entryKey returns the key of an item in the n-th index, nil where it is not in
// it. An attribute of the wrong type is an error.
func (d *definition) entryKey(n int, item data.Item, tail []byte) ([]byte, error) {
	x := d.Indexes[n]
	for _, a := range []data.Attribute{x.Key, x.Sort} {
		if _, ok := item[a.Name]; !ok && a.Name != "" {
			return nil, nil
		}
	}
	key, err := appendKey(d.indexPrefix(n), item, x.Key, x.Sort)
	if err != nil {
		return nil, fmt.Errorf("index %q: %w", x.Name, err)
	}
	if len(tail) > maxTail {
		sum := sha256.Sum256(tail)
		return append(append(key, hashed), sum[:]...), nil
	}
	return append(key, tail...), nil
}

// maxExpiry is the last second that an item may expire at: later ones are never.
const maxExpiry = 1 << 40

// expiry returns the second at which an item expires; 0 is never.
func (d *definition) expiry(item data.Item) uint64 {
	if d.TTL == "" {
		return 0
	}
	v, ok := item[d.TTL]
	if !ok || v.Type != data.Number {
		return 0
	}
	n, err := parseNumber(v.Text)
	if err != nil || n.Negative {
		return 0
	}
	whole, ok := wholeSeconds(n)
	if !ok || whole > maxExpiry {
		return 0
	}
	return whole
}

func (d *definition) expiryKey(second uint64, tail []byte) []byte {
	return append(tuple.Uint(tuple.Uint([]byte{expiryKind}, second), d.ID), tail...)
}

// readExpiry reads what expiryKey made.
func readExpiry(key []byte) (second, id uint64, tail []byte, ok bool) {
	if len(key) < 17 {
		return 0, 0, nil, false
	}
	return binary.BigEndian.Uint64(key[1:]), binary.BigEndian.Uint64(key[9:]), key[17:], true
}

// span returns the keys below prefix whose sort value is in a Range.
func span(prefix []byte, sort data.Attribute, r *data.Range) (from, to []byte, err error) {
	if r == nil {
		return prefix, tuple.After(prefix), nil
	}
	if sort.Name == "" {
		return nil, nil, fmt.Errorf("sort: there is no sort attribute to ask for")
	}
	want := 1
	if r.Op == data.Between {
		want = 2
	}
	if len(r.Values) != want {
		return nil, nil, fmt.Errorf("sort: %s wants %d values, not %d", r.Op, want, len(r.Values))
	}
	var ends [][]byte
	for _, v := range r.Values {
		if v, err = keyPart(data.Item{sort.Name: v}, sort); err != nil {
			return nil, nil, fmt.Errorf("sort: %w", err)
		}
		end, err := appendScalar(bytes.Clone(prefix), v)
		if err != nil {
			return nil, nil, err
		}
		ends = append(ends, end)
	}
	first, after := ends[0], tuple.After(ends[0])
	switch r.Op {
	case data.Eq:
		return first, after, nil
	case data.Lt:
		return prefix, first, nil
	case data.Le:
		return prefix, after, nil
	case data.Gt:
		return after, tuple.After(prefix), nil
	case data.Ge:
		return first, tuple.After(prefix), nil
	case data.Between:
		return first, tuple.After(ends[1]), nil
	case data.Begins:
		if sort.Type != data.Number {
			open := first[:len(first)-2] // without the end of the string
			return open, tuple.After(open), nil
		}
	}
	return nil, nil, fmt.Errorf("sort: a %s can't be asked for with %q; there are eq, lt, le, gt, ge, between and, of text, begins", sort.Type, r.Op)
}
