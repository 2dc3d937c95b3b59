package bucket

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/internal/tuple"
	"github.com/rouse-run/rouse/stream/journal"
)

const (
	feedShards = 4       // of a bucket
	maxEntries = 1000    // of one Read
	maxBytes   = 4 << 20 // of its bodies
)

// A change is an event as it is stored.
type change struct {
	removed, marker, copied bool
	key, etag, version      string
	size                    int64
}

const changeVersion = 1

// Bits of a change's flags.
const (
	changeRemoved = 1 << iota
	changeMarker
	changeCopied
)

func (c change) encode() []byte {
	b := []byte{changeVersion, flag(c.removed, changeRemoved) | flag(c.marker, changeMarker) | flag(c.copied, changeCopied)}
	for _, s := range []string{c.key, c.etag, c.version} {
		b = appendText(b, s)
	}
	return tuple.Int(b, c.size)
}

func decodeChange(b []byte) (c change, err error) {
	d := decoder{rest: b}
	version, flags := d.byte(), d.byte()
	c = change{removed: flags&changeRemoved != 0, marker: flags&changeMarker != 0, copied: flags&changeCopied != 0, key: d.text(), etag: d.text(), version: d.text()}
	if d.broken || version != changeVersion || len(d.rest) != 8 {
		return c, errBroken
	}
	c.size, _, err = tuple.ReadInt(d.rest)
	return c, err
}

// A ledger gathers the events of a transaction, for the feed.
type ledger struct {
	now     time.Time
	cause   event.Cause
	batches []journal.Batch
	at      map[feedShard]int // of a shard's batch
}

// add notes what happened to an object, of which rec is what came or went.
func (l *ledger) add(d *definition, key string, rec *record, c change) {
	if d.Changes < 0 {
		return
	}
	c.key, c.etag, c.size = key, rec.etag, rec.size()
	shard := feedShard{d.ID, shardOf(key)}
	n, ok := l.at[shard]
	if !ok {
		if l.at == nil {
			l.at = map[feedShard]int{}
		}
		n = len(l.batches)
		l.at[shard] = n
		l.batches = append(l.batches, journal.Batch{Journal: journalOf(shard)})
	}
	l.batches[n].Bodies = append(l.batches[n].Bodies, l.cause.Wrap(c.encode()))
}

func (l *ledger) append(w rouse.KeyWriter) error {
	if len(l.batches) == 0 {
		return nil
	}
	_, err := journal.AppendAll(w, l.now, l.batches)
	return err
}

func shardOf(key string) int { return int(sha256.Sum256([]byte(key))[0]) * feedShards >> 8 }

func journalOf(f feedShard) journal.Journal {
	return journal.Journal{Prefix: append(idKey(journalKind, f.bucket), byte(f.shard))}
}

// A feedShard is one shard of a bucket's feed.
type feedShard struct {
	bucket uint64
	shard  int
}

// wake wakes those who wait for what a task has added.
func (b *Buckets) wake(t *task) {
	for at := range t.log.at {
		b.waiters.Wake(t.bucket, strconv.Itoa(at.shard))
	}
}

// kept is how long a bucket's feed keeps an event; 0 is that it has none.
func (d *definition) kept() time.Duration {
	switch {
	case d.Changes < 0:
		return 0
	case d.Changes == 0:
		return keepChanges
	}
	return time.Duration(d.Changes)
}

func (d *definition) shard(id string) (feedShard, error) {
	for i := range feedShards {
		if strconv.Itoa(i) == id && d.kept() > 0 {
			return feedShard{d.ID, i}, nil
		}
	}
	return feedShard{}, rouse.Errorf(rouse.NotFound, "read events", d.Ref.String(), "there is no shard %q; a bucket that keeps no events has none", id)
}

// Shards implements data.Feed: there is always the same number of them, and
// each holds the events of a range of the hashes of keys. Errors: NotFound, also
// where the bucket keeps no events.
func (b *Buckets) Shards(ctx context.Context, r rouse.Ref) ([]data.Shard, error) {
	d, err := b.Bucket(ctx, r)
	if err != nil {
		return nil, err
	}
	if d.Changes < 0 {
		return nil, rouse.Errorf(rouse.NotFound, "list shards", r.String(), "the bucket keeps no events: set how long it shall")
	}
	shards := make([]data.Shard, feedShards)
	const width = 1 << 62 // a fourth of all, as there are four
	for i := range shards {
		shards[i] = data.Shard{ID: strconv.Itoa(i), From: uint64(i) * width, To: uint64(i)*width + (width - 1)}
	}
	return shards, nil
}

// Read implements data.Feed.
func (b *Buckets) Read(ctx context.Context, q data.FeedQuery) (data.Batch, error) {
	if q.Limit <= 0 || q.Limit > maxEntries {
		q.Limit = maxEntries
	}
	return b.waiters.Read(ctx, q, b.read)
}

func (b *Buckets) read(ctx context.Context, q data.FeedQuery) (out data.Batch, err error) {
	err = b.keys.View(ctx, func(r rouse.KeyReader) error {
		d, err := b.load(r, q.Ref)
		if err != nil {
			return err
		}
		at, err := d.shard(q.Shard)
		if err != nil {
			return err
		}
		j := journalOf(at)
		_, next, err := j.Bounds(r)
		if err != nil {
			return err
		}
		out = data.Batch{After: q.After, Newest: next - 1}
		if q.After >= out.Newest {
			return nil
		}
		entries, err := j.Read(r, q.After, q.Limit, maxBytes)
		if err != nil && len(entries) == 0 {
			return err
		}
		if err != nil { // those beside it are whole
			b.log.Error("read events", "bucket", q.Ref.String(), "shard", q.Shard, "error", err)
		}
		for _, e := range entries {
			out.After = e.Number
			entry, err := d.event(q.Shard, e)
			if err != nil {
				b.log.Error("read event", "bucket", q.Ref.String(), "shard", q.Shard, "number", e.Number, "error", err)
				continue
			}
			out.Entries = append(out.Entries, entry)
		}
		return nil
	})
	return out, err
}

// event makes what is stored an Event.
func (d *definition) event(shard string, e journal.Entry) (data.Entry, error) {
	cause, change, err := event.Unwrap(e.Body)
	if err != nil {
		return data.Entry{}, err
	}
	c, err := decodeChange(change)
	if err != nil {
		return data.Entry{}, err
	}
	body, err := json.Marshal(data.ObjectChange{Key: c.key, Size: c.size, ETag: c.etag, Version: c.version, Marker: c.marker, Copied: c.copied})
	if err != nil {
		return data.Entry{}, err
	}
	kind := "object.created"
	if c.removed {
		kind = "object.removed"
	}
	return data.Entry{
		Sequence: e.Number,
		Key:      c.key,
		Event: rouse.Event{
			ID:      fmt.Sprintf("%s/%s/%s/%d", d.Namespace, d.Name, shard, e.Number),
			Type:    kind,
			Source:  "bucket:" + d.Name,
			Subject: c.key,
			Time:    e.Time,
			Data:    body,

			Attributes: cause.In(nil),
		},
	}, nil
}

// Seek implements data.Feed.
func (b *Buckets) Seek(ctx context.Context, r rouse.Ref, shard string, t time.Time) (after uint64, err error) {
	err = b.keys.View(ctx, func(k rouse.KeyReader) error {
		d, err := b.load(k, r)
		if err != nil {
			return err
		}
		at, err := d.shard(shard)
		if err == nil {
			after, err = journalOf(at).Seek(k, t)
		}
		return err
	})
	return after, err
}
