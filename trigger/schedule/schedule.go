// Package schedule makes events at times: by cron expressions, at even
// distances, or once.
//
// A trigger keeps the time that it fired for last in the store, in one
// transaction with the event; what is due after that time and not after now
// fires. So no firing is lost or comes twice when the platform is started anew,
// and a clock that is put back makes triggers wait, not fire again. A firing
// has an ID made of the trigger's name and the time it was due.
//
// Zones with daylight saving: an expression that names hours, such as "30 2 * *
// *", fires once for each time it names. Where that comes twice it fires at the
// first, and where it is left out, when clocks are put forward. One that goes
// through all hours, such as "*/15 * * * *", goes by what clocks show: it fires
// in both of a doubled hour, and not in one that is left out.
package schedule

import (
	"container/heap"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/trigger"
)

// A Config says with what a Source works.
type Config struct {
	Emitter event.Emitter
	Now     func() time.Time // the clock on the wall; nil is time.Now
	Log     *slog.Logger     // nil discards
}

// A Source fires all triggers of the kind "schedule" from one goroutine, which
// runs while there are any; others, no more than maxBusy at once, store the
// events. It implements event.Source.
type Source struct {
	Config
	emitter trigger.Patient
	busy    chan struct{} // holds one for each trigger that reads or stores

	mu      sync.Mutex
	queue   queue         // guarded by mu; what waits, by when it is due
	entries int           // guarded by mu; triggers that were started and not stopped
	wake    chan struct{} // has room for one; a new first in the queue
	end     context.CancelFunc
	ended   chan struct{}
}

// maxBusy is how many triggers are read or stored at once; the store commits
// what comes in together.
const maxBusy = 256

// longestNap is after which the clock is looked at, as it may have been set.
const longestNap = time.Second

// New returns a Source that needs no closing: it stops with its last trigger.
func New(c Config) *Source {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Log = trigger.Logger(c.Log)
	return &Source{Config: c, emitter: trigger.Patient{Emitter: c.Emitter, Log: c.Log},
		busy: make(chan struct{}, maxBusy), wake: make(chan struct{}, 1)}
}

// Kind implements event.Source.
func (s *Source) Kind() string { return "schedule" }

// Check implements event.Source.
func (s *Source) Check(raw json.RawMessage) (json.RawMessage, error) {
	t, err := read(raw)
	if err != nil {
		return nil, err
	}
	return trigger.Encode(t.config)
}

// An entry is a trigger that was started. Only one goroutine at a time works on
// it: the one that took it out of the queue.
type entry struct {
	event.Trigger
	table  *timetable
	ctx    context.Context
	cancel context.CancelFunc

	state  state
	loaded bool
	due    time.Time // zero until it is loaded
	place  int       // in the queue, guarded by the Source's mu; -1 is none
	idle   sync.WaitGroup
}

// Start implements event.Source.
func (s *Source) Start(t event.Trigger) (func(), error) {
	table, err := read(t.Config)
	if err != nil {
		return nil, err
	}
	e := &entry{Trigger: t, table: table, place: -1}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries++; s.entries == 1 {
		var ctx context.Context
		ctx, s.end = context.WithCancel(context.Background())
		s.ended = make(chan struct{})
		go s.run(ctx, s.ended)
	}
	heap.Push(&s.queue, e)
	s.nudge()
	return sync.OnceFunc(func() { s.stop(e) }), nil
}

func (s *Source) stop(e *entry) {
	e.cancel()
	s.mu.Lock()
	if e.place >= 0 {
		heap.Remove(&s.queue, e.place)
	}
	s.mu.Unlock()
	e.idle.Wait()
	s.mu.Lock()
	s.entries--
	last, end, ended := s.entries == 0, s.end, s.ended
	s.mu.Unlock()
	if last {
		end()
		<-ended
	}
}

// nudge makes the goroutine look at the queue.
func (s *Source) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run takes out of the queue what is due, until ctx ends.
func (s *Source) run(ctx context.Context, ended chan<- struct{}) {
	defer close(ended)
	timer := time.NewTimer(longestNap)
	defer timer.Stop()
	for {
		nap := longestNap
		for {
			e, wait := s.take()
			if e == nil {
				nap = min(nap, wait)
				break
			}
			select {
			case s.busy <- struct{}{}:
			case <-ctx.Done():
				s.put(e) // it was started after the last one stopped: for the goroutine that runs now
				e.idle.Done()
				return
			}
			go func() {
				defer func() { <-s.busy }()
				s.work(e)
			}()
		}
		timer.Reset(nap)
		select {
		case <-timer.C:
		case <-s.wake:
		case <-ctx.Done():
			return
		}
	}
}

// take removes the first of the queue where it is due; else it says how long
// that takes.
func (s *Source) take() (*entry, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil, longestNap
	}
	e := s.queue[0]
	if wait := e.due.Sub(s.Now()); wait > 0 {
		return nil, wait
	}
	heap.Pop(&s.queue)
	e.idle.Add(1) // before mu is given back, so that stop waits for it
	return e, 0
}

// work loads an entry, or fires it, and puts it back in the queue.
func (s *Source) work(e *entry) {
	defer e.idle.Done()
	do := s.fire
	if !e.loaded {
		do = s.load
	}
	if err := do(e); err != nil {
		if e.ctx.Err() == nil {
			s.Log.Error("a schedule stands still", "trigger", e.Ref.String(), "error", err)
		}
		return
	}
	e.due = e.table.next(e.state)
	if e.due.IsZero() {
		return // it is through
	}
	s.put(e)
}

// put puts an entry in the queue unless it was stopped.
func (s *Source) put(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.ctx.Err() != nil {
		return
	}
	heap.Push(&s.queue, e)
	if e.place == 0 {
		s.nudge()
	}
}

// load reads how far a trigger came. One that has a new rhythm begins anew.
func (s *Source) load(e *entry) error {
	b, err := s.emitter.State(e.ctx, e.Ref)
	if err != nil {
		return err
	}
	e.loaded = true
	if b != nil {
		if err := json.Unmarshal(b, &e.state); err != nil {
			return rouse.Errorf(rouse.Internal, "read state", e.Ref.String(), "it is not what was stored: %w", err)
		}
		if e.state.Of == e.table.fingerprint() {
			return nil
		}
	}
	begun := s.Now().UTC().Round(0) // by the wall, as it is when it is read again
	if b == nil && !e.Created.IsZero() && e.Created.Before(begun) {
		begun = e.Created.UTC().Round(0) // it may have been stopped before it began
	}
	e.state = state{Of: e.table.fingerprint(), Begun: begun, Last: begun}
	return s.emitter.Emit(e.ctx, e.Ref, nil, e.state.encode())
}

// fire stores the events of what is due.
func (s *Source) fire(e *entry) error {
	now := s.Now()
	fs, after, dropped := e.table.due(e.state, now)
	if dropped > 0 {
		s.Log.Warn("firings were missed and are dropped", "trigger", e.Ref.String(), "firings", dropped)
	}
	if after == e.state {
		return nil // the clock was put back between two looks at it
	}
	es := make([]rouse.Event, len(fs))
	for i, f := range fs {
		var err error
		if es[i], err = e.table.fire(e.Ref, f, now); err != nil {
			return err
		}
	}
	if err := s.emitter.Emit(e.ctx, e.Ref, es, after.encode()); err != nil {
		return err
	}
	e.state = after
	return nil
}
