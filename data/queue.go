package data

import (
	"context"
	"time"

	"github.com/rouse-run/rouse"
)

// A Queue hands each Message to one receiver at a time until it is deleted.
// Create and Update take it as it is: DefaultQueue is what to begin with.
type Queue struct {
	rouse.Ref
	Visibility  rouse.Duration `json:"visibility"`            // how long a received message is nobody else's
	Delay       rouse.Duration `json:"delay,omitempty"`       // before a sent message can be received
	Keep        rouse.Duration `json:"keep"`                  // how long a message stays; 0 is for ever
	MaxReceives int            `json:"maxReceives"`           // after which a message goes to DeadLetter; 0 is no bound
	DeadLetter  rouse.Ref      `json:"deadLetter,omitzero"`   // another Queue of the same namespace
	Fifo        bool           `json:"fifo,omitempty"`        // each Message.Group comes in order; set by Create alone
	DedupByBody bool           `json:"dedupByBody,omitempty"` // a Message without Dedup has its body's SHA-256 for it
	Created     time.Time      `json:"created"`
	Notes       rouse.Notes    `json:"notes,omitempty"`
}

// DefaultQueue returns a Queue of 30 seconds' visibility whose messages stay
// for 4 days.
func DefaultQueue(r rouse.Ref) Queue {
	return Queue{Ref: r, Visibility: rouse.Duration(30 * time.Second), Keep: rouse.Duration(4 * 24 * time.Hour)}
}

const (
	// MaxMessage is how many bytes a Message's body, attributes, Group and Dedup
	// have together at most.
	MaxMessage = 1 << 20

	// DedupWindow is how long a Queue remembers a Message's Dedup.
	DedupWindow = 5 * time.Minute
)

// A Message is to be sent.
type Message struct {
	Body       []byte
	Attributes map[string]string
	Delay      time.Duration // before it can be received; 0 is the Queue's, below 0 is none
	TTL        time.Duration // how long it stays; 0 is the Queue's, below 0 is for ever
	Dedup      string        // one with the same within DedupWindow is not sent again; "" is none
	Group      string        // in a Fifo Queue, where it is required
}

// Sent is what became of a Message.
type Sent struct {
	ID        int64
	Receipt   string    // good until the message is received; "" for a Duplicate
	Visible   time.Time // when it can be received
	Expires   time.Time // zero is never
	Duplicate bool      // there was one before it, whose ID this is
}

// A Delivery is a Message in the hands of a receiver, or one that was peeked at.
type Delivery struct {
	ID         int64
	Receipt    string // "" where it was peeked at
	Body       []byte
	Attributes map[string]string
	Dedup      string
	Group      string
	Fifo       bool      // the Queue is: those of one group come one after the other
	Count      int       // how often it was received, this time included
	Sent       time.Time // when it came in
	First      time.Time // when it was received for the first time; zero is never
	Visible    time.Time // when it can be received again
	Expires    time.Time // zero is never
	Origin     *Origin   // nil where it is where it was sent to
}

// An Origin is where a dead letter comes from.
type Origin struct {
	Queue rouse.Ref `json:"queue"`
	ID    int64     `json:"id"`
	Count int       `json:"count"` // how often it was received there
}

// QueueCounts counts the messages of a Queue, as they are at one moment. Those
// beyond the first 10,000 that wait for a time count as Leased.
type QueueCounts struct {
	Visible int64         `json:"visible"`
	Leased  int64         `json:"leased"`
	Delayed int64         `json:"delayed"`
	Damaged int64         `json:"damaged"` // put aside because their bytes are not those that were sent
	Next    time.Duration `json:"next"`    // until one more becomes visible; below 0 where none will
}

// A Receive says what to receive of a Queue.
type Receive struct {
	Queue      rouse.Ref
	Max        int            // messages; 0 is 1
	Visibility *time.Duration // nil is the Queue's
	Wait       time.Duration  // for a first message where there is none
	Groups     int            // of a Fifo Queue: whose messages at most; 0 is any number
	PerGroup   int            // of a Fifo Queue: messages of each group at most; 0 is any number
}

// Queues keep Messages until they are worked on. All methods may be called
// concurrently; what they did is durable on return. A Receipt is good until
// the message is received again or its visibility is changed, though its time
// be over.
type Queues interface {
	QueueAdmin

	// Send adds all messages or none, and says what became of them, in order.
	// Errors: NotFound, TooLarge, Invalid.
	Send(ctx context.Context, r rouse.Ref, ms []Message) ([]Sent, error)

	// Receive leases up to Max visible messages, oldest first, at most 1,000. Of a
	// Fifo Queue those of one group come together, and while one of a group is
	// leased, no other of it is received. Errors: NotFound.
	Receive(ctx context.Context, q Receive) ([]Delivery, error)

	// Delete removes the messages whose receipts are good and says which those
	// were. Errors: NotFound; Conflict, beside the answer, where one is not good.
	Delete(ctx context.Context, r rouse.Ref, receipts []string) (deleted []bool, err error)

	// Extend makes a message visible after d, 0 at once, and returns its new
	// receipt. Where body is not nil it takes the place of the message's own.
	// Errors: NotFound, TooLarge; Conflict for a receipt that is not good.
	Extend(ctx context.Context, r rouse.Ref, receipt string, d time.Duration, body []byte) (string, error)

	// Peek returns up to limit visible messages, at most 1,000, without receiving
	// them: oldest first, of a Fifo Queue group by group. Errors: NotFound.
	Peek(ctx context.Context, r rouse.Ref, limit int) ([]Delivery, error)

	// Counts counts. Errors: NotFound.
	Counts(ctx context.Context, r rouse.Ref) (QueueCounts, error)
}

// A QueueAdmin makes, changes and removes Queues.
type QueueAdmin interface {
	// Create makes a Queue and returns it as stored. Errors: Conflict where there
	// is one, Invalid.
	Create(ctx context.Context, q Queue) (Queue, error)

	// Update replaces all of a Queue but Fifo and Created. Errors: NotFound, Invalid.
	Update(ctx context.Context, q Queue) (Queue, error)

	// Queue returns one. Errors: NotFound.
	Queue(ctx context.Context, r rouse.Ref) (Queue, error)

	// List returns Queues of a namespace by name, from the first after "after",
	// at most limit; 0 is all.
	List(ctx context.Context, ns rouse.Namespace, after string, limit int) ([]Queue, error)

	// Remove takes away a Queue with its messages. Errors: NotFound.
	Remove(ctx context.Context, r rouse.Ref) error

	// Purge removes all messages of a Queue. Errors: NotFound.
	Purge(ctx context.Context, r rouse.Ref) error

	// Redrive sends up to limit visible messages, 0 is all, from one Queue to
	// another, as new ones that keep their date, and says how many. Where "to" is
	// zero each goes to its Origin; those that have none, or whose Origin is no
	// more, stay. Errors: NotFound, Invalid.
	Redrive(ctx context.Context, from, to rouse.Ref, limit int) (int, error)
}
