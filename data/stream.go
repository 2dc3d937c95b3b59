package data

import (
	"context"
	"time"

	"github.com/rouse-run/rouse"
)

// A Stream is an ordered log of Records that are kept for a time. Its shards
// divide among them the 64-bit hash keys: the first eight bytes, as a
// big-endian number, of the MD5 of a Record's key.
type Stream struct {
	rouse.Ref
	Shards  int            `json:"shards"` // those open; 0 on Create is 1
	Keep    rouse.Duration `json:"keep"`   // how long records stay; 0 on Create and Update is 24 hours
	Created time.Time      `json:"created"`
	Notes   rouse.Notes    `json:"notes,omitempty"`
}

// MaxRecord is how many bytes a Record's Data and Key have together at most.
const MaxRecord = 1 << 20

// A Record is what a Stream carries.
type Record struct {
	Key     string  // those of one key come in the order they were appended
	HashKey *uint64 // in place of Key's hash; nil is none
	Data    []byte
}

// A Position is where a Record is.
type Position struct {
	Shard    string `json:"shard"`
	Sequence uint64 `json:"sequence"` // from 1 in each shard, without gaps
}

// Streams keep Records in order. The Feed's Events have the ID
// "<namespace>/<name>/<shard>/<sequence>", the Type "stream.record", the Source
// "stream:<name>" and the Record's key as Subject. All methods may be called
// concurrently; what they did is durable on return.
type Streams interface {
	StreamAdmin
	Feed

	// Append adds all records or none, and returns their Positions in order.
	// Each shard takes its own in the order of rs. Errors: NotFound, TooLarge
	// for a record of more than MaxRecord bytes.
	Append(ctx context.Context, r rouse.Ref, rs []Record) ([]Position, error)
}

// A StreamAdmin makes, changes and removes Streams.
type StreamAdmin interface {
	// Create makes a Stream with s.Shards shards of the same size and returns it
	// as stored. Errors: Conflict where there is one, Invalid.
	Create(ctx context.Context, s Stream) (Stream, error)

	// Update replaces Keep and Notes. Errors: NotFound, Invalid.
	Update(ctx context.Context, s Stream) (Stream, error)

	// Stream returns one. Errors: NotFound.
	Stream(ctx context.Context, r rouse.Ref) (Stream, error)

	// List returns Streams of a namespace by name, from the first after "after",
	// at most limit; 0 is all.
	List(ctx context.Context, ns rouse.Namespace, after string, limit int) ([]Stream, error)

	// Remove takes away a Stream with its records. Errors: NotFound.
	Remove(ctx context.Context, r rouse.Ref) error

	// Split closes an open shard and opens two in its place: "at" is the first
	// hash key of the second. Errors: NotFound, Invalid where "at" is not within
	// the shard or is its first, Conflict where the shard is closed.
	Split(ctx context.Context, r rouse.Ref, shard string, at uint64) error

	// Merge closes two open shards whose hash keys adjoin and opens one in their
	// place. Errors: NotFound, Invalid where they don't adjoin, Conflict where
	// one is closed.
	Merge(ctx context.Context, r rouse.Ref, a, b string) error

	// Scale makes the open shards n of the same size; those that are so already
	// stay. A closed shard can be read until its records are too old, and is
	// forgotten then. Errors: NotFound, Invalid.
	Scale(ctx context.Context, r rouse.Ref, n int) error
}
