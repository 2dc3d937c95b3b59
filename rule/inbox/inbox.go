// Package inbox keeps what triggers saw until rules have been through it, and
// for a while after, so that it can be looked up and delivered once more.
package inbox

import (
	"context"
	"encoding/json"
	"hash/fnv"
	"log/slog"
	"strconv"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/internal/tuple"
	"github.com/rouse-run/rouse/stream/journal"
)

// MaxData is how many bytes of data an event has at most.
const MaxData = 1 << 20

// shards divide a namespace's events by their trigger, so that the events of one
// stay in order.
const shards = 8

// A Config says where events are kept.
type Config struct {
	Keys rouse.Keys
	Keep time.Duration    // after which events are forgotten; 0 is 7 days
	Poll time.Duration    // how often to look for what other nodes stored; 0 is 1 s
	Now  func() time.Time // nil is time.Now
	Log  *slog.Logger     // nil discards
}

// An Inbox keeps events by namespace. It implements data.Feed, for which a
// namespace's Ref has the name Name. All methods may be called concurrently.
type Inbox struct {
	Config
	waiters journal.Waiters
}

// Name is that of the one Feed of each namespace.
const Name = "events"

// New returns an Inbox; Trim must be called now and then.
func New(c Config) *Inbox {
	if c.Keep == 0 {
		c.Keep = 7 * 24 * time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Inbox{Config: c, waiters: journal.Waiters{Look: c.Poll}}
}

// A stored is what the journal holds of one event.
type stored struct {
	From  string      `json:"from"` // the trigger
	Event rouse.Event `json:"event"`
	Due   time.Time   `json:"due,omitzero"` // where it was stored ahead of that
}

// The keys: "j" a journal for each namespace and shard, "s" where an event is,
// by its ID and trigger, "v" the state of a trigger, "a" what it stored ahead.

func journalOf(ns rouse.Namespace, shard int) journal.Journal {
	return journal.Journal{Prefix: tuple.Uint(tuple.String([]byte("j"), ns), uint64(shard))}
}

func seenKey(ns rouse.Namespace, id, from string) []byte {
	return tuple.String(tuple.String(tuple.String([]byte("s"), ns), id), from)
}

func stateKey(ns rouse.Namespace, from string) []byte {
	return tuple.String(tuple.String([]byte("v"), ns), from)
}

func aheadKey(ns rouse.Namespace, from string) []byte {
	return tuple.String(tuple.String([]byte("a"), ns), from)
}

// Shard is the one in which the events of a trigger are.
func Shard(from string) string { return strconv.Itoa(shardOf(from)) }

func shardOf(from string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(from))
	return int(h.Sum32() % shards)
}

// Add stores events of what is called from, and state where it is not nil, in
// one transaction. It fills in IDs and times, and drops events whose ID came
// from there before. Errors: TooLarge, Unavailable.
func (b *Inbox) Add(ctx context.Context, from rouse.Ref, es []rouse.Event, state []byte) error {
	return b.AddMany(ctx, []event.Emission{{Trigger: from, Events: es, State: state}})[0]
}

func feedOf(ns rouse.Namespace) rouse.Ref { return rouse.Ref{Namespace: ns, Name: Name} }

// State returns what was stored last for a trigger; nil where there is nothing.
func (b *Inbox) State(ctx context.Context, from rouse.Ref) (state []byte, err error) {
	err = b.Keys.View(ctx, func(r rouse.KeyReader) error {
		vs, err := r.Get(stateKey(from.Namespace, from.Name))
		if err == nil {
			state = vs[0]
		}
		return err
	})
	return state, err
}

// Forget removes a trigger's state, so that one of that name begins afresh. What
// it stored ahead must be withdrawn before.
func (b *Inbox) Forget(ctx context.Context, from rouse.Ref) error {
	return b.Keys.Update(ctx, func(w rouse.KeyWriter) error {
		w.Delete(stateKey(from.Namespace, from.Name))
		w.Delete(aheadKey(from.Namespace, from.Name))
		return nil
	})
}

// Find returns the event of an ID. Errors: NotFound.
func (b *Inbox) Find(ctx context.Context, ns rouse.Namespace, id string) (e rouse.Event, err error) {
	prefix := tuple.String(tuple.String([]byte("s"), ns), id)
	err = b.Keys.View(ctx, func(r rouse.KeyReader) error {
		ps, err := r.Scan(rouse.Span{From: prefix, To: tuple.After(prefix), Limit: 1})
		if err != nil {
			return err
		}
		if len(ps) == 0 {
			return rouse.Errorf(rouse.NotFound, "find event", id, "there is none, or it is older than events are kept")
		}
		shard, rest, err := tuple.ReadUint(ps[0].Value)
		if err != nil {
			return err
		}
		number, _, err := tuple.ReadUint(rest)
		if err != nil {
			return err
		}
		es, err := journalOf(ns, int(shard)).Read(r, number-1, 1, 0)
		if err != nil {
			return err
		}
		if len(es) == 0 || es[0].Number != number {
			return rouse.Errorf(rouse.NotFound, "find event", id, "it is older than events are kept")
		}
		s, err := decode(es[0])
		if e = s.Event; err == nil && s.Due.After(b.Now()) {
			err = rouse.Errorf(rouse.NotFound, "find event", id, "it is still to come")
		}
		return err
	})
	return e, err
}

func decode(e journal.Entry) (s stored, err error) {
	if err = json.Unmarshal(e.Body, &s); err != nil {
		err = rouse.Errorf(rouse.Internal, "read event", strconv.FormatUint(e.Number, 10), "it is not what was stored: %w", err)
	}
	return s, err
}

// Shards implements data.Feed. A namespace has them whether or not there are
// events in it.
func (b *Inbox) Shards(context.Context, rouse.Ref) ([]data.Shard, error) {
	all := make([]data.Shard, shards)
	for i := range all {
		const size = 1 << 61 // 2^64 / shards
		all[i] = data.Shard{ID: strconv.Itoa(i), From: uint64(i) * size, To: uint64(i)*size + (size - 1)}
	}
	return all, nil
}

func readShard(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n >= shards {
		return 0, rouse.Errorf(rouse.NotFound, "read events", s, "shards are 0 to %d", shards-1)
	}
	return n, nil
}

// Read implements data.Feed.
func (b *Inbox) Read(ctx context.Context, q data.FeedQuery) (data.Batch, error) {
	shard, err := readShard(q.Shard)
	if err != nil {
		return data.Batch{}, err
	}
	if q.Limit <= 0 {
		q.Limit = 1000
	}
	q.Ref, q.Shard = feedOf(q.Ref.Namespace), strconv.Itoa(shard)
	return b.waiters.Read(ctx, q, func(ctx context.Context, q data.FeedQuery) (data.Batch, error) {
		return b.read(ctx, q, shard)
	})
}

// maxRead is about how many bytes of events one Read returns.
const maxRead = 8 << 20

func (b *Inbox) read(ctx context.Context, q data.FeedQuery, shard int) (out data.Batch, err error) {
	err = b.Keys.View(ctx, func(r rouse.KeyReader) error {
		out = data.Batch{After: q.After}
		j := journalOf(q.Ref.Namespace, shard)
		_, next, err := j.Bounds(r)
		if err != nil {
			return err
		}
		out.Newest = next - 1
		es, err := j.Read(r, q.After, q.Limit, maxRead)
		if err != nil {
			if es == nil {
				return err
			}
			b.Log.Error("events are damaged and passed over", "namespace", q.Ref.Namespace, "shard", shard, "error", err)
		}
		for _, e := range es {
			if out.After = e.Number; len(e.Body) == 0 {
				continue // withdrawn
			}
			s, err := decode(e)
			if err != nil {
				b.Log.Error("an event is damaged and passed over", "namespace", q.Ref.Namespace, "shard", shard, "error", err)
				continue
			}
			out.Entries = append(out.Entries, data.Entry{Sequence: e.Number, Key: s.From, Event: s.Event, Stored: e.Time, Due: s.Due})
		}
		if len(es) == 0 {
			out.After = max(out.After, out.Newest) // nothing but what is damaged or gone
		}
		return nil
	})
	return out, err
}

// Seek implements data.Feed.
func (b *Inbox) Seek(ctx context.Context, r rouse.Ref, shard string, t time.Time) (after uint64, err error) {
	n, err := readShard(shard)
	if err != nil {
		return 0, err
	}
	err = b.Keys.View(ctx, func(k rouse.KeyReader) (err error) {
		after, err = journalOf(r.Namespace, n).Seek(k, t)
		return err
	})
	return after, err
}

// trimAtOnce is how many events one transaction of Trim forgets.
const trimAtOnce = 500

// Trim forgets the events of a namespace that are too old.
func (b *Inbox) Trim(ctx context.Context, ns rouse.Namespace) error {
	before := b.Now().Add(-b.Keep)
	for shard := range shards {
		for more := true; more; {
			err := b.Keys.Update(ctx, func(w rouse.KeyWriter) error {
				more = false
				j := journalOf(ns, shard)
				first, _, err := j.Bounds(w)
				if err != nil {
					return err
				}
				es, err := j.Read(w, first-1, trimAtOnce, maxRead)
				if err != nil && es == nil {
					return err
				}
				for i, e := range es {
					if !e.Time.Before(before) {
						es = es[:i]
						break
					}
					if s, err := decode(e); err == nil {
						w.Delete(seenKey(ns, s.Event.ID, s.From))
					}
				}
				if len(es) == 0 {
					return nil
				}
				_, err = j.Trim(w, before, int(es[len(es)-1].Number-first+1))
				more = len(es) == trimAtOnce
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
