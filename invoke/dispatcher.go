package invoke

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dispatch"
	"github.com/rouse-run/rouse/internal/ident"
)

// A DispatcherConfig says how asynchronous invocations are run.
type DispatcherConfig struct {
	Queue    rouse.Queue
	Registry rouse.Registry
	Invoker  rouse.Invoker
	Settle   func(context.Context) // returns once what was recorded so far is stored
	Retry    rouse.Retry           // for functions that say nothing
	Parallel int                   // invocations of one function at once, where its Max is 0; 0 is 16
	Lease    time.Duration         // after which an invocation of a dead server is run again; 0 is 30 s
	Poll     time.Duration         // how often the queue is looked at without cause; 0 is 10 s
	Log      *slog.Logger
}

// A Dispatcher runs invocations from a durable queue: at least once, again
// after a failure, and into the dead letters when that was often enough. It
// implements rouse.Acceptor. Each function has a queue and a lane of its own,
// so that a slow one holds up no other.
type Dispatcher struct {
	DispatcherConfig
	*dispatch.Dispatcher

	mu      sync.Mutex
	untried map[string]int // guarded by mu; how often an invocation was received and its code not tried, by ID
}

// maxUntried bounds how many invocations are known to have been turned away;
// for others, and after a restart, that was an attempt.
const maxUntried = 100_000

// prefix is that of the queues that the Dispatcher serves.
const prefix = "invoke:"

// NewDispatcher returns a Dispatcher; Run must be running.
func NewDispatcher(c DispatcherConfig) *Dispatcher {
	if c.Parallel == 0 {
		c.Parallel = 16
	}
	d := &Dispatcher{DispatcherConfig: c, untried: map[string]int{}}
	d.Dispatcher = dispatch.New(dispatch.Config{Queue: c.Queue, Prefix: prefix, Lane: d.lane, Handle: d.handle,
		Settle: c.Settle, Lease: c.Lease, Poll: c.Poll, Log: c.Log})
	return d
}

func queueOf(r rouse.Ref) string { return prefix + r.String() }

func functionOf(queue string) rouse.Ref {
	ns, name, _ := strings.Cut(strings.TrimPrefix(queue, prefix), "/")
	return rouse.Ref{Namespace: rouse.Namespace(ns), Name: name}
}

// Accept implements rouse.Acceptor.
func (d *Dispatcher) Accept(ctx context.Context, ins []rouse.Invocation) ([]string, error) {
	ids := make([]string, len(ins))
	byQueue := map[string][]rouse.Message{}
	for i, in := range ins {
		if _, err := d.Registry.Function(ctx, in.Function, in.Qualifier); err != nil {
			return nil, err
		}
		if in.ID == "" {
			in.ID = ident.New()
		}
		ids[i] = in.ID
		body, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		q := queueOf(in.Function)
		byQueue[q] = append(byQueue[q], rouse.Message{Body: body})
	}
	for q, ms := range byQueue {
		if _, err := d.Queue.Send(ctx, q, ms); err != nil {
			return nil, err
		}
	}
	for q := range byQueue {
		d.Serve(q)
	}
	return ids, nil
}

// DeadLetters implements rouse.Acceptor.
func (d *Dispatcher) DeadLetters(ctx context.Context, r rouse.Ref, after int64, limit int) ([]rouse.DeadLetter, error) {
	return d.Queue.Dead(ctx, queueOf(r), after, limit)
}

// Redrive implements rouse.Acceptor.
func (d *Dispatcher) Redrive(ctx context.Context, r rouse.Ref, ids []int64) (int, error) {
	n, err := d.Queue.Redrive(ctx, queueOf(r), ids)
	if n > 0 {
		d.Serve(queueOf(r))
	}
	return n, err
}

func (d *Dispatcher) lane(ctx context.Context, queue string) dispatch.Lane {
	if f, err := d.Registry.Function(ctx, functionOf(queue), ""); err == nil && f.Limits.Max > 0 {
		return dispatch.Lane{Parallel: f.Limits.Max * max(1, f.Limits.Concurrency)}
	}
	return dispatch.Lane{Parallel: d.Parallel}
}

// handle runs one invocation; a lane's batches are of one.
func (d *Dispatcher) handle(ctx context.Context, _ string, leases []rouse.Lease) []dispatch.Outcome {
	return []dispatch.Outcome{d.run(ctx, leases[0])}
}

func (d *Dispatcher) run(ctx context.Context, lease rouse.Lease) dispatch.Outcome {
	var in rouse.Invocation
	if err := json.Unmarshal(lease.Body, &in); err != nil {
		return dispatch.Outcome{Bury: "not an invocation: " + err.Error()}
	}
	retry := d.Retry
	if f, err := d.Registry.Function(ctx, in.Function, in.Qualifier); err == nil && f.Retry.Attempts > 0 {
		retry = f.Retry
	}
	untried := d.turnedAway(in.ID, 0)
	in.Attempt, in.Attempts = lease.Count, retry.Attempts+untried
	a, err := d.Invoker.Invoke(ctx, in)
	kind := rouse.KindOf(err)
	switch {
	case err != nil && (kind == rouse.Throttled || kind == rouse.Unavailable):
		d.turnedAway(in.ID, 1)
		return dispatch.Outcome{Again: true, After: dispatch.Backoff(retry.Backoff, 1)}
	case (err != nil || a.Status != rouse.StatusAnswered) && kind != rouse.NotFound && lease.Count < in.Attempts:
		return dispatch.Outcome{Again: true, After: dispatch.Backoff(retry.Backoff, lease.Count-untried)}
	}
	d.turnedAway(in.ID, -untried)
	if err == nil && a.Status == rouse.StatusAnswered {
		return dispatch.Outcome{}
	}
	return dispatch.Outcome{Bury: reason(a, err)}
}

// turnedAway adds to how often an invocation was turned away before its code was
// tried, and returns how often that is.
func (d *Dispatcher) turnedAway(id string, n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.untried[id] + n
	switch {
	case all == 0:
		delete(d.untried, id)
	case n != 0 && (all > n || len(d.untried) < maxUntried):
		d.untried[id] = all
	}
	return all
}

func reason(a rouse.Activation, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case a.Failure != nil:
		return fmt.Sprintf("%s: %s: %s", a.Status, a.Failure.Type, a.Failure.Message)
	}
	return a.Status.String()
}
