// Package pending holds what a transaction over rouse.Keys has written and not
// yet committed, and lets it be read together with what is stored. A driver
// makes the changes only where the transaction succeeds.
package pending

import (
	"bytes"
	"errors"
	"slices"
	"sort"
	"strings"

	"github.com/rouse-run/rouse"
)

const (
	maxKey   = 2560
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
	if len(stored) != len(ask) { // it could not be asked; what is damaged comes as nil
		return nil, err
	}
	for i, v := range stored {
		values[where[i]] = v
	}
	return values, err
}

// Count implements rouse.KeyReader. It reads the values of changed keys only,
// but where something was cleared.
func (w *Writer) Count(from, to []byte) (int64, error) {
	s := rouse.Span{From: from, To: to}
	if w.clears(s) {
		return w.countPairs(s)
	}
	n, err := w.base.Count(from, to)
	mine := w.within(s)
	if err != nil || len(mine) == 0 {
		return n, err
	}
	keys := make([][]byte, len(mine))
	for i, k := range mine {
		keys[i] = []byte(k)
	}
	stored, err := w.base.Get(keys...)
	if err != nil { // one that is damaged can't be told from one that is not there
		return w.countPairs(s)
	}
	for i, k := range mine {
		if stored[i] != nil {
			n--
		}
		if w.changes[k] != nil {
			n++
		}
	}
	return n, nil
}

// countPairs counts what Scan returns, damaged ones as well.
func (w *Writer) countPairs(s rouse.Span) (int64, error) {
	ps, err := w.Scan(s)
	if damaged(err) {
		err = nil
	}
	return int64(len(ps)), err
}

// clears reports whether something in s was cleared.
func (w *Writer) clears(s rouse.Span) bool {
	return slices.ContainsFunc(w.cleared, func(c span) bool {
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
	mine := slices.Clone(w.within(s))
	if len(mine) == 0 && !w.clears(s) {
		return w.base.Scan(s)
	}
	if s.Reverse {
		slices.Reverse(mine)
	}
	m := merge{w: w, span: s, mine: mine}
	for rest := s; !m.full() && w.skip(&rest); {
		if s.Limit > 0 { // as many as there may be among them that are gone or changed
			rest.Limit = s.Limit + min(len(m.mine), 64)
		}
		stored, err := w.base.Scan(rest)
		if err != nil && !damaged(err) {
			return nil, err
		}
		for _, p := range stored {
			m.add(p)
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
	m.rest()
	return m.out, w.damage(m.out)
}

// damage returns the Error of those pairs that are damaged. That of a Scan would
// be of others as well: of those that are written over or gone by now, and of
// those that follow what was asked for.
func (w *Writer) damage(ps []rouse.Pair) error {
	var keys [][]byte
	for _, p := range ps {
		if p.Value == nil {
			keys = append(keys, p.Key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	_, err := w.base.Get(keys...)
	return err
}

// skip moves the end at which s is read out of what was cleared, and reports
// whether anything is left of it.
func (w *Writer) skip(s *rouse.Span) bool {
	for again := true; again; {
		again = false
		for _, c := range w.cleared {
			switch {
			case s.Reverse && (c.to == nil || s.To != nil && bytes.Compare(s.To, c.to) <= 0) && (s.To == nil || bytes.Compare(c.from, s.To) < 0):
				s.To, again = append([]byte{}, c.from...), true
			case !s.Reverse && c.holds(s.From):
				if s.From, again = c.to, true; c.to == nil {
					return false
				}
			}
		}
	}
	return s.To == nil || bytes.Compare(s.From, s.To) < 0
}

// A merge puts what is stored and what was written in one order.
type merge struct {
	w    *Writer
	span rouse.Span
	mine []string // changed keys that are to come, in the order of the span
	out  []rouse.Pair
	size int
}

func (m *merge) full() bool {
	return m.span.Limit > 0 && len(m.out) >= m.span.Limit || m.span.Size > 0 && m.size >= m.span.Size
}

func (m *merge) put(p rouse.Pair) {
	if !m.full() {
		m.out, m.size = append(m.out, p), m.size+len(p.Value)
	}
}

// next takes the first of mine.
func (m *merge) next() {
	if v := m.w.changes[m.mine[0]]; v != nil {
		m.put(rouse.Pair{Key: []byte(m.mine[0]), Value: v})
	}
	m.mine = m.mine[1:]
}

// add takes the next pair that is stored, and mine before it. The Value of a
// damaged one is nil.
func (m *merge) add(p rouse.Pair) {
	for len(m.mine) > 0 {
		order := strings.Compare(m.mine[0], string(p.Key))
		if order == 0 {
			m.next()
			return
		}
		if order > 0 != m.span.Reverse {
			break
		}
		m.next()
	}
	if !m.w.gone(p.Key) {
		m.put(p)
	}
}

// rest takes what is left of mine.
func (m *merge) rest() {
	for len(m.mine) > 0 && !m.full() {
		m.next()
	}
}

// damaged reports whether a reader returned what it could beside err.
func damaged(err error) bool {
	_, ok := errors.AsType[*rouse.Error](err)
	return ok && rouse.KindOf(err) == rouse.Internal
}

// Wrote reports whether key was put, deleted or cleared.
func (w *Writer) Wrote(key []byte) bool {
	_, changed := w.changes[string(key)]
	return changed || w.gone(key)
}

// WroteIn reports whether a key from the key "from" up to, and without, the key
// "to" was put, deleted or cleared.
func (w *Writer) WroteIn(from, to []byte) bool {
	s := rouse.Span{From: from, To: to}
	return w.clears(s) || len(w.within(s)) > 0
}

// Apply makes the changes of a Writer whose base is to, or what to has read, in
// to. An error is one of what was written; to is then as it was.
func (w *Writer) Apply(to *Writer) error {
	return w.Changes(
		func(from, end []byte) error { to.Clear(from, end); return nil },
		func(key, value []byte) error { to.Put(key, value); return nil },
		func(key []byte) error { to.Delete(key); return nil })
}
