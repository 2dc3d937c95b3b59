package rouse

import (
	"context"
	"io"
	"time"
)

// A Meta keeps documents by kind and Ref: what is deployed, and other things
// that are read often and changed seldom. All methods may be called
// concurrently; a change is durable when Apply returns.
type Meta interface {
	// Get returns a document. Errors: NotFound.
	Get(ctx context.Context, kind string, r Ref) (Doc, error)

	// List returns documents of one kind and namespace by name: at most limit
	// (0 is all) whose name begins with prefix and sorts, by bytes, after "after".
	// Those of all namespaces come by namespace and name.
	List(ctx context.Context, q DocQuery) ([]Doc, error)

	// Apply makes all changes or none. Errors: Conflict where a revision is not
	// the stored one.
	Apply(ctx context.Context, changes []Change) error
}

// A Doc is one stored document.
type Doc struct {
	Kind     string
	Ref      Ref
	Revision int64 // counts its changes from 1
	Data     []byte
}

// A DocQuery picks Docs.
type DocQuery struct {
	Kind      string
	Namespace Namespace
	All       bool // of all namespaces; Namespace, Prefix and After then say nothing
	Prefix    string
	After     string
	Limit     int
}

// A Change puts or deletes one Doc.
type Change struct {
	Kind     string
	Ref      Ref
	Revision int64  // the stored one; 0 where there must be none
	Data     []byte // nil deletes
}

// A Queue hands each Message to one receiver at a time until it is deleted.
// Receipts carry an epoch: one that is out of date deletes nothing. All
// methods may be called concurrently; what they did is durable on return.
type Queue interface {
	// Send adds messages, all or none, and returns their IDs in order.
	Send(ctx context.Context, queue string, ms []Message) ([]int64, error)

	// Receive leases up to n visible messages for d, oldest first. It does not
	// wait. A message with an error in its stored bytes goes to the dead letters.
	Receive(ctx context.Context, queue string, n int, d time.Duration) ([]Lease, error)

	// Delete removes the messages of rs that are still theirs and says which.
	Delete(ctx context.Context, queue string, rs []Receipt) (deleted []bool, err error)

	// Extend makes a leased message visible after d, 0 at once, and returns
	// the new Receipt. Errors: Conflict for a stale Receipt.
	Extend(ctx context.Context, queue string, r Receipt, d time.Duration) (Receipt, error)

	// Bury moves a leased message to the dead letters. Errors: Conflict for a
	// stale Receipt.
	Bury(ctx context.Context, queue string, r Receipt, reason string) error

	// Dead lists dead letters, oldest first, after an ID.
	Dead(ctx context.Context, queue string, after int64, limit int) ([]DeadLetter, error)

	// Redrive sends dead letters back to the queue, all where ids is empty.
	Redrive(ctx context.Context, queue string, ids []int64) (int, error)

	// Stats counts the messages of each queue whose name begins with prefix and
	// that holds any, dead letters included.
	Stats(ctx context.Context, prefix string) (map[string]QueueStats, error)
}

// A Message is what a Queue carries.
type Message struct {
	Body  []byte
	Delay time.Duration // before it becomes visible
}

// A Receipt proves that a message is leased.
type Receipt struct {
	ID    int64
	Epoch int64
}

// A Lease is a Message in the hands of one receiver.
type Lease struct {
	Receipt
	Body  []byte
	Count int       // how often it was received, this one included
	Sent  time.Time // when it came in
}

// A DeadLetter is a Message that was given up.
type DeadLetter struct {
	ID     int64     `json:"id"`
	Body   []byte    `json:"body"`
	Count  int       `json:"count"`
	Reason string    `json:"reason"`
	Sent   time.Time `json:"sent"`
	Buried time.Time `json:"buried"`
}

// QueueStats counts the messages of a Queue.
type QueueStats struct {
	Visible int64         // waiting
	Leased  int64         // in somebody's hands, or delayed
	Dead    int64         // given up
	Next    time.Duration // until the next one becomes visible; < 0 where there is none
}

// Blobs keep bytes by Digest. All methods may be called concurrently; a Put is
// durable when it returns.
type Blobs interface {
	// Put stores all of r and returns its Digest and size. Storing the same
	// bytes again is cheap. The caller's error of r is returned as it is.
	Put(ctx context.Context, r io.Reader) (Digest, int64, error)

	// Open reads a blob. Errors: NotFound. The reader fails where the bytes are
	// not those that were stored.
	Open(ctx context.Context, d Digest) (io.ReadCloser, error)

	// Stat returns a blob's size. Errors: NotFound.
	Stat(ctx context.Context, d Digest) (int64, error)

	// Delete removes a blob; one that is not there is no error.
	Delete(ctx context.Context, d Digest) error

	// List calls f with each Digest until it returns false.
	List(ctx context.Context, f func(Digest, int64) bool) error
}
