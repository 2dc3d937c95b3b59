// Package pending holds what a transaction over rouse.Keys has written and not
// yet committed, and lets it be read together with what is stored. A driver
// makes the changes only where the transaction succeeds.
package pending

import (
	"bytes"
	"errors"
	"slices"
	"sort"

	"github.com/rouse-run/rouse"
)

const (
	maxKey   = 1024
	maxValue = 32 << 20
)

// A Writer implements rouse.KeyWriter over what is stored. It is for one
// goroutine.
type Writer struct {
	base    rouse.KeyReader
	changes map[string][]byte // nil deletes
	sorted  []string          // the keys of changes, where not stale
	stale   bool
	cleared []span // before the changes
	err     error
}

// A span is as Clear has it.
type span struct{ from, to []byte }

func (s span) holds(key []byte) bool {
	return bytes.Compare(key, s.from) >= 0 && (s.to == nil || bytes.Compare(key, s.to) < 0)
}

// New returns a Writer that has written nothing.
func New(base rouse.KeyReader) *Writer {
	return &Writer{base: base, changes: map[string][]byte{}}
}

// Put implements rouse.KeyWriter. Key and value must not be changed later.
func (w *Writer) Put(key, value []byte) {
	switch {
	case len(key) > maxKey:
		w.err = errors.Join(w.err, rouse.Errorf(rouse.TooLarge, "write", "key", "it has %d bytes, %d are the most", len(key), maxKey))
	case len(value) > maxValue:
		w.err = errors.Join(w.err, rouse.Errorf(rouse.TooLarge, "write", "value", "it has %d bytes, %d are the most", len(value), maxValue))
	}
	if value == nil {
		value = []byte{}
	}
	w.change(string(key), value)
}

// Delete implements rouse.KeyWriter.
func (w *Writer) Delete(key []byte) { w.change(string(key), nil) }

func (w *Writer) change(key string, value []byte) {
	if _, known := w.changes[key]; !known {
		w.stale = true
	}
	w.changes[key] = value
}

// Clear implements rouse.KeyWriter.
func (w *Writer) Clear(from, to []byte) {
	s := span{bytes.Clone(from), bytes.Clone(to)}
	for key := range w.changes {
		if s.holds([]byte(key)) {
			delete(w.changes, key)
			w.stale = true
		}
	}
	w.cleared = append(w.cleared, s)
}

// Changes calls clear for each cleared span, and then put or remove for each
// key in order. It returns at the first error; an error of the Writer's own is
// one of what was written.
func (w *Writer) Changes(clear func(from, to []byte) error, put func(key, value []byte) error, remove func(key []byte) error) error {
	if w.err != nil {
		return w.err
	}
	for _, s := range w.cleared {
		if err := clear(s.from, s.to); err != nil {
			return err
		}
	}
	for _, k := range w.keys() {
		var err error
		if v := w.changes[k]; v != nil {
			err = put([]byte(k), v)
		} else {
			err = remove([]byte(k))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Empty reports whether nothing was written.
func (w *Writer) Empty() bool { return len(w.changes)+len(w.cleared) == 0 && w.err == nil }

func (w *Writer) keys() []string {
	if w.stale {
		w.sorted = w.sorted[:0]
		for k := range w.changes {
			w.sorted = append(w.sorted, k)
		}
		slices.Sort(w.sorted)
		w.stale = false
	}
	return w.sorted
}

func (w *Writer) gone(key []byte) bool {
	return slices.ContainsFunc(w.cleared, func(s span) bool { return s.holds(key) })
}

// Get implements rouse.KeyReader.
func (w *Writer) Get(keys ...[]byte) ([][]byte, error) {
	if w.Empty() {
		return w.base.Get(keys...)
	}
	values := make([][]byte, len(keys))
	var ask [][]byte
	var where []int
	for i, k := range keys {
		v, changed := w.changes[string(k)]
		if values[i] = v; !changed && !w.gone(k) {
			ask, where = append(ask, k), append(where, i)
		}
	}
	if len(ask) == 0 {
		return values, nil
	}
	stored, err := w.base.Get(ask...)
	for i, v := range stored {
		values[where[i]] = v
	}
	return values, err
}

// Count implements rouse.KeyReader.
func (w *Writer) Count(from, to []byte) (int64, error) {
	if s := (rouse.Span{From: from, To: to}); w.touches(s) {
		ps, err := w.Scan(s)
		return int64(len(ps)), err
	}
	return w.base.Count(from, to)
}

// touches reports whether something in s was written.
func (w *Writer) touches(s rouse.Span) bool {
	return len(w.within(s)) > 0 || slices.ContainsFunc(w.cleared, func(c span) bool {
		return (s.To == nil || bytes.Compare(c.from, s.To) < 0) && (c.to == nil || bytes.Compare(s.From, c.to) < 0)
	})
}

// within returns the changed keys in s, in ascending order.
func (w *Writer) within(s rouse.Span) []string {
	keys := w.keys()
	first := sort.SearchStrings(keys, string(s.From))
	last := len(keys)
	if s.To != nil {
		last = sort.SearchStrings(keys, string(s.To))
	}
	return keys[first:max(first, last)]
}

// Scan implements rouse.KeyReader.
func (w *Writer) Scan(s rouse.Span) ([]rouse.Pair, error) {
	if !w.touches(s) {
		return w.base.Scan(s)
	}
	mine := slices.Clone(w.within(s))
	if s.Reverse {
		slices.Reverse(mine)
	}
	before := func(a, b []byte) bool { return bytes.Compare(a, b) < 0 != s.Reverse }
	var out []rouse.Pair
	var errs []error
	size := 0
	full := func() bool { return s.Limit > 0 && len(out) >= s.Limit || s.Size > 0 && size >= s.Size }
	add := func(p rouse.Pair) {
		if p.Value != nil && !full() {
			out, size = append(out, p), size+len(p.Value)
		}
	}
	rest := s
	for !full() {
		if s.Limit > 0 {
			rest.Limit = max(s.Limit, 64) // some of them may be gone
		}
		stored, err := w.base.Scan(rest)
		if err != nil && !damaged(err) {
			return out, err
		}
		if err != nil {
			errs = append(errs, err)
		}
		for _, p := range stored {
			for len(mine) > 0 && before([]byte(mine[0]), p.Key) {
				add(rouse.Pair{Key: []byte(mine[0]), Value: w.changes[mine[0]]})
				mine = mine[1:]
			}
			switch {
			case len(mine) > 0 && mine[0] == string(p.Key):
				add(rouse.Pair{Key: p.Key, Value: w.changes[mine[0]]})
				mine = mine[1:]
			case w.gone(p.Key):
			case p.Value == nil && !full(): // damaged, as err says
				out = append(out, p)
			default:
				add(p)
			}
		}
		if len(stored) == 0 || rest.Limit == 0 && rest.Size == 0 {
			break
		}
		if last := stored[len(stored)-1].Key; s.Reverse {
			rest.To = last
		} else {
			rest.From = append(bytes.Clone(last), 0)
		}
	}
	for _, k := range mine {
		add(rouse.Pair{Key: []byte(k), Value: w.changes[k]})
	}
	return out, errors.Join(errs...)
}

// damaged reports whether a reader returned what it could beside err.
func damaged(err error) bool {
	_, ok := errors.AsType[*rouse.Error](err)
	return ok && rouse.KindOf(err) == rouse.Internal
}
