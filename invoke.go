package rouse

import (
	"context"
	"fmt"
	"io"
	"time"
)

// An Invocation asks one Function to answer one Event.
type Invocation struct {
	ID        string `json:"id"` // becomes the Activation's; the Invoker makes one where it is ""
	Function  Ref    `json:"function"`
	Qualifier string `json:"qualifier,omitempty"` // a version or an alias; "" is the newest
	Event     Event  `json:"event"`
	Cause     string `json:"cause,omitempty"`    // the ID of the Activation or Event that led to it
	Maker     string `json:"maker,omitempty"`    // where Cause is an Event's, the ID of the Activation that made that; "" is none
	Rule      string `json:"rule,omitempty"`     // the name of the rule that did, in Function's namespace
	Hops      int    `json:"hops,omitempty"`     // how many Activations led to it, one after the other
	Attempt   int    `json:"attempt,omitempty"`  // 1 is the first; 0 where it is not retried
	Attempts  int    `json:"-"`                  // how many there will be at most
	Replayed  bool   `json:"replayed,omitempty"` // the Event, or one of several, is delivered again on demand

	// Reply, where not nil, receives the answer as it is made; the Activation
	// then carries no Result.
	Reply Reply `json:"-"`
}

// A Reply receives an answer piece by piece. Its methods are called from one
// goroutine at a time.
type Reply interface {
	// Start is called once, before the first Write. Status is an HTTP status, the
	// names of header are as http.CanonicalHeaderKey has them; the map is the
	// caller's again when it returns, its values are not.
	Start(status int, header map[string][]string)
	io.Writer
}

// An Activation is the record of one Invocation. Its ID is a UUIDv7 (RFC 9562)
// as 32 lowercase hex digits: IDs sort by time.
type Activation struct {
	ID          string    `json:"id"`
	Function    Ref       `json:"function"`
	Version     int       `json:"version"`
	Cause       string    `json:"cause,omitempty"`
	Maker       string    `json:"maker,omitempty"`
	Rule        string    `json:"rule,omitempty"`
	Hops        int       `json:"hops,omitempty"`
	Attempt     int       `json:"attempt,omitempty"`
	Again       bool      `json:"again,omitempty"` // there will be another Attempt, with the same ID
	Replayed    bool      `json:"replayed,omitempty"`
	Status      Status    `json:"status"`
	Cold        bool      `json:"cold"`    // an Instance had to be booted for it
	Started     time.Time `json:"started"` // when the Invoker took it
	Queued      Duration  `json:"queued"`  // waiting for an Instance, booting not counted
	Init        Duration  `json:"init"`    // booting the Instance; 0 where warm
	Run         Duration  `json:"run"`     // in the function
	Memory      int64     `json:"memory"`  // peak bytes of the Instance so far; 0 where not measured
	GBSeconds   float64   `json:"gbSeconds"`
	Result      []byte    `json:"result,omitempty"`
	ContentType string    `json:"contentType,omitempty"` // of Result; "" is JSON
	Digest      Digest    `json:"digest,omitempty"`      // of a Result too large to be kept
	Size        int64     `json:"size,omitempty"`        // bytes of the answer
	Failure     *Failure  `json:"failure,omitempty"`
	Notes       Notes     `json:"notes,omitempty"` // what the Function had Recorded; not to be changed
}

// A Failure is what a Function said when it failed, or what the platform saw.
type Failure struct {
	Type    string `json:"type"` // such as "ValueError", or "Timeout" from the platform
	Message string `json:"message"`
	Stack   string `json:"stack,omitempty"` // the function's own, as its language prints it
}

// Status says how an Activation ended.
type Status uint8

// The Statuses. Answered: the function returned. Failed: it said no, or threw.
// Crashed: its process or module died. Throttled: there was no room for it.
// Refused: the platform could not run it.
const (
	StatusPending Status = iota
	StatusAnswered
	StatusFailed
	StatusCrashed
	StatusTimedOut
	StatusOutOfMemory
	StatusThrottled
	StatusRefused
)

var statuses = [...]string{"pending", "answered", "failed", "crashed", "timed out", "out of memory", "throttled", "refused"}

// Statuses are the words of all Statuses, in order.
func Statuses() []string { return statuses[:] }

func (s Status) String() string {
	if int(s) < len(statuses) {
		return statuses[s]
	}
	return fmt.Sprintf("status %d", s)
}

// MarshalText writes the Status's word.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a word of Statuses.
func (s *Status) UnmarshalText(b []byte) error {
	for i, w := range statuses {
		if w == string(b) {
			*s = Status(i)
			return nil
		}
	}
	return Errorf(Invalid, "read status", string(b), "a status is one of %q", statuses)
}

// An Invoker runs Invocations. Everything that starts code, be it a dialect, a
// rule, a workflow or the console, holds an Invoker and nothing deeper.
//
// A function that fails is no error: its Activation says so. Invoke returns an
// error only where the platform could not do its work; where it came as far as
// a record, the Activation is returned beside the error. Concurrent calls are
// safe.
type Invoker interface {
	Invoke(ctx context.Context, in Invocation) (Activation, error)
}

// An Acceptor takes Invocations to be run later.
type Acceptor interface {
	// Accept stores ins durably; once it returns they will be run at least
	// once. The IDs are in the order of ins. Errors: NotFound, Throttled.
	Accept(ctx context.Context, ins []Invocation) (ids []string, err error)

	// DeadLetters lists Invocations of r that were given up, oldest first.
	DeadLetters(ctx context.Context, r Ref, after int64, limit int) ([]DeadLetter, error)

	// Redrive runs dead letters of r again, all where ids is empty, and says how many.
	Redrive(ctx context.Context, r Ref, ids []int64) (int, error)
}
