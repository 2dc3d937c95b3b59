package rouse

import (
	"context"
	"time"
)

// A Line is one line that a Function printed, without its end.
type Line struct {
	Activation string    `json:"activation"` // "" where printed outside of one
	Function   Ref       `json:"function"`
	Time       time.Time `json:"time"`
	Stream     Stream    `json:"stream"`
	Text       string    `json:"text"`
}

// A Stream is where a Line was printed.
type Stream uint8

// The Streams. Platform lines are the platform's own, such as "log truncated".
const (
	Stdout Stream = iota + 1
	Stderr
	Platform
)

var streams = [...]string{"", "stdout", "stderr", "platform"}

func (s Stream) String() string {
	if int(s) < len(streams) {
		return streams[s]
	}
	return ""
}

// MarshalText writes the Stream's word.
func (s Stream) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the Stream's word.
func (s *Stream) UnmarshalText(b []byte) error {
	for i, w := range streams {
		if w == string(b) {
			*s = Stream(i)
			return nil
		}
	}
	return Errorf(Invalid, "read stream", string(b), "a stream is stdout, stderr or platform")
}

// Records are what the platform remembers of what ran. All methods may be
// called concurrently. Postings are durable when Post returns.
type Records interface {
	// Post adds Activations and the Lines they printed, in one transaction. Errors:
	// Invalid where one has no ID that it can be kept by; the others are added.
	Post(ctx context.Context, as []Activation, ls []Line) error

	// Activation finds one; of several attempts that share an id, the one that
	// started last. Errors: NotFound.
	Activation(ctx context.Context, id string) (Activation, error)

	// Activations lists what q asks for, newest first.
	Activations(ctx context.Context, q ActivationQuery) ([]Activation, error)

	// Lines lists what q asks for, oldest first.
	Lines(ctx context.Context, q LineQuery) ([]Line, error)

	// Trim forgets what is older than before, then, oldest first, as much as
	// brings the Records below size bytes; size 0 sets no bound.
	Trim(ctx context.Context, before time.Time, size int64) error
}

// An ActivationQuery picks Activations. A zero field asks for nothing.
type ActivationQuery struct {
	Namespace Namespace // required
	Function  string    // a name
	Statuses  []Status  // any of these
	Since     time.Time // started at or after
	Until     time.Time // started before
	Before    string    // an ID: only older ones, for paging
	Limit     int       // 0 is 50; at most 1,000
}

// A LineQuery picks Lines of one Function or of one Activation.
type LineQuery struct {
	Function   Ref
	Activation string
	Since      time.Time
	Limit      int // the newest so many; 0 is 1,000
}

// A Tail hands out Lines as they are printed. It is lossy: a reader that does
// not keep up misses lines, and gets one of Platform that says so.
type Tail interface {
	// Follow calls f for each Line of r until ctx ends or f returns false.
	Follow(ctx context.Context, r Ref, f func(Line) bool) error
}
