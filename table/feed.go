package table

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/stream/journal"
)

const (
	maxEntries = 1000            // of one Read
	maxBytes   = 4 << 20         // of its bodies
	lookAgain  = 1 * time.Second // others may write to the same Keys
)

// A bell is one shard of a table's feed, to be rung when something was added.
type bell struct {
	table uint64
	shard int
}

// bells wake those who wait.
type bells struct {
	mu      sync.Mutex
	waiting map[bell]chan struct{} // guarded by mu; closed by ring
}

// wait returns what is closed at the next ring.
func (b *bells) wait(at bell) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = map[bell]chan struct{}{}
	}
	if b.waiting[at] == nil {
		b.waiting[at] = make(chan struct{})
	}
	return b.waiting[at]
}

func (b *bells) ring(at bell) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.waiting[at]; c != nil {
		close(c)
		delete(b.waiting, at)
	}
}

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
func (t *Tables) shard(r rouse.KeyReader, ref rouse.Ref, id string) (*definition, bell, error) {
	d, err := t.load(r, ref)
	if err != nil {
		return nil, bell{}, err
	}
	at, err := d.shard(id)
	return d, at, err
}

func (d *definition) shard(id string) (bell, error) {
	for i := range feedShards {
		if strconv.Itoa(i) == id && d.Changes > 0 {
			return bell{d.ID, i}, nil
		}
	}
	return bell{}, rouse.Errorf(rouse.NotFound, "read changes", d.Ref.String(), "there is no shard %q; a table that keeps no changes has none", id)
}

// Read implements data.Feed.
func (t *Tables) Read(ctx context.Context, q data.FeedQuery) (data.Batch, error) {
	if q.Limit <= 0 || q.Limit > maxEntries {
		q.Limit = maxEntries
	}
	var end <-chan time.Time // made once it has to wait
	for {
		b, at, rung, err := t.read(ctx, q)
		if err != nil || len(b.Entries) > 0 || q.Wait <= 0 {
			return b, err
		}
		if end == nil {
			timer := time.NewTimer(q.Wait)
			defer timer.Stop()
			end = timer.C
		}
		again := time.NewTimer(lookAgain)
		select {
		case <-rung:
		case <-again.C:
		case <-end:
			again.Stop()
			return b, nil
		case <-ctx.Done():
			again.Stop()
			return b, rouse.Errorf(rouse.Unavailable, "read changes", at, "%w", ctx.Err())
		}
		again.Stop()
	}
}

// read looks once. What it returns to wait for was there before it looked.
func (t *Tables) read(ctx context.Context, q data.FeedQuery) (b data.Batch, on string, rung <-chan struct{}, err error) {
	on = q.Ref.String() + "/" + q.Shard
	err = t.defined(ctx, []rouse.Ref{q.Ref}, func(defs []*definition) error {
		at, err := defs[0].shard(q.Shard)
		rung = t.bells.wait(at)
		return err
	})
	if err != nil {
		return b, on, nil, err
	}
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
	return b, on, rung, err
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
	from, to, expired, err := decodeChange(e.Body)
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
