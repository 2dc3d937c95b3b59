package table

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/rouse-run/rouse/data"
)

// An item is stored as a version and a map. A map is the number of its members
// and each one's name and value; a value its type and what belongs to it: text
// and bytes with their length in front, lists and sets with their number.
// Numbers and lengths are uvarints.
const codecVersion = 1

var (
	errShort   = errors.New("an item ends too early")
	errForeign = errors.New("what is stored is not an item")
)

func encodeItem(item data.Item) []byte {
	return appendItem([]byte{codecVersion}, item)
}

func appendItem(to []byte, item data.Item) []byte {
	to = binary.AppendUvarint(to, uint64(len(item)))
	for name, v := range item {
		to = appendBytes(to, name)
		to = appendValue(to, v)
	}
	return to
}

func appendBytes[S ~string | ~[]byte](to []byte, s S) []byte {
	to = binary.AppendUvarint(to, uint64(len(s)))
	return append(to, s...)
}

func appendValue(to []byte, v data.Value) []byte {
	to = append(to, byte(v.Type))
	switch v.Type {
	case data.String, data.Number:
		to = appendBytes(to, v.Text)
	case data.Binary:
		to = appendBytes(to, v.Data)
	case data.Boolean:
		if v.Bool {
			return append(to, 1)
		}
		to = append(to, 0)
	case data.Map:
		to = appendItem(to, v.Map)
	case data.List, data.StringSet, data.NumberSet, data.BinarySet:
		to = binary.AppendUvarint(to, uint64(len(v.List)))
		for _, m := range v.List {
			to = appendValue(to, m)
		}
	}
	return to
}

// decodeItem reads what encodeItem wrote. The Item shares bytes with b.
func decodeItem(b []byte) (data.Item, error) {
	if len(b) == 0 || b[0] != codecVersion {
		return nil, errForeign
	}
	// One string for all texts: each is a piece of it.
	d := decoder{bytes: b, text: string(b), at: 1}
	item := d.item(0)
	if d.err == nil && d.at != len(b) {
		d.err = errors.New("something follows an item")
	}
	if d.err != nil {
		return nil, d.err
	}
	return item, nil
}

type decoder struct {
	bytes []byte
	text  string
	at    int
	err   error // the first; all that is read after it is empty
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.at = len(d.bytes)
}

// count reads a number of things that have at least a byte each.
func (d *decoder) count() int {
	n, size := binary.Uvarint(d.bytes[d.at:])
	if size <= 0 || n > uint64(len(d.bytes)-d.at-size) {
		d.fail(errShort)
		return 0
	}
	d.at += size
	return int(n)
}

func (d *decoder) byte() byte {
	if d.at >= len(d.bytes) {
		d.fail(errShort)
		return 0
	}
	d.at++
	return d.bytes[d.at-1]
}

func (d *decoder) span() (from, to int) {
	n := d.count()
	d.at += n
	return d.at - n, d.at
}

func (d *decoder) item(depth int) data.Item {
	n := d.count()
	item := make(data.Item, min(n, 1024))
	for range n {
		from, to := d.span()
		v := d.value(depth + 1)
		if d.err != nil {
			return nil
		}
		item[d.text[from:to]] = v
	}
	if len(item) != n {
		d.fail(errors.New("an attribute is twice in an item"))
	}
	return item
}

func (d *decoder) value(depth int) data.Value {
	v := data.Value{Type: data.ValueType(d.byte())}
	switch v.Type {
	case data.String, data.Number:
		from, to := d.span()
		v.Text = d.text[from:to]
	case data.Binary:
		from, to := d.span()
		v.Data = d.bytes[from:to:to]
	case data.Boolean:
		v.Bool = d.byte() == 1
	case data.Null:
	case data.Map, data.List, data.StringSet, data.NumberSet, data.BinarySet:
		if depth > maxDepth+1 {
			d.fail(errors.New("an item is too deep"))
			return v
		}
		if v.Type == data.Map {
			v.Map = d.item(depth)
			return v
		}
		n := d.count()
		v.List = make([]data.Value, 0, min(n, 1024))
		for i := 0; i < n && d.err == nil; i++ {
			v.List = append(v.List, d.value(depth+1))
		}
	default:
		d.fail(fmt.Errorf("a value of the type %d", v.Type))
	}
	return v
}
