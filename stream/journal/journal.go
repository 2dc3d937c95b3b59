// Package journal keeps ordered lists in a rouse.Keys, as a part of the
// transactions of those who use it.
package journal

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/tuple"
)

// A Journal is an ordered list under a prefix, which no other key may begin
// with. It has no state of its own and need not be made. Its entries are
// numbered from 1 without gaps; their times never decrease.
type Journal struct{ Prefix []byte }

// An Entry is what was appended once.
type Entry struct {
	Number uint64
	Time   time.Time // as precise as a microsecond
	Body   []byte
}

// Under the prefix: "e" and a number is an entry, "h" the head, which every
// Append writes, and "t" the number of the last entry that was trimmed. They
// are apart so that trimming does not hold up who appends.
const (
	entryKind   = 'e'
	headKind    = 'h'
	trimmedKind = 't'
)

func (j Journal) key(kind byte) []byte {
	return append(slices.Clip(j.Prefix), kind)
}

func (j Journal) entryKey(number uint64) []byte {
	return tuple.Uint(j.key(entryKind), number)
}

// A head is the number of the next entry and the time of the last.
type head struct {
	next uint64
	last int64 // microseconds
}

// freshHead is that of a Journal to which nothing was appended.
var freshHead = head{next: 1, last: math.MinInt64}

var errBroken = errors.New("what is stored is not what a journal writes")

func (h head) encode() []byte { return tuple.Int(tuple.Uint(nil, h.next), h.last) }

// decodeHead takes nil for the head of a fresh Journal.
func decodeHead(b []byte) (head, error) {
	if b == nil {
		return freshHead, nil
	}
	next, rest, err := tuple.ReadUint(b)
	if err != nil || next == 0 || len(rest) != 8 {
		return head{}, errBroken
	}
	last, _, err := tuple.ReadInt(rest)
	return head{next, last}, err
}

// decodeTrimmed takes nil for the number of a Journal that was never trimmed.
func decodeTrimmed(b []byte) (uint64, error) {
	if b == nil {
		return 0, nil
	}
	n, rest, err := tuple.ReadUint(b)
	if err != nil || len(rest) > 0 || n == math.MaxUint64 {
		return 0, errBroken
	}
	return n, nil
}

func encodeEntry(micros int64, body []byte) []byte {
	return append(tuple.Int(make([]byte, 0, 8+len(body)), micros), body...)
}

func (j Journal) number(key []byte) (uint64, error) {
	if len(key) != len(j.Prefix)+9 {
		return 0, errBroken
	}
	n, _, err := tuple.ReadUint(key[len(key)-8:])
	return n, err
}

// decodeEntry returns an entry whose Body is a part of the pair's value.
func (j Journal) decodeEntry(p rouse.Pair) (Entry, error) {
	n, err := j.number(p.Key)
	if err != nil {
		return Entry{}, err
	}
	micros, body, err := tuple.ReadInt(p.Value)
	if err != nil {
		return Entry{}, errBroken
	}
	return Entry{n, time.UnixMicro(micros).UTC(), slices.Clip(body)}, nil
}

// A Batch is what to append to one Journal. The Bodies are copied.
type Batch struct {
	Journal
	Bodies [][]byte
}

// AppendAll appends to several Journals, of which none may come twice, and
// returns the number of each one's first new entry. It reads once for all.
func AppendAll(w rouse.KeyWriter, now time.Time, batches []Batch) (firsts []uint64, err error) {
	keys := make([][]byte, len(batches))
	for i, b := range batches {
		keys[i] = b.key(headKind)
	}
	values, damage := w.Get(keys...)
	if len(values) != len(keys) {
		return nil, damage
	}
	firsts = make([]uint64, len(batches))
	for i, b := range batches {
		h, err := decodeHead(values[i])
		if err != nil || values[i] == nil && damage != nil {
			if _, h, err = b.recover(w); err != nil {
				return nil, err
			}
		}
		firsts[i] = h.next
		h.last = max(h.last, now.UnixMicro())
		for _, body := range b.Bodies {
			w.Put(b.entryKey(h.next), encodeEntry(h.last, body))
			h.next++
		}
		w.Put(keys[i], h.encode())
	}
	return firsts, nil
}

// Append adds bodies and returns the number of the first of them. Where the
// clock went back the entries have the time of the one before.
func (j Journal) Append(w rouse.KeyWriter, now time.Time, bodies ...[]byte) (first uint64, err error) {
	firsts, err := AppendAll(w, now, []Batch{{j, bodies}})
	if err != nil {
		return 0, err
	}
	return firsts[0], nil
}

// bounds returns the number of the first entry that was not trimmed, and the
// head.
func (j Journal) bounds(r rouse.KeyReader) (first uint64, h head, err error) {
	values, err := r.Get(j.key(headKind), j.key(trimmedKind))
	if len(values) != 2 {
		return 0, h, err
	}
	h, broken := decodeHead(values[0])
	trimmed, brokenToo := decodeTrimmed(values[1])
	if err != nil || broken != nil || brokenToo != nil {
		return j.recover(r)
	}
	return min(trimmed+1, h.next), h, nil
}

// recover makes what bounds returns of the entries, where it is damaged itself.
func (j Journal) recover(r rouse.KeyReader) (first uint64, h head, err error) {
	from, to := j.entryKey(0), tuple.After(j.key(entryKind))
	ends := [2]uint64{}
	h = freshHead
	for i := range ends {
		pairs, err := r.Scan(rouse.Span{From: from, To: to, Limit: 1, Reverse: i == 1})
		if len(pairs) == 0 {
			if err != nil {
				return 0, h, err
			}
			continue
		}
		if ends[i], err = j.number(pairs[0].Key); err != nil {
			return 0, h, err
		}
		if e, err := j.decodeEntry(pairs[0]); err == nil {
			h.last = e.Time.UnixMicro()
		}
	}
	values, err := r.Get(j.key(trimmedKind))
	if len(values) != 1 {
		return 0, h, err
	}
	trimmed, _ := decodeTrimmed(values[0])
	h.next = max(ends[1], trimmed) + 1
	if first = ends[0]; first == 0 {
		first = h.next
	}
	return first, h, nil
}

// Blank takes away the Body of an Entry, as Read returned it. Its number and time
// stay.
func (j Journal) Blank(w rouse.KeyWriter, e Entry) {
	w.Put(j.entryKey(e.Number), encodeEntry(e.Time.UnixMicro(), nil))
}

// Bounds returns the number of the first entry and that of the next one to be
// appended; they are the same where there is none.
func (j Journal) Bounds(r rouse.KeyReader) (first, next uint64, err error) {
	first, h, err := j.bounds(r)
	return first, h.next, err
}

// Read returns up to limit entries, 0 is all, after a number, and no more once
// their bodies have size bytes; 0 is any. Entries that are damaged are passed
// over: the others are returned beside an Error that names them. Where it
// returns fewer than limit and less than size, there is nothing after them.
func (j Journal) Read(r rouse.KeyReader, after uint64, limit, size int) ([]Entry, error) {
	if after == math.MaxUint64 {
		return nil, nil
	}
	s := rouse.Span{From: j.entryKey(after + 1), To: tuple.After(j.key(entryKind)), Limit: limit, Size: size}
	var entries []Entry
	var bad []error
	for {
		pairs, err := r.Scan(s)
		if err != nil {
			bad = append(bad, err)
		}
		for _, p := range pairs {
			e, broken := j.decodeEntry(p)
			if broken == nil {
				entries = append(entries, e)
			} else if p.Value != nil { // of one that has none, Scan has said so
				err = rouse.Errorf(rouse.Internal, "read journal", fmt.Sprintf("key %x", p.Key), "%w", broken)
				bad = append(bad, err)
			}
			s.Size -= len(p.Value)
		}
		if len(pairs) == 0 || err == nil || len(entries) == limit || size > 0 && s.Size <= 0 {
			return entries, errors.Join(bad...)
		}
		// Others may follow in the place of those that are damaged.
		s.From = append(slices.Clip(pairs[len(pairs)-1].Key), 0)
		s.Limit, s.Size = max(limit-len(entries), 0), max(s.Size, 0)
	}
}

// Seek returns the number after which to read what was appended at t or later.
func (j Journal) Seek(r rouse.KeyReader, t time.Time) (after uint64, err error) {
	first, h, err := j.bounds(r)
	if err != nil {
		return 0, err
	}
	if h.next > first && t.UnixMicro() > h.last {
		return h.next - 1, nil
	}
	return j.seek(r, t, first, h.next)
}

// seek returns the number of the last entry, of those from low up to and
// without high, that is older than t; low-1 where there is none.
func (j Journal) seek(r rouse.KeyReader, t time.Time, low, high uint64) (uint64, error) {
	for probe := low; low < high; probe = low + (high-low)/2 {
		e, err := j.intact(r, probe, high)
		switch {
		case err != nil:
			return 0, err
		case e.Number == 0 || e.Time.UnixMicro() >= t.UnixMicro(): // damaged ones count as their neighbours after them
			high = probe
		default:
			low = e.Number + 1
		}
	}
	return low - 1, nil
}

// intact returns the first entry that is not damaged of those from low up to
// and without high; one of Number 0 where there is none.
func (j Journal) intact(r rouse.KeyReader, low, high uint64) (Entry, error) {
	for ; low < high; low++ {
		pairs, err := r.Scan(rouse.Span{From: j.entryKey(low), To: j.entryKey(high), Limit: 1})
		if len(pairs) == 0 {
			return Entry{}, err
		}
		e, err := j.decodeEntry(pairs[0])
		if err == nil {
			return e, nil
		}
		if low, err = j.number(pairs[0].Key); err != nil {
			return Entry{}, err
		}
	}
	return Entry{}, nil
}

// Trim removes entries older than before, oldest first and at most so many, and
// says how many it removed.
func (j Journal) Trim(w rouse.KeyWriter, before time.Time, most int) (n int, err error) {
	first, h, err := j.bounds(w)
	if err != nil || most <= 0 {
		return 0, err
	}
	last, err := j.seek(w, before, first, min(h.next, first+uint64(most)))
	if err != nil || last < first {
		return 0, err
	}
	w.Clear(j.entryKey(first), j.entryKey(last+1))
	w.Put(j.key(trimmedKind), tuple.Uint(nil, last))
	return int(last - first + 1), nil
}

// Remove removes all entries; the next one appended is the first again.
func (j Journal) Remove(w rouse.KeyWriter) { w.Clear(j.Prefix, tuple.After(j.Prefix)) }
