// Package block is how drivers of the store keep records: as blocks of many
// activations or lines, packed and checksummed, and what is asked of them.
package block

import (
	"context"

	"github.com/rouse-run/rouse"
)

// A Day is what was posted on one day, as a driver keeps it. All methods may be
// called concurrently.
type Day interface {
	// Name says where it is.
	Name() string

	// Bounds returns a Span in which all blocks of a kind lie, and how many
	// milliseconds an Activation was started after its id was made, and before, at
	// most.
	Bounds(k Kind) (s Span, lag, lead int64)

	// Page returns the rows of a Page, newest first.
	Page(ctx context.Context, p Page) ([]Row, error)

	// Around calls f for the blocks of all namespaces whose last millisecond is in
	// a Span and that may reach across ms or, where they are of lines, name an
	// activation of it.
	Around(ctx context.Context, k Kind, last Span, ms int64, f func(rouse.Namespace, Row)) error
}

// A Row is the body of a Block, or a Part of it, in the order of (Last, Block,
// Start).
type Row struct {
	Last  int64 // millisecond
	Block int64 // its number: of two postings, the later has the higher one
	Start int64 // 0 where it is all of a Block
	Body  []byte
}

// A Page asks for Rows.
type Page struct {
	Kind      Kind
	Namespace rouse.Namespace
	Function  string // asks for its Parts; "" for whole Blocks
	Statuses  int64  // that hold one of these; 0 is all
	First     int64  // whose Last is at or after it
	Before    Row    // that sort before it
	Limit     int    // at most
}

// Usual is a bit for each status that has no index of its own: most records
// have one of them.
const Usual = int64(1 << rouse.StatusAnswered)

// Unusual reports whether the Page asks for unusual statuses alone.
func (p Page) Unusual() bool { return p.Statuses != 0 && p.Statuses&Usual == 0 }

// damaged says that a stored payload is not what was written.
func damaged(op, row string) *rouse.Error {
	return rouse.Errorf(rouse.Internal, op, row, "its bytes do not match their checksum: restore it from a backup or delete it")
}
