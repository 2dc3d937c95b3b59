// Package data is the second half of the language: the nouns and ports of the
// four data services, which doors and rules use and the engine implements.
package data

import (
	"context"
	"time"

	"github.com/rouse-run/rouse"
)

// A Feed is what happened to a thing, in order: the records of a stream, the
// changes of a table, the events of a bucket or of triggers. It comes in shards;
// order holds within one. All methods may be called concurrently.
type Feed interface {
	// Shards lists the shards of a thing, parents before their children. Errors:
	// NotFound.
	Shards(ctx context.Context, r rouse.Ref) ([]Shard, error)

	// Read returns up to limit entries after a sequence number, fewer where they
	// are large. Where there is none yet it waits for one, at most for wait.
	// Entries that are too old to be there any more are passed over. Errors:
	// NotFound.
	Read(ctx context.Context, q FeedQuery) (Batch, error)

	// Seek returns the sequence number after which to read what happened at t or
	// later.
	Seek(ctx context.Context, r rouse.Ref, shard string, t time.Time) (uint64, error)
}

// A FeedQuery says what to read of a Feed.
type FeedQuery struct {
	Ref   rouse.Ref
	Shard string
	After uint64 // 0 is from the oldest
	Limit int    // 0 is 1,000
	Wait  time.Duration
}

// A Batch is what one Read returns.
type Batch struct {
	Entries []Entry
	After   uint64 // where to go on
	Newest  uint64 // the last sequence number of the shard
	Ended   bool   // the shard is closed and has been read to its end
}

// An Entry is one Event in a Feed. The Event's ID is the same each time it is
// read.
type Entry struct {
	Sequence uint64 // from 1; larger is later
	Key      string // those of one key are in one shard
	Event    rouse.Event
	Stored   time.Time // when it came in, where Event.Time is what its sender says; zero is Event.Time
	Due      time.Time // when it happens, where that is perhaps to come; zero is before now
}

// A Shard is a part of a Feed.
type Shard struct {
	ID      string   `json:"id"`
	Parents []string `json:"parents,omitempty"` // to be read before it
	From    uint64   `json:"from"`              // the hash keys it holds, both included
	To      uint64   `json:"to"`
	Closed  bool     `json:"closed,omitempty"` // nothing is added any more
}

// Services are the four data services.
type Services struct {
	Streams Streams
	Queues  Queues
	Tables  Tables
	Buckets Buckets
}
