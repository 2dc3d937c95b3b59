package event

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/rouse-run/rouse"
)

// A Rule delivers the Events of one thing that match a pattern to a function,
// or to another Target: at least once.
//
// Events of streams and tables are delivered in the order of their shard, the
// next when the one before was answered or given up; those of a group of a queue
// that is fifo as well, and a Batch of these has one group. Those of all else are
// delivered side by side, and each is retried by itself.
type Rule struct {
	rouse.Ref
	On         On              `json:"on"`
	When       json.RawMessage `json:"when,omitempty"`  // a pattern; none matches all
	Input      json.RawMessage `json:"input,omitempty"` // a template; none is the whole Event
	To         Target          `json:"to"`
	Batch      *Batch          `json:"batch,omitempty"` // nil delivers one at a time
	Parallel   int             `json:"parallel"`        // deliveries at once, of each shard where there are shards
	Retry      Retry           `json:"retry"`
	DeadLetter *Target         `json:"deadLetter,omitempty"` // where that goes which was given up
	Success    *Target         `json:"success,omitempty"`    // where an Outcome goes
	Failure    *Target         `json:"failure,omitempty"`
	From       string          `json:"from,omitempty"`    // "oldest"; "" is what happens from now on
	Budget     float64         `json:"budget,omitempty"`  // GB-seconds an hour of its function, beyond which it is paused; 0 is any
	Paused     string          `json:"paused,omitempty"`  // why nothing is delivered; set by Pause
	Resumed    time.Time       `json:"resumed,omitzero"`  // when it was, last
	Redriven   time.Time       `json:"redriven,omitzero"` // when what it gave up was sent back, last
	Created    time.Time       `json:"created"`
	Notes      rouse.Notes     `json:"notes,omitempty"`
}

// Fill puts the defaults in the place of zero values.
func (r *Rule) Fill() {
	if b := r.Batch; b != nil {
		b.Size, b.Bytes = cmp.Or(b.Size, 100), cmp.Or(b.Bytes, 6<<20)
	}
	r.Retry.Attempts = cmp.Or(r.Retry.Attempts, 3)
	r.Retry.Backoff = cmp.Or(r.Retry.Backoff, rouse.Duration(time.Second))
}

// On names what a Rule listens to: exactly one, in the Rule's own namespace.
type On struct {
	Trigger  string `json:"trigger,omitempty"`
	Stream   string `json:"stream,omitempty"`
	Queue    string `json:"queue,omitempty"`
	Table    string `json:"table,omitempty"`
	Bucket   string `json:"bucket,omitempty"`
	Function string `json:"function,omitempty"`
	Outcome  string `json:"outcome,omitempty"` // of Function: "success", "failure"; "" is any
}

// A Target is where Events go: exactly one of its first four, in the Rule's own
// namespace.
type Target struct {
	Function  string `json:"function,omitempty"`
	Queue     string `json:"queue,omitempty"`
	Stream    string `json:"stream,omitempty"`
	Webhook   string `json:"webhook,omitempty"`   // a URL that is posted to
	Qualifier string `json:"qualifier,omitempty"` // of Function
}

// A Batch says how many Events are delivered at once: as many as are there,
// within these bounds.
type Batch struct {
	Size   int            `json:"size"`             // Events; 0 is 100
	Window rouse.Duration `json:"window,omitempty"` // how long to wait for more; none of a queue that is fifo
	Bytes  int            `json:"bytes,omitempty"`  // of their data; 0 is 6 MiB
	Bisect bool           `json:"bisect,omitempty"` // halve a batch that fails, to find what it is that fails
}

// Retry says how often a delivery is tried.
type Retry struct {
	rouse.Retry
	Age rouse.Duration `json:"age,omitempty"` // of an Event since it came in, from which on it is given up; 0 is any
}

// A Status says how a Rule does.
type Status struct {
	Waiting int64     `json:"waiting"`           // Events not yet delivered, about
	Oldest  time.Time `json:"oldest,omitzero"`   // of them
	Dead    int64     `json:"dead,omitempty"`    // given up, where the Rule has no DeadLetter
	Failing string    `json:"failing,omitempty"` // what the last attempt met, where it failed
	Paused  string    `json:"paused,omitempty"`  // why nothing is delivered
}

// Rules knows Triggers and Rules. All methods may be called concurrently.
type Rules interface {
	// SetTrigger adds or replaces t, and starts it. A secret of its Config that is
	// hidden is the one that is there, or was there before that; another one is a
	// Conflict. Errors: Invalid, Conflict.
	SetTrigger(ctx context.Context, t Trigger) (Trigger, error)
	Trigger(ctx context.Context, r rouse.Ref) (Trigger, error)
	Triggers(ctx context.Context, ns rouse.Namespace, after string, limit int) ([]Trigger, error)
	RemoveTrigger(ctx context.Context, r rouse.Ref) error

	// SetRule adds or replaces r. One that is replaced goes on where it was,
	// unless it listens to another thing now. Errors: Invalid, NotFound where
	// what it names is not there, Conflict where rules would go in a circle.
	SetRule(ctx context.Context, r Rule) (Rule, error)
	Rule(ctx context.Context, r rouse.Ref) (Rule, error)
	Rules(ctx context.Context, ns rouse.Namespace, after string, limit int) ([]Rule, error)
	RemoveRule(ctx context.Context, r rouse.Ref) error
}

// A Replay delivers Events that came in before once more.
type Replay struct {
	Rule     rouse.Ref // of which
	Since    time.Time // when what is replayed came in
	Until    time.Time // and before when; zero is now
	Function string    // instead of the Rule's own Target; "" is that
	Version  string    // of Function, or of the Rule's own
	Rate     float64   // deliveries a second; 0 is 50
}

// Control works on Rules that run. All methods may be called concurrently.
type Control interface {
	Emitter
	Viewer
	Reviver

	// Status says how a Rule does. Errors: NotFound.
	Status(ctx context.Context, r rouse.Ref) (Status, error)

	// Pause stops a Rule's deliveries; what comes in waits. Resume goes on.
	Pause(ctx context.Context, r rouse.Ref, why string) error
	Resume(ctx context.Context, r rouse.Ref) error

	// RemoveUnused calls remove, which removes a thing of a kind, such as "queue",
	// where no Rule listens to it or delivers to it; none comes to do so meanwhile.
	// Errors: Conflict, remove's.
	RemoveUnused(ctx context.Context, kind string, r rouse.Ref, remove func(context.Context) error) error
}

// A Reviver delivers again what was given up, and what was delivered before. All
// methods may be called concurrently.
type Reviver interface {
	// Dead lists what a Rule without a DeadLetter has given up, and what the fuse
	// has parked, oldest first after an ID. Redrive delivers it again, all where ids
	// is empty, and says how many; hops begin anew.
	Dead(ctx context.Context, r rouse.Ref, after int64, limit int) ([]rouse.DeadLetter, error)
	Redrive(ctx context.Context, r rouse.Ref, ids []int64) (int, error)

	// Replay queues what matched a Rule once more, marked as replayed, and says
	// how many. Errors: NotFound, Invalid.
	Replay(ctx context.Context, p Replay) (int, error)
}

// A Viewer lets people see what there is, and what there would be. All methods
// may be called concurrently.
type Viewer interface {
	Checker

	// Find returns the Event of an ID, while it is kept. Errors: NotFound.
	Find(ctx context.Context, ns rouse.Namespace, id string) (rouse.Event, error)

	// Show returns t as people may see it, with Hidden in the place of secrets in
	// its Config; with digests where who knows a secret is to be able to tell
	// that it is the same.
	Show(t Trigger, digests bool) Trigger

	// Next returns when a Trigger fires next, zero for never. Where t is not there
	// yet, or is to be another, that is when it would. known is false where its Source
	// can't know. Errors: Invalid.
	Next(ctx context.Context, t Trigger) (at time.Time, known bool, err error)

	// Health says how a Trigger does, but for Next. Errors: NotFound.
	Health(ctx context.Context, r rouse.Ref) (Health, error)
}
