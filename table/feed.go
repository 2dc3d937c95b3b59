package table

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/stream/journal"
)

const (
	maxEntries = 1000    // of one Read
	maxBytes   = 4 << 20 // of its bodies
)

// A feedShard is one shard of a table's feed.
type feedShard struct {
	table uint64
	shard int
}

// wake wakes those who wait for a change such as c.
func (t *Tables) wake(c *change) { t.waiters.Wake(c.def.Ref, strconv.Itoa(shardOf(c.tail))) }

// Shards implements data.Feed: there is always the same number of them, and
// each holds the changes of a range of the hashes of partition keys. Errors:
// NotFound, also where the table keeps no changes.
func (t *Tables) Shards(ctx context.Context, r rouse.Ref) ([]data.Shard, error) {
	d, err := t.Table(ctx, r)
	if err != nil {
		return nil, err
	}
	if d.Changes <= 0 {
		return nil, rouse.Errorf(rouse.NotFound, "list shards", r.String(), "the table keeps no changes: set how long it shall")
	}
	shards := make([]data.Shard, feedShards)
	const width = 1 << 62 // a fourth of all, as there are four
	for i := range shards {
		shards[i] = data.Shard{ID: strconv.Itoa(i), From: uint64(i) * width, To: uint64(i)*width + (width - 1)}
	}
	return shards, nil
}

// shard finds the journal of a shard in a transaction.
func (t *Tables) shard(r rouse.KeyReader, ref rouse.Ref, id string) (*definition, feedShard, error) {
	d, err := t.load(r, ref)
	if err != nil {
		return nil, feedShard{}, err
	}
	at, err := d.shard(id)
	return d, at, err
}

func (d *definition) shard(id string) (feedShard, error) {
	for i := range feedShards {
		if strconv.Itoa(i) == id && d.Changes > 0 {
			return feedShard{d.ID, i}, nil
		}
	}
	return feedShard{}, rouse.Errorf(rouse.NotFound, "read changes", d.Ref.String(), "there is no shard %q; a table that keeps no changes has none", id)
}

// Read implements data.Feed.
func (t *Tables) Read(ctx context.Context, q data.FeedQuery) (data.Batch, error) {
	if q.Limit <= 0 || q.Limit > maxEntries {
		q.Limit = maxEntries
	}
	return t.waiters.Read(ctx, q, t.read)
}

func (t *Tables) read(ctx context.Context, q data.FeedQuery) (b data.Batch, err error) {
	on := q.Ref.String() + "/" + q.Shard
	err = t.keys.View(ctx, func(r rouse.KeyReader) error {
		d, at, err := t.shard(r, q.Ref, q.Shard)
		if err != nil {
			return err
		}
		j := journalOf(at)
		_, next, err := j.Bounds(r)
		if err != nil {
			return err
		}
		b = data.Batch{After: q.After, Newest: next - 1}
		if q.After >= b.Newest {
			return nil
		}
		entries, err := j.Read(r, q.After, q.Limit, maxBytes)
		if len(entries) == 0 && err != nil {
			return err
		}
		if err != nil { // those beside it are whole
			t.log.Error("read changes", "table", on, "error", err)
		}
		t.describe(&b, d, q.Shard, entries)
		return nil
	})
	return b, err
}

// describe puts what was read into b.
func (t *Tables) describe(b *data.Batch, d *definition, shard string, entries []journal.Entry) {
	for _, e := range entries {
		b.After = e.Number
		entry, err := d.event(shard, e)
		if err != nil {
			t.log.Error("read change", "table", d.Ref.String(), "shard", shard, "number", e.Number, "error", err)
			continue
		}
		b.Entries = append(b.Entries, entry)
	}
}

// event makes what a change says to others.
func (d *definition) event(shard string, e journal.Entry) (data.Entry, error) {
	cause, change, err := event.Unwrap(e.Body)
	if err != nil {
		return data.Entry{}, err
	}
	from, to, expired, err := decodeChange(change)
	if err != nil {
		return data.Entry{}, err
	}
	kind, item := "table.modified", to
	switch {
	case from == nil:
		kind = "table.inserted"
	case to == nil:
		kind, item = "table.removed", from
	}
	key := d.keyOf(item)
	subject, err := json.Marshal(key)
	if err != nil {
		return data.Entry{}, err
	}
	partition, err := json.Marshal(item[d.Key.Name])
	if err != nil {
		return data.Entry{}, err
	}
	body, err := json.Marshal(data.TableChange{Key: key, Old: from, New: to, Expired: expired})
	if err != nil {
		return data.Entry{}, err
	}
	return data.Entry{
		Sequence: e.Number,
		Key:      string(partition),
		Event: rouse.Event{
			ID:      fmt.Sprintf("%s/%s/%s/%d", d.Namespace, d.Name, shard, e.Number),
			Type:    kind,
			Source:  "table:" + d.Name,
			Subject: string(subject),
			Time:    e.Time,
			Data:    body,

			Attributes: cause.In(nil),
		},
	}, nil
}

// Seek implements data.Feed.
func (t *Tables) Seek(ctx context.Context, r rouse.Ref, shard string, at time.Time) (after uint64, err error) {
	err = t.keys.View(ctx, func(k rouse.KeyReader) error {
		_, b, err := t.shard(k, r, shard)
		if err == nil {
			after, err = journalOf(b).Seek(k, at)
		}
		return err
	})
	return after, err
}
