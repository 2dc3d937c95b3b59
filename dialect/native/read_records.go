package native

import (
	"net/http"
	"strconv"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// maxPoll bounds how long a request waits for something to come.
const maxPoll = time.Minute

// A recordQuery is what a reader of a stream asks for.
type recordQuery struct {
	stream rouse.Ref
	shard  string // "" is all
	after  uint64
	since  time.Time
	newest bool // only what comes from now on
	limit  int
	wait   time.Duration
	follow bool
}

func readRecords(s *server, c *call) error {
	q, err := c.recordQuery()
	if err != nil {
		return err
	}
	shards, err := s.Data.Streams.Shards(c.r.Context(), q.stream)
	if err != nil {
		return err
	}
	if q.shard != "" {
		if shards, err = oneShard(shards, q); err != nil {
			return err
		}
	}
	if q.follow {
		return s.followStream(c, q, shards)
	}
	page := wire.RecordPage{Records: []wire.StreamRecord{}, Shards: []wire.ShardRead{}}
	for _, shard := range shards {
		after, err := s.begin(c, q, shard.ID)
		if err != nil {
			return err
		}
		b, err := s.Data.Streams.Read(c.r.Context(), data.FeedQuery{Ref: q.stream, Shard: shard.ID, After: after, Limit: q.limit, Wait: q.wait})
		if err != nil {
			return err
		}
		for i := range b.Entries {
			page.Records = append(page.Records, wire.RecordOf(shard.ID, &b.Entries[i]))
		}
		page.Shards = append(page.Shards, wire.ShardRead{Shard: shard.ID, After: b.After, Newest: b.Newest, Ended: b.Ended})
	}
	return c.answer(http.StatusOK, page)
}

func oneShard(shards []data.Shard, q recordQuery) ([]data.Shard, error) {
	for _, s := range shards {
		if s.ID == q.shard {
			return []data.Shard{s}, nil
		}
	}
	return nil, rouse.Errorf(rouse.NotFound, "read stream", q.stream.String(), "shard: there is none named %q", q.shard)
}

// begin returns the number after which to read a shard.
func (s *server) begin(c *call, q recordQuery, shard string) (uint64, error) {
	switch {
	case !q.since.IsZero():
		return s.Data.Streams.Seek(c.r.Context(), q.stream, shard, q.since)
	case q.newest:
		b, err := s.Data.Streams.Read(c.r.Context(), data.FeedQuery{Ref: q.stream, Shard: shard, Limit: 1})
		return b.Newest, err
	}
	return q.after, nil
}

func (c *call) recordQuery() (q recordQuery, err error) {
	if q.stream, err = c.ref(); err != nil {
		return q, err
	}
	q.shard = c.query.Get("shard")
	if q.since, err = c.moment("since"); err != nil {
		return q, err
	}
	if q.limit, err = c.limit(1000, 10_000); err != nil {
		return q, err
	}
	if q.wait, err = c.span("wait", maxPoll); err != nil {
		return q, err
	}
	if q.follow, err = c.flag("follow"); err != nil {
		return q, err
	}
	if q.follow && !c.query.Has("limit") {
		q.limit = 0
	}
	from := c.query.Get("from")
	if from != "" && from != "oldest" && from != "newest" {
		return q, invalid("from is %q; it must be oldest or newest", from)
	}
	q.newest = from == "newest"
	after := c.query.Get("after")
	if after != "" {
		if q.after, err = strconv.ParseUint(after, 10, 64); err != nil {
			return q, invalid("after is %q; it must be the number of a record", after)
		}
	}
	switch {
	case after != "" && q.shard == "":
		return q, invalid("after wants a shard: each counts its own records")
	case q.wait > 0 && q.shard == "":
		return q, invalid("wait wants a shard; follow=true waits for all of them")
	case after != "" && from != "" || after != "" && !q.since.IsZero() || from != "" && !q.since.IsZero():
		return q, invalid("after, since and from are different places to begin; give one")
	}
	return q, nil
}
