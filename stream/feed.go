package stream

import (
	"context"
	"strconv"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/stream/journal"
)

const (
	defaultLimit = 1000
	maxRead      = 4 << 20 // bytes of one Batch, but for its last entry
)

// Shards implements data.Feed.
func (s *Streams) Shards(ctx context.Context, r rouse.Ref) ([]data.Shard, error) {
	d, err := s.document(ctx, r)
	if err != nil {
		return nil, err
	}
	known := map[uint64]bool{}
	shards := make([]data.Shard, len(d.Shards))
	for i, sh := range d.Shards {
		known[sh.Number] = true
		shards[i] = data.Shard{ID: sh.id, From: sh.From, To: sh.To, Closed: !sh.Closed.IsZero()}
		for _, p := range sh.Parents {
			if known[p] { // the others are forgotten
				shards[i].Parents = append(shards[i].Parents, shardID(p))
			}
		}
	}
	return shards, nil
}

// Read implements data.Feed. What was appended here wakes it at once; what
// other nodes appended it finds within a second. A shard that is forgotten has
// Ended.
func (s *Streams) Read(ctx context.Context, q data.FeedQuery) (data.Batch, error) {
	return s.waiters.Read(ctx, q, s.read)
}

func (s *Streams) read(ctx context.Context, q data.FeedQuery) (b data.Batch, err error) {
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	err = s.Keys.View(ctx, func(k rouse.KeyReader) error {
		b = data.Batch{After: q.After}
		d, err := s.documents.load(k, q.Ref)
		if err != nil {
			return err
		}
		sh, err := d.shard("read stream", q.Shard)
		if err != nil {
			return err
		}
		if sh == nil {
			b.Ended = true
			return nil
		}
		j := d.journal(sh)
		_, next, err := j.Bounds(k)
		if err != nil {
			return err
		}
		b.Newest = next - 1
		es, err := j.Read(k, q.After, q.Limit, maxRead)
		if err != nil && len(es) == 0 && rouse.KindOf(err) != rouse.Internal {
			return err
		}
		if err != nil {
			s.Log.Error("records are damaged and passed over", "stream", q.Ref, "shard", q.Shard, "after", q.After, "error", err)
		}
		size := 0
		for _, e := range es {
			size += len(e.Body) + 8
			b.After = e.Number
			entry, err := entryOf(q, e)
			if err != nil {
				s.Log.Error("a record is damaged and passed over", "stream", q.Ref, "shard", q.Shard, "sequence", e.Number, "error", err)
				continue
			}
			b.Entries = append(b.Entries, entry)
		}
		if len(es) < q.Limit && size < maxRead {
			b.After = max(b.After, b.Newest)
		}
		b.Ended = !sh.Closed.IsZero() && b.After >= b.Newest
		return nil
	})
	return b, err
}

// entryOf makes an Entry of what is stored.
func entryOf(q data.FeedQuery, e journal.Entry) (data.Entry, error) {
	cause, body, err := event.Unwrap(e.Body)
	if err != nil {
		return data.Entry{}, err
	}
	key, payload, isJSON, err := decodeRecord(body)
	if err != nil {
		return data.Entry{}, err
	}
	kind := "application/octet-stream"
	if isJSON {
		kind = "application/json"
	}
	return data.Entry{Sequence: e.Number, Key: key, Event: rouse.Event{
		ID:          q.Ref.String() + "/" + q.Shard + "/" + strconv.FormatUint(e.Number, 10),
		Type:        "stream.record",
		Source:      "stream:" + q.Ref.Name,
		Subject:     key,
		Attributes:  cause.In(nil),
		Time:        e.Time,
		ContentType: kind,
		Data:        payload,
	}}, nil
}

// Seek implements data.Feed.
func (s *Streams) Seek(ctx context.Context, r rouse.Ref, shard string, t time.Time) (after uint64, err error) {
	err = s.Keys.View(ctx, func(k rouse.KeyReader) error {
		d, err := s.documents.load(k, r)
		if err != nil {
			return err
		}
		sh, err := d.shard("seek in stream", shard)
		if err != nil || sh == nil {
			return err
		}
		after, err = d.journal(sh).Seek(k, t)
		return err
	})
	return after, err
}
