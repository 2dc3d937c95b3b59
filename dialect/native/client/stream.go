package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// paging returns the query of a page of a list.
func paging(after string, limit int) url.Values {
	q := url.Values{}
	if after != "" {
		q.Set("after", after)
	}
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}

// Streams returns a page of streams by name from the first after "after"; limit
// 0 is 100.
func (c *Client) Streams(ctx context.Context, after string, limit int) (page wire.Streams, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"streams"}, query: paging(after, limit)}, nil, &page)
	return page, err
}

// SetStream makes a stream or changes it. Errors: Invalid.
func (c *Client) SetStream(ctx context.Context, name string, o wire.StreamOptions) (s data.Stream, err error) {
	err = c.call(ctx, request{method: http.MethodPut, path: []string{"streams", name}}, o, &s)
	return s, err
}

// Stream returns one. Errors: NotFound.
func (c *Client) Stream(ctx context.Context, name string) (s data.Stream, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"streams", name}}, nil, &s)
	return s, err
}

// RemoveStream takes away a stream with its records. Errors: NotFound.
func (c *Client) RemoveStream(ctx context.Context, name string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"streams", name}}, nil, nil)
}

// Shards lists the shards of a stream, parents before their children. Errors:
// NotFound.
func (c *Client) Shards(ctx context.Context, name string) ([]data.Shard, error) {
	var out wire.Shards
	err := c.call(ctx, request{method: http.MethodGet, path: []string{"streams", name, "shards"}}, nil, &out)
	return out.Shards, err
}

// ScaleStream divides a stream into n shards of one size. Errors: NotFound,
// Invalid.
func (c *Client) ScaleStream(ctx context.Context, name string, n int) (s data.Stream, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"streams", name, "scale"}}, wire.Scale{Shards: n}, &s)
	return s, err
}

// SplitShard divides a shard in two, at a hash key or, where it is nil, in its
// middle. Errors: NotFound, Invalid, Conflict.
func (c *Client) SplitShard(ctx context.Context, name, shard string, at *uint64) ([]data.Shard, error) {
	var out wire.Shards
	err := c.call(ctx, request{method: http.MethodPost, path: []string{"streams", name, "split"}}, wire.Split{Shard: shard, At: at}, &out)
	return out.Shards, err
}

// MergeShards makes one shard of two that adjoin. Errors: NotFound, Invalid,
// Conflict.
func (c *Client) MergeShards(ctx context.Context, name, a, b string) ([]data.Shard, error) {
	var out wire.Shards
	err := c.call(ctx, request{method: http.MethodPost, path: []string{"streams", name, "merge"}}, wire.Merge{Shards: []string{a, b}}, &out)
	return out.Shards, err
}

// Append adds records, all or none, and returns where they are, in their order.
// Errors: NotFound, TooLarge.
func (c *Client) Append(ctx context.Context, name string, rs ...data.Record) ([]data.Position, error) {
	in := wire.Records{Records: make([]wire.Record, len(rs))}
	for i, r := range rs {
		in.Records[i].Key = r.Key
		in.Records[i].Data, in.Records[i].DataBase64 = wire.Content(r.Data)
	}
	var out wire.Positions
	err := c.call(ctx, request{method: http.MethodPost, path: []string{"streams", name, "records"}}, in, &out)
	return out.Positions, err
}

// A RecordQuery says what to read of a stream. After, Since and Newest are
// different places to begin, of which one may be given; none is the oldest.
type RecordQuery struct {
	Shard  string // "" is all
	After  uint64 // a record's number in Shard
	Since  time.Time
	Newest bool
	Limit  int           // records: of each shard, or in all where they are followed; 0 is 1,000, or any
	Wait   time.Duration // for a first record of Shard
}

func (q RecordQuery) values() url.Values {
	v := url.Values{}
	if q.Shard != "" {
		v.Set("shard", q.Shard)
	}
	if q.After != 0 {
		v.Set("after", strconv.FormatUint(q.After, 10))
	}
	if !q.Since.IsZero() {
		v.Set("since", moment(q.Since))
	}
	if q.Newest {
		v.Set("from", "newest")
	}
	if q.Limit != 0 {
		v.Set("limit", number(q.Limit))
	}
	if q.Wait != 0 {
		v.Set("wait", q.Wait.String())
	}
	return v
}

// Records reads a stream once. Errors: NotFound, Invalid.
func (c *Client) Records(ctx context.Context, name string, q RecordQuery) (page wire.RecordPage, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"streams", name, "records"}, query: q.values()}, nil, &page)
	return page, err
}

// FollowRecords calls f with records as they come, until there have been Limit
// of them or f returns false. A context that ends it is no error.
func (c *Client) FollowRecords(ctx context.Context, name string, q RecordQuery, f func(wire.StreamRecord) bool) error {
	v := q.values()
	v.Set("follow", "true")
	resp, err := c.send(ctx, request{method: http.MethodGet, path: []string{"streams", name, "records"}, query: v})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer resp.Body.Close()
	for in := json.NewDecoder(resp.Body); ; {
		var r wire.StreamRecord
		err := in.Decode(&r)
		switch {
		case errors.Is(err, io.EOF), err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return c.garbled(err)
		case !f(r):
			return nil
		}
	}
}
