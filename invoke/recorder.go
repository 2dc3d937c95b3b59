package invoke

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rouse-run/rouse"
)

// again is how long after a store that could not be written is tried again.
const again = time.Second

// Bounds of what waits to be stored. Who adds more activations waits; lines
// beyond are dropped and counted.
const (
	maxActivations = 20_000
	maxResultBytes = 256 << 20
	maxLineBytes   = 64 << 20
)

// A Recorder stores activations and lines behind the invocations, many in one
// transaction, and serves as the rouse.Records of the platform: who reads sees
// what was added before.
type Recorder struct {
	store rouse.Records
	pause time.Duration
	log   *slog.Logger
	tail  tail
	tell  func(context.Context, []rouse.Activation) error
	soon  func(rouse.Ref) bool

	mu      sync.Mutex
	cond    sync.Cond                    // broadcast when something was stored
	running map[string]*rouse.Activation // guarded by mu; what has begun and not ended, by ID
	ended   []*rouse.Activation          // guarded by mu; room of those that were in running, to be used again
	as      []rouse.Activation           // guarded by mu
	spare   []rouse.Activation           // guarded by mu; the room of what was stored last, to be as again
	results int                          // guarded by mu; bytes of the results of as
	ls      []rouse.Line                 // guarded by mu
	size    int                          // guarded by mu; bytes of ls
	added   int64                        // guarded by mu; activations and lines, ever
	stored  int64                        // guarded by mu; of those, stored or given up
	away    bool                         // guarded by mu; the store can't be written: what waits is tried again
	wake    chan struct{}
	early   chan struct{} // what was added is waited for
	hurry   chan struct{}
	dropped atomic.Int64

	share int64         // bytes; set before Run
	fresh int64         // bytes that Run has stored since it last told grown
	grown chan struct{} // share has been stored
}

// NewRecorder returns a Recorder over store; Run must be running. What was
// added less than pause (0 is 50 ms) ago is lost when the machine stops; or four
// times that, where to store it takes long, as records of many functions do.
func NewRecorder(store rouse.Records, pause time.Duration, log *slog.Logger) *Recorder {
	if pause == 0 {
		pause = 50 * time.Millisecond
	}
	r := &Recorder{store: store, pause: pause, log: log, running: map[string]*rouse.Activation{}, grown: make(chan struct{}, 1), wake: make(chan struct{}, 1), early: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
	r.cond.L = &r.mu
	return r
}

// Tell has f told of all activations before they count as stored; they are f's
// until it returns. Soon, which must be quick, reports whether those of a function
// are waited for; nil is none. It must be called before Run.
func (r *Recorder) Tell(f func(context.Context, []rouse.Activation) error, soon func(rouse.Ref) bool) {
	r.tell, r.soon = f, soon
}

// Grown returns a channel that has something whenever about so many bytes more
// were stored. It must be called before Run.
func (r *Recorder) Grown(bytes int64) <-chan struct{} {
	r.share = bytes
	return r.grown
}

// Begin lets readers see an activation that has not ended: it is pending until
// Add, or Forget.
func (r *Recorder) Begin(a rouse.Activation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var room *rouse.Activation
	if n := len(r.ended); n > 0 {
		room, r.ended = r.ended[n-1], r.ended[:n-1]
	} else {
		room = new(rouse.Activation)
	}
	*room = a
	r.running[a.ID] = room
}

// Forget is the end of an activation that is not recorded.
func (r *Recorder) Forget(id string) {
	r.mu.Lock()
	r.forget(id)
	r.mu.Unlock()
}

// forget takes an activation out of running. The caller holds mu.
func (r *Recorder) forget(id string) {
	const most = 64 // that are kept for others
	room := r.running[id]
	delete(r.running, id)
	if room != nil && len(r.ended) < most {
		*room = rouse.Activation{}
		r.ended = append(r.ended, room)
	}
}

// Add records an activation.
func (r *Recorder) Add(a rouse.Activation) {
	if len(a.Result) > keptResult {
		a.Digest = rouse.DigestOf(a.Result)
		a.Result = nil
	}
	r.mu.Lock()
	for len(r.as) >= maxActivations || r.results >= maxResultBytes {
		signal(r.hurry)
		r.cond.Wait()
	}
	r.forget(a.ID)
	r.as = append(r.as, a)
	r.results += len(a.Result)
	r.added++
	r.mu.Unlock()
	if r.soon != nil && r.soon(a.Function) {
		signal(r.early)
	}
	signal(r.wake)
}

// Line records a line and hands it to those who follow.
func (r *Recorder) Line(l rouse.Line) {
	r.tail.publish(l)
	r.mu.Lock()
	if r.size > maxLineBytes {
		r.mu.Unlock()
		r.dropped.Add(1)
		return
	}
	r.ls = append(r.ls, l)
	r.size += len(l.Text) + 64
	r.added++
	r.mu.Unlock()
	signal(r.wake)
}

// Dropped counts records that were given up.
func (r *Recorder) Dropped() int64 { return r.dropped.Load() }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run stores what is added until ctx ends, and then the rest.
func (r *Recorder) Run(ctx context.Context) error {
	const share = 20 // one part of the time goes into storing
	pause := r.pause
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			r.post(ctx)
			return nil
		case <-r.wake:
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-r.early:
			timer.Reset(r.pause / 10) // for what comes with it
			select {
			case <-timer.C:
			case <-r.hurry:
			case <-ctx.Done():
			}
		case <-r.hurry:
		case <-ctx.Done():
		}
		began := time.Now()
		r.post(ctx)
		pause = min(max(r.pause, share*time.Since(began)), 4*r.pause)
	}
}

// post stores what waits.
func (r *Recorder) post(ctx context.Context) {
	r.mu.Lock()
	as, ls := r.as, r.ls
	const row = 256 // bytes of an activation without its result, or about
	r.fresh += int64(r.size + r.results + row*len(as))
	r.as, r.spare, r.ls, r.size, r.results = r.spare, nil, nil, 0, 0
	upTo := r.added
	r.mu.Unlock()
	if len(as)+len(ls) > 0 {
		if err := r.insist(ctx, func(ctx context.Context) error { return r.store.Post(ctx, as, ls) }); err != nil {
			r.dropped.Add(int64(len(as) + len(ls)))
			r.log.Error("store records", "activations", len(as), "lines", len(ls), "error", err)
		}
		if r.tell != nil && len(as) > 0 {
			if err := r.insist(ctx, func(ctx context.Context) error { return r.tell(ctx, as) }); err != nil {
				r.log.Error("tell of what ran", "activations", len(as), "error", err)
			}
		}
	}
	if r.share > 0 && r.fresh >= r.share {
		r.fresh = 0
		signal(r.grown)
	}
	r.mu.Lock()
	r.stored, r.away = upTo, false
	if len(as) > cap(as)/8 { // as many will come again, mostly
		clear(as)
		r.spare = as[:0]
	}
	r.mu.Unlock()
	r.cond.Broadcast()
}

// insist writes to the store, again and again while that is full or can't be
// reached: what waits for its records is not done before. It gives up when ctx
// ends, and when there is no more room for what comes, for a broken store must
// not stop functions.
func (r *Recorder) insist(ctx context.Context, write func(context.Context) error) error {
	for {
		// Not the caller's context: on the way out there is still this to do.
		writing, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		err := write(writing)
		cancel()
		if rouse.KindOf(err) != rouse.Unavailable || ctx.Err() != nil {
			return err
		}
		r.mu.Lock()
		full := len(r.as) >= maxActivations || r.results >= maxResultBytes
		if !full && !r.away {
			r.away = true
			r.log.Warn("records can't be stored and are tried again", "error", err)
		}
		r.mu.Unlock()
		r.cond.Broadcast()
		if full {
			return err
		}
		select {
		case <-ctx.Done():
		case <-r.hurry:
		case <-time.After(again):
		}
	}
}

// Settle waits until what was added before has been stored, or given up.
func (r *Recorder) Settle(ctx context.Context) { r.settle(ctx, true) }

// catchUp is Settle for who reads: it does not wait for a store that can't be
// written.
func (r *Recorder) catchUp(ctx context.Context) { r.settle(ctx, false) }

func (r *Recorder) settle(ctx context.Context, patient bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	upTo := r.added
	if r.stored >= upTo {
		return
	}
	signal(r.hurry)
	stop := context.AfterFunc(ctx, r.cond.Broadcast)
	defer stop()
	for r.stored < upTo && (patient || !r.away) && ctx.Err() == nil {
		r.cond.Wait()
	}
}

// Post implements rouse.Records.
func (r *Recorder) Post(ctx context.Context, as []rouse.Activation, ls []rouse.Line) error {
	return r.store.Post(ctx, as, ls)
}

// Activation implements rouse.Records.
func (r *Recorder) Activation(ctx context.Context, id string) (rouse.Activation, error) {
	r.mu.Lock()
	if a := r.running[id]; a != nil {
		defer r.mu.Unlock()
		return *a, nil
	}
	r.mu.Unlock()
	r.catchUp(ctx)
	return r.store.Activation(ctx, id)
}

// Activations implements rouse.Records.
func (r *Recorder) Activations(ctx context.Context, q rouse.ActivationQuery) ([]rouse.Activation, error) {
	pending := r.pending(q) // first: what ends meanwhile is then there twice, not missing
	r.catchUp(ctx)
	as, err := r.store.Activations(ctx, q)
	if err != nil || len(pending) == 0 {
		return as, err
	}
	// Where several attempts share an ID, only the running one is not yet stored.
	pending = slices.DeleteFunc(pending, func(p rouse.Activation) bool {
		return slices.ContainsFunc(as, func(a rouse.Activation) bool { return a.ID == p.ID && a.Attempt == p.Attempt })
	})
	all := append(pending, as...)
	slices.SortStableFunc(all, func(a, b rouse.Activation) int { return cmp.Compare(b.ID, a.ID) })
	return all[:min(len(all), cmp.Or(q.Limit, 50))], nil
}

// pending are the activations that run and that q asks for.
func (r *Recorder) pending(q rouse.ActivationQuery) (as []rouse.Activation) {
	if q.Statuses != nil && !slices.Contains(q.Statuses, rouse.StatusPending) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.running {
		if a.Function.Namespace == q.Namespace && (q.Function == "" || a.Function.Name == q.Function) && !a.Started.Before(q.Since) &&
			(q.Until.IsZero() || a.Started.Before(q.Until)) && (q.Before == "" || a.ID < q.Before) {
			as = append(as, *a)
		}
	}
	return as
}

// Lines implements rouse.Records.
func (r *Recorder) Lines(ctx context.Context, q rouse.LineQuery) ([]rouse.Line, error) {
	r.catchUp(ctx)
	return r.store.Lines(ctx, q)
}

// Trim implements rouse.Records.
func (r *Recorder) Trim(ctx context.Context, before time.Time, size int64) error {
	return r.store.Trim(ctx, before, size)
}

// Follow implements rouse.Tail.
func (r *Recorder) Follow(ctx context.Context, ref rouse.Ref, f func(rouse.Line) bool) error {
	return r.tail.follow(ctx, ref, f)
}
