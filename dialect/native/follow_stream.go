package native

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

const (
	followWait  = 10 * time.Second // of one read
	followBatch = 100              // records of one read
)

// A follower reads the shards of a stream side by side, children after their
// parents, and hands all on to one client.
type follower struct {
	*server
	q     recordQuery
	from  func(shard string) (uint64, error)
	reads chan shardRead
	ended map[string]bool // shards that were read to their end, or need not be
	begun map[string]bool
	work  sync.WaitGroup
}

// A shardRead is what came of one shard.
type shardRead struct {
	shard   string
	entries []data.Entry
	ended   bool
	err     error
}

// followStream sends records as they come until the client goes, or has got as
// many as it asked for, or the one shard it asked for ends.
func (s *server) followStream(c *call, q recordQuery, shards []data.Shard) error {
	ctx, cancel := context.WithCancel(c.r.Context())
	f := &follower{server: s, q: q, reads: make(chan shardRead), ended: map[string]bool{}, begun: map[string]bool{}}
	f.from = func(shard string) (uint64, error) { return s.begin(c, q, shard) }
	defer f.work.Wait()
	defer cancel()
	if err := f.start(ctx, shards, true); err != nil {
		return err
	}
	out := &stream{c: c}
	out.start()
	for left := q.limit; ; {
		var r shardRead
		select {
		case <-ctx.Done():
			r.err = ctx.Err() // the client has gone, or the server stops
		case r = <-f.reads:
		}
		if r.err != nil {
			// It is too late for a status, and the client must not take this for
			// the end.
			if ctx.Err() == nil {
				s.Log.Error("follow stream", "stream", q.stream.String(), "err", r.err)
			}
			panic(http.ErrAbortHandler)
		}
		for i := range r.entries {
			if !out.send(wire.RecordOf(r.shard, &r.entries[i])) {
				return nil
			}
			if left--; left == 0 {
				return nil
			}
		}
		if !r.ended {
			continue
		}
		f.ended[r.shard] = true
		if q.shard != "" {
			return nil
		}
		now, err := s.Data.Streams.Shards(ctx, q.stream)
		if err != nil || f.start(ctx, now, false) != nil {
			return nil
		}
	}
}

// start reads the shards whose parents were read. Those that are there at first
// are read from where the client asks; others from their beginning.
func (f *follower) start(ctx context.Context, shards []data.Shard, first bool) error {
	for _, s := range shards {
		if f.begun[s.ID] {
			continue
		}
		if first && f.q.newest && s.Closed {
			f.begun[s.ID], f.ended[s.ID] = true, true // nothing comes of it any more
			continue
		}
		if slices.ContainsFunc(s.Parents, func(p string) bool { return f.unread(p, shards) }) {
			continue
		}
		var after uint64
		if first || !f.q.since.IsZero() {
			var err error
			if after, err = f.from(s.ID); err != nil {
				return err
			}
		}
		f.begun[s.ID] = true
		f.work.Go(func() { f.read(ctx, s.ID, after) })
	}
	return nil
}

// unread reports whether a parent is there and was not read to its end.
func (f *follower) unread(parent string, shards []data.Shard) bool {
	return !f.ended[parent] && slices.ContainsFunc(shards, func(s data.Shard) bool { return s.ID == parent })
}

func (f *follower) read(ctx context.Context, shard string, after uint64) {
	for {
		b, err := f.Data.Streams.Read(ctx, data.FeedQuery{Ref: f.q.stream, Shard: shard, After: after, Limit: followBatch, Wait: followWait})
		if rouse.KindOf(err) == rouse.NotFound && ctx.Err() == nil {
			b, err = data.Batch{Ended: true}, nil // forgotten, for all of it was too old
		}
		after = b.After
		if len(b.Entries) > 0 || b.Ended || err != nil {
			select {
			case <-ctx.Done():
				return
			case f.reads <- shardRead{shard, b.Entries, b.Ended, err}:
			}
		}
		if b.Ended || err != nil {
			return
		}
	}
}
