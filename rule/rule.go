// Package rule carries events to what rules say: it keeps triggers and rules,
// reads each feed once for all the rules on it, and delivers what matches, at
// least once.
package rule

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dispatch"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/rule/inbox"
)

// A Config says what an Engine stands on.
type Config struct {
	Meta      rouse.Meta
	Keys      rouse.Keys  // for how far rules have come
	Queue     rouse.Queue // for what rules deliver side by side
	SendAll   SendAll     // to several of Queue's; nil is one after the other
	DeleteAll DeleteAll   // of several of Queue's; nil is each by itself
	Inbox     *inbox.Inbox
	Data      data.Services
	Take      func(context.Context, data.Receive) ([]data.Delivery, error) // receives for the server itself; nil is as Data.Queues does
	Registry  rouse.Registry
	Invoker   rouse.Invoker
	Settle    func(context.Context) // returns once what was recorded so far is stored; nil does nothing
	Client    *http.Client          // for webhooks; nil is one that waits 30 s
	Hop       Hop                   // goes with what webhooks get; nil does not
	Parallel  int                   // deliveries of a rule at once where it says nothing; 0 is 16
	MaxHops   int                   // activations in a row that events may lead to; 0 is 16
	MaxParked int                   // events of a rule that have led to more, beyond which it is paused; 0 is 1000
	Purge     Purge                 // of one of Queue's; nil leaves what is in it to be delivered to nobody
	Lease     time.Duration         // after which what a dead server had begun is delivered again; 0 is 30 s
	Poll      time.Duration         // how often to look for what other nodes did; 0 is 10 s
	Now       func() time.Time      // nil is time.Now
	Log       *slog.Logger
}

// SendAll sends messages to several queues. Of a queue that taken names so many of
// the first are leased for d at once, and returned, or fewer. Where it fails some
// may have got theirs.
type SendAll func(ctx context.Context, all map[string][]rouse.Message, taken map[string]int, d time.Duration) (map[string][]rouse.Lease, error)

// DeleteAll deletes messages of several queues, and says of each queue which
// receipts were good.
type DeleteAll func(ctx context.Context, all map[string][]rouse.Receipt) (map[string][]bool, error)

// Hop returns a value of the event.HopHeader: what led to something, such that
// nobody else can say it.
type Hop func(event.Cause) string

// Purge removes all that is in a queue, its dead letters included.
type Purge func(ctx context.Context, queue string) error

// An Engine implements event.Rules and event.Control. All methods may be called
// concurrently; nothing is delivered but while Run runs.
type Engine struct {
	Config
	queued  *dispatch.Dispatcher // of the rules' own queues
	taken   *dispatch.Dispatcher // of users' queues
	sources map[string]event.Source
	usage   usage
	parked  parked
	changed chan struct{} // there are other rules than before

	heard       atomic.Pointer[map[rouse.Ref]bool] // functions that rules listen to; nil is none
	forthcoming forthcoming
	turns       [64]sync.Mutex // of triggers that are stopped and started, by their names
	uses        uses

	mu       sync.Mutex
	triggers map[rouse.Ref]*running  // guarded by mu
	rules    map[rouse.Ref]*compiled // guarded by mu
	started  bool                    // guarded by mu: triggers run
	readers  map[feed]*reader        // guarded by mu
	failing  map[rouse.Ref]string    // guarded by mu: what the last attempt met
}

// New returns an Engine. Use must be called before Load.
func New(c Config) *Engine {
	if c.Settle == nil {
		c.Settle = func(context.Context) {}
	}
	if c.Take == nil && c.Data.Queues != nil {
		c.Take = c.Data.Queues.Receive
	}
	if c.SendAll == nil {
		c.SendAll = sendEach(c.Queue)
	}
	if c.Lease == 0 {
		c.Lease = 30 * time.Second
	}
	if c.Client == nil {
		c.Client = &http.Client{Timeout: 30 * time.Second}
	}
	client := *c.Client
	// A client that follows makes a GET without the event of what was posted.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Client = &client
	if c.Parallel == 0 {
		c.Parallel = 16
	}
	if c.MaxHops == 0 {
		c.MaxHops = 16
	}
	if c.MaxParked == 0 {
		c.MaxParked = 1000
	}
	if c.Purge == nil {
		c.Purge = func(context.Context, string) error { return nil }
	}
	if c.Poll == 0 {
		c.Poll = 10 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{Config: c, sources: map[string]event.Source{}, changed: make(chan struct{}, 1), usage: usage{now: c.Now},
		triggers: map[rouse.Ref]*running{}, rules: map[rouse.Ref]*compiled{}, readers: map[feed]*reader{}, failing: map[rouse.Ref]string{}}
	e.queued = dispatch.New(dispatch.Config{Queue: c.Queue, Prefix: queuePrefix, Lane: e.lane, Handle: e.handle, DeleteAll: c.DeleteAll, AtOnce: 16,
		Settle: c.Settle, Lease: c.Lease, Poll: c.Poll, Now: c.Now, Log: c.Log})
	m := &messages{e: e, kept: map[rouse.Receipt]message{}}
	e.taken = dispatch.New(dispatch.Config{Queue: m, Lane: e.messageLane, Handle: m.handle, Cut: m.cut, Group: m.group, Waits: true,
		Settle: c.Settle, Lease: c.Lease, Poll: c.Poll, Log: c.Log})
	return e
}

// Use tells the Engine of the kinds of triggers there are: they need it as
// their Emitter, and so come after it.
func (e *Engine) Use(sources ...event.Source) {
	for _, s := range sources {
		e.sources[s.Kind()] = s
	}
}

// Run starts the triggers and delivers until ctx ends and what it began is
// done.
func (e *Engine) Run(ctx context.Context) error {
	e.startTriggers()
	defer e.stopTriggers()
	// Readers end before what they hand to does.
	queues, endQueues := context.WithCancel(context.WithoutCancel(ctx))
	defer endQueues()
	var dispatching errgroup.Group
	dispatching.Go(func() error { return e.queued.Run(queues) })
	dispatching.Go(func() error { return e.taken.Run(queues) })
	poll := time.NewTicker(e.Poll)
	defer poll.Stop()
	hour := time.NewTicker(time.Hour)
	defer hour.Stop()
	for ctx.Err() == nil {
		e.reconcile(ctx)
		select {
		case <-ctx.Done():
		case <-e.changed:
		case <-poll.C:
		case <-hour.C:
			e.trim(ctx)
		}
	}
	e.mu.Lock()
	all := e.readers
	e.readers = map[feed]*reader{}
	e.mu.Unlock()
	for _, r := range all {
		r.stop()
	}
	endQueues()
	return dispatching.Wait()
}

func (e *Engine) trim(ctx context.Context) {
	for ns := range e.namespaces() {
		if err := e.Inbox.Trim(ctx, ns); err != nil && ctx.Err() == nil {
			e.Log.Error("forget old events", "namespace", ns, "error", err)
		}
	}
}

func (e *Engine) namespaces() map[rouse.Namespace]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := map[rouse.Namespace]bool{}
	for r := range e.triggers {
		all[r.Namespace] = true
	}
	for r := range e.rules {
		all[r.Namespace] = true
	}
	return all
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// known reports whether err is the platform's own word rather than a fault.
func known(err error) bool {
	_, ok := errors.AsType[*rouse.Error](err)
	return ok
}
