// Package dispatch carries messages from durable queues to who handles them: at
// least once, again when that failed, and into the dead letters when it is said
// to be enough.
package dispatch

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rouse-run/rouse"
)

// A Config says what is dispatched, and how.
type Config struct {
	Queue  rouse.Queue
	Prefix string // of the queues that are served

	// Lane says how a queue is served; it is asked each time there is something
	// in the queue after there was nothing.
	Lane func(ctx context.Context, queue string) Lane

	// Handle handles messages and returns an Outcome for each. Their leases are
	// held meanwhile. It is called concurrently.
	Handle func(ctx context.Context, queue string, ls []rouse.Lease) []Outcome

	// Cut says how many of the first of ls, n at most, go into one call of Handle;
	// nil is n. What one Receive returns must not need more calls than if it were n.
	Cut func(queue string, ls []rouse.Lease, n int) int

	// Group says of which group a leased message is; nil, and "", is of none. Those of
	// one are handled one call after the other, in whatever way Queue came to lease
	// more of it.
	Group func(rouse.Lease) string

	// DeleteAll deletes messages of several queues, and says of each queue which
	// receipts were good; nil is Queue's Delete for each of them.
	DeleteAll func(ctx context.Context, all map[string][]rouse.Receipt) (map[string][]bool, error)

	Settle func(context.Context) // called before what is done is deleted; nil does nothing
	Lease  time.Duration         // after which what a dead server had begun is handled again; 0 is 30 s
	Poll   time.Duration         // how often queues are looked at without cause; 0 is 10 s
	Waits  bool                  // Queue's Receive waits for messages itself
	AtOnce int                   // lanes that ask Queue at once, so that who sends need not wait for thousands of them; 0 is any number
	Now    func() time.Time      // nil is time.Now
	Log    *slog.Logger
}

// A Lane says how one queue is served.
type Lane struct {
	Parallel int           // calls of Handle at once; 0 leaves the messages where they are
	Batch    int           // messages in a call at most; 0 is 1
	Window   time.Duration // how long to wait for a batch to fill
}

// An Outcome is what becomes of a message. The zero value deletes it.
type Outcome struct {
	Again bool          // it is handled again
	After time.Duration // from now
	Bury  string        // why it is given up; "" is not
}

// A Dispatcher serves queues. Each has a lane of its own, so that a slow one
// holds up no other.
type Dispatcher struct {
	Config
	work  sync.WaitGroup
	hands hands
	turns chan struct{} // holds one for each lane that asks the Queue; nil is no bound

	mu    sync.Mutex
	lanes map[string]*lane // guarded by mu; by name of the queue
	ctx   context.Context  // guarded by mu; nil until Run
	held  holding          // guarded by mu
	holds map[string]int   // guarded by mu; how many of each queue are in held

	sooner   chan struct{} // there is a new first in held
	finished chan finished
	urgent   atomic.Int64  // lanes of what was held that have not begun to handle it
	begun    chan struct{} // none of them is left
}

// A lane is one queue on its way.
type lane struct {
	Lane
	queue    string
	wake     chan struct{}      // there may be messages
	settled  chan struct{}      // some are gone
	deleting sync.WaitGroup     // what was handled and is not deleted
	over     chan struct{}      // closed: it is to be served otherwise from now on
	stop     context.CancelFunc // ends receiving; called with over
	first    []rouse.Lease      // what it begins with
	urgent   atomic.Bool        // it counts in Dispatcher.urgent
	alone    atomic.Int64       // how many of first are left, where there was nothing else since; below 0 is not known
}

// New returns a Dispatcher; Run must be running.
func New(c Config) *Dispatcher {
	if c.Lease == 0 {
		c.Lease = 30 * time.Second
	}
	if c.Poll == 0 {
		c.Poll = 10 * time.Second
	}
	if c.Settle == nil {
		c.Settle = func(context.Context) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Cut == nil {
		c.Cut = func(_ string, _ []rouse.Lease, n int) int { return n }
	}
	d := &Dispatcher{Config: c, hands: newHands(), lanes: map[string]*lane{}, holds: map[string]int{},
		sooner: make(chan struct{}, 1), finished: make(chan finished, deletedAtOnce), begun: make(chan struct{}, 1)}
	if c.DeleteAll == nil {
		d.DeleteAll = d.deleteEach
	}
	if c.AtOnce > 0 {
		d.turns = make(chan struct{}, c.AtOnce)
	}
	return d
}

// turn waits until one more lane may ask the Queue, and returns what is called
// when it has.
func (d *Dispatcher) turn() (done func()) {
	if d.turns == nil {
		return func() {}
	}
	d.turns <- struct{}{}
	return func() { <-d.turns }
}

// take receives messages.
func (d *Dispatcher) take(ctx context.Context, l *lane, n int) ([]rouse.Lease, error) {
	defer d.turn()()
	ls, err := d.Queue.Receive(ctx, l.queue, n, d.Lease)
	fresh, others := d.hands.take(l.queue, ls, d.Group)
	for _, o := range others {
		d.putBack(ctx, l.queue, o.Receipt)
	}
	return fresh, err
}

// Run serves the queues until ctx ends and what it began is done.
func (d *Dispatcher) Run(ctx context.Context) error {
	d.mu.Lock()
	d.ctx = ctx
	d.mu.Unlock()
	d.work.Go(func() { d.release(ctx) })
	deleting, stopDeleting := context.WithCancel(context.WithoutCancel(ctx))
	var deleter sync.WaitGroup
	deleter.Go(func() { d.delete(deleting) })
	defer deleter.Wait()
	defer stopDeleting()
	poll := time.NewTicker(d.Poll)
	defer poll.Stop()
	for {
		d.mu.Lock()
		held := maps.Clone(d.holds)
		d.mu.Unlock()
		all, err := d.Queue.Stats(ctx, d.Prefix)
		if err != nil && ctx.Err() == nil {
			d.Log.Error("look for queued messages", "prefix", d.Prefix, "error", err)
		}
		for q, s := range all {
			if s = besides(s, held[q]); s.Visible+s.Leased > 0 {
				d.Serve(q)
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

// Serve sees to it that a queue is looked at from now on.
func (d *Dispatcher) Serve(queue string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.lanes[queue]; l != nil {
		signal(l.wake)
		return
	}
	if d.ctx == nil {
		return // Run will find it
	}
	ctx := d.ctx
	l := newLane(queue)
	d.lanes[queue] = l
	d.work.Go(func() { d.drive(ctx, l) })
}

func newLane(queue string) *lane {
	return &lane{queue: queue, wake: make(chan struct{}, 1), settled: make(chan struct{}, 1), over: make(chan struct{}), stop: func() {}}
}

// A Reservation keeps queues that are at rest for messages that are leased to
// the Dispatcher while they are sent. Begin must be called.
type Reservation struct {
	Room  map[string]int // how many messages of each queue can be handled at once
	d     *Dispatcher
	ctx   context.Context
	lanes map[string]*lane
}

// Reserve reserves those of queues that nothing is handled of now.
func (d *Dispatcher) Reserve(ctx context.Context, queues []string) *Reservation {
	r := &Reservation{Room: map[string]int{}, d: d, lanes: map[string]*lane{}}
	how := make([]Lane, len(queues))
	for i, q := range queues {
		how[i] = d.Lane(ctx, q)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.ctx = d.ctx; r.ctx == nil {
		return r
	}
	for i, q := range queues {
		if d.lanes[q] != nil || how[i].Parallel <= 0 || how[i].Window > 0 {
			continue
		}
		l := newLane(q)
		d.lanes[q], r.lanes[q] = l, l
		r.Room[q] = how[i].Parallel * max(how[i].Batch, 1)
		d.work.Add(1)
	}
	return r
}

// Begin handles the leases of reserved queues; where there are none of a queue,
// its lane looks for itself.
func (r *Reservation) Begin(leases map[string][]rouse.Lease) {
	for q, l := range r.lanes {
		l.first, _ = r.d.hands.take(q, leases[q], nil)
		go func() {
			defer r.d.work.Done()
			r.d.drive(r.ctx, l)
		}()
	}
}

// Reset sees to it that a queue is served as Lane says now, when what is under
// way is done.
func (d *Dispatcher) Reset(queue string) {
	d.mu.Lock()
	if l := d.lanes[queue]; l != nil && !l.ended() {
		close(l.over)
		l.stop()
	}
	d.mu.Unlock()
	d.Serve(queue)
}

func (l *lane) ended() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// drive handles what is in a lane's queue until it is empty.
func (d *Dispatcher) drive(ctx context.Context, l *lane) {
	if l.Lane = d.Lane(ctx, l.queue); l.Parallel <= 0 {
		d.calm(l)
		d.giveBack(ctx, l.queue, l.first)
		d.leave(l)
		return
	}
	receiving, stop := d.receiving(ctx, l)
	defer stop()
	l.Batch = max(l.Batch, 1)
	l.alone.Store(int64(len(l.first)))
	if room := l.Parallel * l.Batch; len(l.first) > room { // the others are never alone
		d.giveBack(ctx, l.queue, l.first[room:])
		l.first = l.first[:room]
	}
	slots := make(chan struct{}, l.Parallel)
	defer l.deleting.Wait()
	var running sync.WaitGroup
	defer running.Wait()
	begin := func(leases []rouse.Lease) {
		for len(leases) > 0 {
			batch := leases[:d.Cut(l.queue, leases, min(l.Batch, len(leases)))]
			leases = leases[len(batch):]
			slots <- struct{}{}
			running.Go(func() {
				defer func() { <-slots }()
				d.handle(ctx, l, batch)
			})
		}
	}
	if len(l.first) > 0 {
		begin(l.first)
		// There was nothing else in the queue when it was reserved.
		select {
		case <-l.settled:
		case <-l.wake:
			l.alone.Store(-1) // now there is, or was
		case <-receiving.Done():
		}
		if d.rest(receiving, l) {
			return
		}
	}
	for receiving.Err() == nil {
		l.alone.Store(-1)
		slots <- struct{}{} // one is free
		wanted := (cap(slots) - len(slots) + 1) * l.Batch
		leases := d.receive(receiving, l, wanted)
		<-slots
		drained := len(leases) == 0 || len(leases) < wanted && !d.Waits
		begin(leases)
		if drained && d.rest(receiving, l) {
			return
		}
	}
	running.Wait()
	d.leave(l)
}

// receiving returns a context in which a lane receives, until it is reset.
func (d *Dispatcher) receiving(ctx context.Context, l *lane) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.stop = stop; l.ended() {
		stop()
	}
	return ctx, stop
}

// leave takes a lane out of service; one that was reset is followed by another.
func (d *Dispatcher) leave(l *lane) {
	d.mu.Lock()
	delete(d.lanes, l.queue)
	d.mu.Unlock()
	if l.ended() {
		d.Serve(l.queue)
	}
}

// receive takes up to n messages, and waits the lane's window for a first batch
// to fill.
func (d *Dispatcher) receive(ctx context.Context, l *lane, n int) []rouse.Lease {
	leases, err := d.take(ctx, l, n)
	if err != nil && ctx.Err() == nil {
		d.Log.Error("receive messages", "queue", l.queue, "error", err)
	}
	if l.Window <= 0 || len(leases) == 0 || len(leases) >= l.Batch {
		return leases
	}
	// A third of the lease is left for what holds it from then on.
	end := time.NewTimer(min(l.Window, d.Lease/3))
	defer end.Stop()
	for len(leases) < l.Batch {
		select {
		case <-ctx.Done():
			return leases
		case <-end.C:
			return leases
		case <-l.wake:
		}
		more, err := d.take(ctx, l, n-len(leases))
		if err != nil && ctx.Err() == nil {
			d.Log.Error("receive messages", "queue", l.queue, "error", err)
			return leases
		}
		leases = append(leases, more...)
	}
	return leases
}

// rest waits until there may be something in the queue again, and says whether
// the lane has ended because there is nothing to wait for.
func (d *Dispatcher) rest(ctx context.Context, l *lane) (ended bool) {
	for {
		if l.alone.Load() == 0 {
			return d.retire(l)
		}
		done := d.turn()
		s, err := d.Stats(ctx, l.queue)
		done()
		if err == nil && s.Visible+s.Leased == 0 {
			return d.retire(l)
		}
		if err == nil && s.Visible > 0 {
			return false
		}
		wait := d.Poll
		if err == nil && s.Next >= 0 {
			wait = min(wait, s.Next+time.Millisecond)
		}
		timer := time.NewTimer(wait)
		select {
		case <-l.settled:
			timer.Stop()
			continue // perhaps the last one
		case <-ctx.Done():
		case <-l.wake:
		case <-timer.C:
		}
		timer.Stop()
		return false
	}
}

// retire takes a lane out of service unless something has come in meanwhile.
func (d *Dispatcher) retire(l *lane) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(l.wake) > 0 {
		<-l.wake
		return false
	}
	delete(d.lanes, l.queue)
	return true
}

// handle has leased messages handled and does with them as is said.
func (d *Dispatcher) handle(ctx context.Context, l *lane, leases []rouse.Lease) {
	// The server stops only when what was begun is done.
	ctx = context.WithoutCancel(ctx)
	over := d.hold(ctx, l, leases)
	d.calm(l)
	outcomes := d.Handle(ctx, l.queue, leases)
	over()
	again := false
	for i, o := range outcomes {
		var err error
		id := leases[i].ID
		switch {
		case o.Bury != "":
			err = d.Queue.Bury(ctx, l.queue, d.hands.valid(l.queue, id), o.Bury)
			d.hands.leave(l.queue, id)
		case o.Again:
			_, err = d.Queue.Extend(ctx, l.queue, d.hands.leave(l.queue, id), o.After)
			again = true
		default:
			l.deleting.Add(1)
			d.finished <- finished{l, id}
		}
		if err != nil { // it will be handled again when the lease is over
			d.Log.Error("settle a message", "queue", l.queue, "message", id, "error", err)
		}
	}
	if again {
		signal(l.wake)
	}
}

// hold extends leases until the returned function is called.
func (d *Dispatcher) hold(ctx context.Context, l *lane, leases []rouse.Lease) func() {
	var mu sync.Mutex // held while leases are extended
	over := false
	var timer *time.Timer
	extend := func() {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		for _, lease := range leases {
			r := d.hands.valid(l.queue, lease.ID)
			next, err := d.Queue.Extend(ctx, l.queue, r, d.Lease)
			if err != nil {
				d.Log.Warn("extend the lease of a message", "queue", l.queue, "error", err)
				continue
			}
			d.hands.renew(l.queue, r, next)
		}
		timer.Reset(d.Lease / 3)
	}
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(d.Lease/3, extend)
	return func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
}

// maxBackoff bounds the time between two attempts.
const maxBackoff = 15 * time.Minute

// Backoff is how long to wait after the attempt of that number (1 is the
// first): doubled each time, with a jitter of half, so that what failed
// together does not come back together.
func Backoff(first rouse.Duration, attempt int) time.Duration {
	d := time.Duration(first)
	for range min(attempt-1, 30) {
		d = min(2*d, maxBackoff)
	}
	return d/2 + rand.N(d/2+1)
}
