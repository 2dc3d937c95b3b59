package rouse

import "context"

// Keys is an ordered map from bytes to bytes, with transactions: the memory
// under documents, queues, streams, tables and buckets, whose meaning is made
// above it, once, for every driver. Keys sort by bytes; one has at most 2,560
// bytes and its value at most 32 MiB. All methods may be called concurrently.
type Keys interface {
	// View runs f on one snapshot: what others change meanwhile, it does not see.
	View(ctx context.Context, f func(KeyReader) error) error

	// Update runs f in a transaction, as if no other ran beside it, and returns
	// when what it wrote is durable. Where f fails nothing is changed, and its
	// error is returned as it is. F may run more than once, and beside others
	// whose transactions are committed with its own: it must do nothing but read
	// and write, be quick, and set what it returns to its caller anew each time.
	// Where ctx ends first the change may or may not be made. Errors:
	// Unavailable, TooLarge.
	Update(ctx context.Context, f func(KeyWriter) error) error
}

// A KeyReader reads inside a transaction, in which alone it is valid. What it
// returns may be kept, and must not be changed. A value whose bytes are not
// those that were written is nil, beside an Internal Error that names its key;
// the values beside it are whole.
type KeyReader interface {
	// Get returns the values in the order of keys: nil where there is none, and
	// not nil where it is empty.
	Get(keys ...[]byte) ([][]byte, error)

	// Scan returns the pairs of a span in its order.
	Scan(s Span) ([]Pair, error)

	// Count returns the number of pairs from the key "from" up to, and without,
	// the key "to", which may be nil for the end.
	Count(from, to []byte) (int64, error)
}

// A KeyWriter reads, its own writes included, and writes.
type KeyWriter interface {
	KeyReader
	Put(key, value []byte)
	Delete(key []byte)
	Clear(from, to []byte) // deletes as Count counts
}

// A Span is a range of keys.
type Span struct {
	From    []byte // the first
	To      []byte // the first that is no longer part of it; nil is the end of all
	Limit   int    // pairs at most; 0 is all
	Size    int    // bytes of values after which no more follow; 0 is any
	Reverse bool   // from the last to the first
}

// A Pair is a key and its value.
type Pair struct {
	Key   []byte
	Value []byte
}
