package stream

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/decoded"
	"github.com/rouse-run/rouse/internal/tuple"
	"github.com/rouse-run/rouse/stream/journal"
)

// The kinds of keys: "s", a namespace and a name is a document; "j", the
// document's ID and a shard's number is a journal; "g" and an ID says that the
// stream was removed and that its journals are to be cleared.
const (
	documentKind = 's'
	journalKind  = 'j'
	garbageKind  = 'g'
)

// A document is what is stored of a stream but its records. One that was loaded
// is shared and must not be changed.
type document struct {
	Stream data.Stream `json:"stream"` // whose Shards do not count
	ID     uint64      `json:"id"`     // not that of an earlier stream of the same name
	Next   uint64      `json:"next"`   // the number of the next shard
	Shards []shard     `json:"shards"` // by number: parents before children

	open []int // indexes of the open Shards, by hash key
}

type shard struct {
	Number  uint64    `json:"number"`
	From    uint64    `json:"from"`
	To      uint64    `json:"to"`
	Parents []uint64  `json:"parents,omitempty"`
	Closed  time.Time `json:"closed,omitzero"`

	id string
}

func shardID(number uint64) string { return fmt.Sprintf("%012d", number) }

func documentKey(r rouse.Ref) []byte {
	return tuple.String(tuple.String([]byte{documentKind}, r.Namespace), r.Name)
}

// decodeDocument takes the name of the key: JSON has no word for all bytes.
func decodeDocument(p rouse.Pair) (*document, error) {
	broken := func(err error) (*document, error) {
		return nil, rouse.Errorf(rouse.Internal, "read stream", fmt.Sprintf("key %x", p.Key), "its document is broken: %w", err)
	}
	ns, rest, err := tuple.ReadString(bytes.TrimPrefix(p.Key, []byte{documentKind}))
	if err != nil {
		return broken(err)
	}
	name, _, err := tuple.ReadString(rest)
	if err != nil {
		return broken(err)
	}
	d := &document{}
	if err := json.Unmarshal(p.Value, d); err != nil {
		return broken(err)
	}
	d.Stream.Ref = rouse.Ref{Namespace: rouse.Namespace(ns), Name: string(name)}
	d.index()
	if len(d.open) == 0 || d.Shards[d.open[0]].From != 0 {
		return broken(errors.New("no shard takes the first hash key"))
	}
	return d, nil
}

// index makes what is not stored.
func (d *document) index() {
	d.open = nil
	for i := range d.Shards {
		s := &d.Shards[i]
		s.id = shardID(s.Number)
		if s.Closed.IsZero() {
			d.open = append(d.open, i)
		}
	}
	slices.SortFunc(d.open, func(a, b int) int { return cmp.Compare(d.Shards[a].From, d.Shards[b].From) })
}

func (d *document) clone() *document {
	c := *d
	c.Shards = slices.Clone(d.Shards)
	return &c
}

func (d *document) save(w rouse.KeyWriter) error {
	d.index()
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	w.Put(documentKey(d.Stream.Ref), b)
	return nil
}

func (d *document) stream() data.Stream {
	s := d.Stream
	s.Shards = len(d.open)
	return s
}

// route returns the index of the open shard that takes a hash key.
func (d *document) route(hash uint64) int {
	i := sort.Search(len(d.open), func(i int) bool { return d.Shards[d.open[i]].From > hash })
	return d.open[i-1]
}

func (d *document) journal(s *shard) journal.Journal {
	return journal.Journal{Prefix: tuple.Uint(tuple.Uint([]byte{journalKind}, d.ID), s.Number)}
}

// shard returns the one of an id; nil where it is forgotten. Errors: NotFound.
func (d *document) shard(op, id string) (*shard, error) {
	for i := range d.Shards {
		if d.Shards[i].id == id {
			return &d.Shards[i], nil
		}
	}
	if number, err := strconv.ParseUint(id, 10, 64); err == nil && shardID(number) == id && number < d.Next {
		return nil, nil
	}
	return nil, rouse.Errorf(rouse.NotFound, op, d.Stream.Ref.String(), "shard: there is none named %q", id)
}

// openShard returns one that takes records.
func (d *document) openShard(op, id string) (*shard, error) {
	s, err := d.shard(op, id)
	if err != nil {
		return nil, err
	}
	if s == nil || !s.Closed.IsZero() {
		return nil, rouse.Errorf(rouse.Conflict, op, d.Stream.Ref.String(), "shard: %q is closed", id)
	}
	return s, nil
}

func (d *document) add(from, to uint64, parents ...uint64) {
	d.Shards = append(d.Shards, shard{Number: d.Next, From: from, To: to, Parents: parents, id: shardID(d.Next)})
	d.Next++
}

func (d *document) split(id string, at uint64, now time.Time) error {
	const op = "split shard"
	s, err := d.openShard(op, id)
	if err != nil {
		return err
	}
	if at <= s.From || at > s.To {
		return rouse.Errorf(rouse.Invalid, op, d.Stream.Ref.String(), "at: %d is not above %d, the shard's first hash key, and up to %d, its last", at, s.From, s.To)
	}
	if err := checkShards(op, d.Stream.Ref, len(d.open)+1); err != nil {
		return err
	}
	s.Closed = now
	from, to, parent := s.From, s.To, s.Number
	d.add(from, at-1, parent)
	d.add(at, to, parent)
	return nil
}

func (d *document) merge(a, b string, now time.Time) error {
	const op = "merge shards"
	x, err := d.openShard(op, a)
	if err != nil {
		return err
	}
	y, err := d.openShard(op, b)
	if err != nil {
		return err
	}
	if x.From > y.From {
		x, y = y, x
	}
	if x == y || x.To+1 != y.From {
		return rouse.Errorf(rouse.Invalid, op, d.Stream.Ref.String(), "shards: the hash keys of %q and %q don't adjoin", a, b)
	}
	x.Closed, y.Closed = now, now
	d.add(x.From, y.To, x.Number, y.Number)
	return nil
}

// scale leaves open n shards of the same size. All that a new one takes over
// hash keys of are its parents.
func (d *document) scale(n int, now time.Time) {
	d.index()
	type span struct{ from, to uint64 }
	wanted := map[span]bool{}
	var order []span
	for i := range uint64(n) {
		at := span{0, math.MaxUint64}
		at.from, _ = bits.Div64(i, 0, uint64(n)) // the i-th part of 2 to the 64
		if i+1 < uint64(n) {
			at.to, _ = bits.Div64(i+1, 0, uint64(n))
			at.to--
		}
		order, wanted[at] = append(order, at), true
	}
	var closing []shard
	for _, i := range d.open {
		s := &d.Shards[i]
		if at := (span{s.From, s.To}); wanted[at] {
			delete(wanted, at)
			continue
		}
		s.Closed = now
		closing = append(closing, *s)
	}
	for _, s := range order {
		if !wanted[s] {
			continue
		}
		var parents []uint64
		for _, c := range closing {
			if c.From <= s.to && s.from <= c.To {
				parents = append(parents, c.Number)
			}
		}
		d.add(s.from, s.to, parents...)
	}
}

// documents remember what stored bytes mean. The zero value remembers none.
type documents struct {
	decoded.Cache[rouse.Ref, *document]
}

// load reads the document of a stream. Errors: NotFound.
func (ds *documents) load(r rouse.KeyReader, ref rouse.Ref) (*document, error) {
	key := documentKey(ref)
	values, err := r.Get(key)
	if err != nil {
		return nil, err
	}
	stored := values[0]
	if stored == nil {
		return nil, rouse.Errorf(rouse.NotFound, "find stream", ref.String(), "there is no stream of this name")
	}
	return ds.Get(ref, stored, func() (*document, error) { return decodeDocument(rouse.Pair{Key: key, Value: stored}) })
}
