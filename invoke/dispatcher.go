package invoke

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
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
	work sync.WaitGroup

	mu    sync.Mutex
	lanes map[string]*lane // guarded by mu; by name of the queue
	ctx   context.Context  // guarded by mu; nil until Run
}

// prefix is that of the queues that the Dispatcher serves.
const prefix = "invoke:"

// maxBackoff bounds the time between two attempts.
const maxBackoff = 15 * time.Minute

// A lane is one function's queue on its way.
type lane struct {
	function rouse.Ref
	queue    string
	wake     chan struct{}
	done     chan rouse.Receipt // of what was answered
}

// doneAtOnce bounds how many answered invocations wait to be deleted.
const doneAtOnce = 1000

// NewDispatcher returns a Dispatcher; Run must be running.
func NewDispatcher(c DispatcherConfig) *Dispatcher {
	if c.Parallel == 0 {
		c.Parallel = 16
	}
	if c.Lease == 0 {
		c.Lease = 30 * time.Second
	}
	if c.Poll == 0 {
		c.Poll = 10 * time.Second
	}
	return &Dispatcher{DispatcherConfig: c, lanes: map[string]*lane{}}
}

func queueOf(r rouse.Ref) string { return prefix + r.String() }

func functionOf(queue string) (rouse.Ref, bool) {
	rest, ok := strings.CutPrefix(queue, prefix)
	ns, name, found := strings.Cut(rest, "/")
	return rouse.Ref{Namespace: rouse.Namespace(ns), Name: name}, ok && found
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
			in.ID = NewID()
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
		d.serve(q)
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
		d.serve(queueOf(r))
	}
	return n, err
}

// Run serves the queues until ctx ends and what it began is done.
func (d *Dispatcher) Run(ctx context.Context) error {
	d.mu.Lock()
	d.ctx = ctx
	d.mu.Unlock()
	poll := time.NewTicker(d.Poll)
	defer poll.Stop()
	for {
		all, err := d.Queue.Stats(ctx, prefix)
		if err != nil && ctx.Err() == nil {
			d.Log.Error("look for queued invocations", "error", err)
		}
		for q, s := range all {
			if s.Visible+s.Leased > 0 {
				d.serve(q)
			}
		}
		select {
		case <-ctx.Done():
			d.mu.Lock()
			d.ctx = nil
			d.mu.Unlock()
			d.work.Wait()
			return nil
		case <-poll.C:
		}
	}
}

// serve sees to it that a lane looks at the queue q from now on.
func (d *Dispatcher) serve(q string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.lanes[q]; l != nil {
		signal(l.wake)
		return
	}
	ref, ok := functionOf(q)
	if d.ctx == nil || !ok {
		return // Run will find it
	}
	l := &lane{function: ref, queue: q, wake: make(chan struct{}, 1), done: make(chan rouse.Receipt, doneAtOnce)}
	d.lanes[q] = l
	ctx := d.ctx
	d.work.Go(func() { d.drive(ctx, l) })
}

// drive runs what is in a lane's queue until it is empty.
func (d *Dispatcher) drive(ctx context.Context, l *lane) {
	parallel := d.Parallel
	if f, err := d.Registry.Function(ctx, l.function, ""); err == nil && f.Limits.Max > 0 {
		parallel = f.Limits.Max * max(1, f.Limits.Concurrency)
	}
	slots := make(chan struct{}, parallel)
	var running, deleting sync.WaitGroup
	deleting.Go(func() { d.delete(context.WithoutCancel(ctx), l) })
	defer deleting.Wait()
	defer close(l.done)
	defer running.Wait()
	for ctx.Err() == nil {
		slots <- struct{}{} // one is free
		free := cap(slots) - len(slots) + 1
		leases, err := d.Queue.Receive(ctx, l.queue, free, d.Lease)
		if err != nil && ctx.Err() == nil {
			d.Log.Error("receive invocations", "queue", l.queue, "error", err)
		}
		<-slots
		for _, lease := range leases {
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				d.run(ctx, l, lease)
			})
		}
		if len(leases) == 0 && d.rest(ctx, l) {
			return
		}
	}
	d.mu.Lock()
	delete(d.lanes, l.queue)
	d.mu.Unlock()
}

// rest waits until there may be something in the queue again, and says whether
// the lane has ended because there is nothing to wait for.
func (d *Dispatcher) rest(ctx context.Context, l *lane) (ended bool) {
	wait := d.Poll
	all, err := d.Queue.Stats(ctx, l.queue)
	s := all[l.queue]
	if err == nil && s.Visible+s.Leased == 0 {
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(l.wake) > 0 { // something came in meanwhile
			<-l.wake
			return false
		}
		delete(d.lanes, l.queue)
		return true
	}
	if err == nil && s.Next >= 0 {
		wait = min(wait, s.Next+time.Millisecond)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-l.wake:
	case <-timer.C:
	}
	return false
}

// run runs one leased invocation and settles its lease.
func (d *Dispatcher) run(ctx context.Context, l *lane, lease rouse.Lease) {
	// The server stops only when what was begun is done.
	ctx = context.WithoutCancel(ctx)
	var in rouse.Invocation
	if err := json.Unmarshal(lease.Body, &in); err != nil {
		d.settle(l, lease, d.Queue.Bury(ctx, l.queue, lease.Receipt, "not an invocation: "+err.Error()))
		return
	}
	in.Attempt = lease.Count
	held := d.hold(ctx, l, lease.Receipt)
	a, err := d.Invoker.Invoke(ctx, in)
	receipt := held()
	retry := d.Retry
	if f, ferr := d.Registry.Function(ctx, in.Function, in.Qualifier); ferr == nil && f.Retry.Attempts > 0 {
		retry = f.Retry
	}
	switch {
	case err == nil && a.Status == rouse.StatusAnswered:
		l.done <- receipt
	case err != nil && rouse.KindOf(err) == rouse.NotFound:
		err = d.Queue.Bury(ctx, l.queue, receipt, err.Error())
	case err != nil && (rouse.KindOf(err) == rouse.Throttled || rouse.KindOf(err) == rouse.Unavailable):
		_, err = d.Queue.Extend(ctx, l.queue, receipt, backoff(retry.Backoff, 1)) // its code was not tried
	case lease.Count >= retry.Attempts:
		err = d.Queue.Bury(ctx, l.queue, receipt, reason(a, err))
	default:
		_, err = d.Queue.Extend(ctx, l.queue, receipt, backoff(retry.Backoff, lease.Count))
		signal(l.wake)
	}
	d.settle(l, lease, err)
}

// delete takes answered invocations out of the queue, many at once, when their
// records are stored: a server that is killed between the two runs them again,
// and nobody looks for the record of a run in vain.
func (d *Dispatcher) delete(ctx context.Context, l *lane) {
	for first := range l.done {
		rs := append(make([]rouse.Receipt, 0, len(l.done)+1), first)
		for len(l.done) > 0 {
			rs = append(rs, <-l.done)
		}
		d.Settle(ctx)
		deleted, err := d.Queue.Delete(ctx, l.queue, rs)
		if err != nil {
			d.Log.Error("delete answered invocations", "queue", l.queue, "error", err)
		}
		for i, ok := range deleted {
			if !ok {
				d.Log.Warn("an answered invocation was in other hands and runs again", "queue", l.queue, "message", rs[i].ID)
			}
		}
		signal(l.wake)
	}
}

func (d *Dispatcher) settle(l *lane, lease rouse.Lease, err error) {
	if err != nil { // it will be run again when the lease is over
		d.Log.Error("settle a queued invocation", "queue", l.queue, "message", lease.ID, "error", err)
	}
}

// hold extends a lease until the returned function is called, which returns
// the receipt that is valid then.
func (d *Dispatcher) hold(ctx context.Context, l *lane, r rouse.Receipt) func() rouse.Receipt {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(d.Lease / 3)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				next, err := d.Queue.Extend(ctx, l.queue, r, d.Lease)
				if err != nil {
					d.Log.Warn("extend the lease of a queued invocation", "queue", l.queue, "error", err)
					continue
				}
				r = next
			}
		}
	}()
	return func() rouse.Receipt {
		close(stop)
		<-done
		return r
	}
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

// backoff is how long to wait after the attempt of that number (1 is the
// first): doubled each time, with a jitter of half, so that what failed
// together does not come back together.
func backoff(first rouse.Duration, attempt int) time.Duration {
	d := time.Duration(first)
	for range min(attempt-1, 30) {
		d = min(2*d, maxBackoff)
	}
	return d/2 + rand.N(d/2+1)
}
