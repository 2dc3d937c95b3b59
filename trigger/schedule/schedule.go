// Package schedule makes events at times: by cron expressions, at even
// distances, or once.
//
// A trigger keeps the time that it fired for last in the store, in one
// transaction with the event; what is due after that time and not after now
// fires. So no firing is lost or comes twice when the platform is started anew,
// and a clock that is put back makes triggers wait, not fire again. A firing
// has an ID made of the trigger's name and the time it was due.
//
// What is due soon is stored ahead, so that nothing is left to do when its time
// comes but to call the function: else ten thousand schedules that are due at
// one moment would have to be stored first. One firing of a trigger at a time is
// stored ahead; the next one, when it is over. With "missed": "skip" none is.
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
	Emitter event.ManyEmitter
	Now     func() time.Time // the clock on the wall; nil is time.Now
	Log     *slog.Logger     // nil discards
}

// A Source fires all triggers of the kind "schedule" from one goroutine, which
// runs while there are any; others store the events of all that are due
// together. It implements event.Source.
type Source struct {
	Config
	trigger.Healths
	emitter trigger.PatientMany
	loading chan struct{} // holds one for each goroutine that reads a state
	firing  chan struct{} // holds one for each goroutine that stores events

	mu      sync.Mutex
	queue   queue         // guarded by mu; what waits, by when it is due
	entries int           // guarded by mu; triggers that were started and not stopped
	wake    chan struct{} // has room for one; a new first in the queue
	end     context.CancelFunc
	ended   chan struct{}
}

const (
	maxLoading = 256 // goroutines; the store commits what comes in together
	maxFiring  = 4   // goroutines: some make events while the others' are stored
	fireAtOnce = 500 // triggers that one transaction fires: the first of very many need not wait for the last, nor others for all
)

// How far ahead a firing is stored, and how near it is to be that it no longer
// pays.
const (
	ahead = 3 * time.Second
	soon  = 300 * time.Millisecond
)

// longestNap is after which the clock is looked at, as it may have been set.
const longestNap = time.Second

// New returns a Source that needs no closing: it stops with its last trigger.
func New(c Config) *Source {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Log = trigger.Logger(c.Log)
	return &Source{Config: c, emitter: trigger.PatientMany{ManyEmitter: c.Emitter, Log: c.Log},
		loading: make(chan struct{}, maxLoading), firing: make(chan struct{}, maxFiring), wake: make(chan struct{}, 1)}
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

// CheckNew implements event.Beginner.
func (s *Source) CheckNew(raw json.RawMessage) error {
	t, err := read(raw)
	if err != nil || t.Paused {
		return err
	}
	switch now := s.Now().UTC(); {
	case !t.next(t.begin(now)).IsZero():
		return nil
	case t.At != "" && !t.at.After(now):
		return invalid("at", "%s has passed, and with missed: skip it would never fire", t.At)
	case t.At != "":
		return invalid("at", "%s is before from, or not before until: it would never fire", t.At)
	}
	return invalid("until", "%s has passed, or comes before the first firing: it would never fire", t.Until)
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
	turn   time.Time // when to look after it: at due, or ahead of that
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
	defer s.Drop(e.Ref)
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
		due, more, nap := s.takeDue()
		if !s.start(ctx, due) {
			return
		}
		if more {
			continue
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

// takeDue takes out of the queue what is due, no more than one transaction
// fires. Where there is no more it says how long that takes.
func (s *Source) takeDue() (due []*entry, more bool, nap time.Duration) {
	for len(due) < fireAtOnce {
		e, wait := s.take()
		if e == nil {
			return due, false, min(longestNap, wait)
		}
		due = append(due, e)
	}
	return due, true, 0
}

// start has entries loaded, each by itself, or fired together. It returns false
// where ctx has ended.
func (s *Source) start(ctx context.Context, due []*entry) bool {
	var loaded []*entry
	for i, e := range due {
		if e.loaded {
			loaded = append(loaded, e)
		} else if !spawn(ctx, s.loading, func() { s.load(e) }) {
			s.giveBack(append(loaded, due[i:]...))
			return false
		}
	}
	if len(loaded) > 0 && !spawn(ctx, s.firing, func() { s.fire(loaded) }) {
		s.giveBack(loaded)
		return false
	}
	return true
}

// spawn runs f in a goroutine when there is room for one.
func spawn(ctx context.Context, room chan struct{}, f func()) bool {
	select {
	case room <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	go func() {
		defer func() { <-room }()
		f()
	}()
	return true
}

// giveBack puts entries in the queue that were taken out for nothing. They were
// started after the last one stopped: they are for the goroutine that runs now.
func (s *Source) giveBack(es []*entry) {
	for _, e := range es {
		s.put(e)
		e.idle.Done()
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
	if wait := e.turn.Sub(s.Now()); wait > 0 {
		return nil, wait
	}
	heap.Pop(&s.queue)
	e.idle.Add(1) // before mu is given back, so that stop waits for it
	return e, 0
}

// done ends the work on an entry and puts it back in the queue, unless it is
// through or err says that it can't go on.
func (s *Source) done(e *entry, err error) {
	defer e.idle.Done()
	if err != nil {
		if e.ctx.Err() == nil {
			s.Log.Error("a schedule stands still", "trigger", e.Ref.String(), "error", err)
			s.Set(e.Ref, event.Stopped, err)
		}
		return
	}
	e.due = e.table.next(e.state)
	s.Set(e.Ref, e.health(), nil)
	if !e.due.IsZero() {
		e.turn = e.turnAt(s.Now())
		s.put(e)
	}
}

// health is how an entry does that is loaded.
func (e *entry) health() event.State {
	switch {
	case e.table.Paused:
		return event.Paused
	case e.due.IsZero():
		return event.Done
	}
	return event.Running
}

// turnAt returns when to look after an entry.
func (e *entry) turnAt(now time.Time) time.Time {
	if e.table.Missed == missedSkip { // a server that is killed before it is due is to skip it
		return e.due
	}
	turn := e.due.Add(-ahead)
	if turn.Before(e.state.Last) { // which may be to come itself
		turn = e.state.Last
	}
	if !turn.After(now) && e.due.Sub(now) < soon {
		return e.due
	}
	return turn
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

// load reads how far a trigger came.
func (s *Source) load(e *entry) { s.done(e, s.read(e)) }

// read reads an entry's state. One that has a new rhythm begins anew.
func (s *Source) read(e *entry) error {
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
			if e.state.Paused == e.table.Paused {
				return nil
			}
			e.state = e.state.turned(e.table.Paused, s.Now())
			return s.emitter.Emit(e.ctx, e.Ref, nil, e.state.encode())
		}
	}
	begun := s.Now().UTC().Round(0) // by the wall, as it is when it is read again
	if b == nil && !e.Created.IsZero() && e.Created.Before(begun) {
		begun = e.Created.UTC().Round(0) // it may have been stopped before it began
	}
	e.state = e.table.begin(begun)
	return s.emitter.Emit(e.ctx, e.Ref, nil, e.state.encode())
}

// fire stores the events of entries that are due.
func (s *Source) fire(due []*entry) {
	// Who stops one must not wait for a store that can't be reached: then the
	// others are tried again without it. What was stored all the same is told by
	// its IDs.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	now := s.Now()
	var all []event.Emission
	var firing []*entry
	var after []state
	for _, e := range due {
		es, next, err := s.events(e, now)
		if err != nil || next == e.state { // the clock was put back between two looks at it
			s.done(e, err)
			continue
		}
		stop := context.AfterFunc(e.ctx, cancel)
		defer stop()
		m := event.Emission{Trigger: e.Ref, Events: es, State: next.encode()}
		if e.due.After(now) {
			m.Due = e.due
		}
		all = append(all, m)
		firing, after = append(firing, e), append(after, next)
	}
	if len(all) == 0 {
		return
	}
	for i, err := range s.emitter.EmitMany(ctx, all) {
		e := firing[i]
		if err == nil {
			e.state = after[i]
		}
		if err != nil && ctx.Err() != nil { // another was stopped
			err = nil
		}
		s.done(e, err)
	}
}

// events makes the events of what is due, or of the next that will be, and the
// state after them.
func (s *Source) events(e *entry, now time.Time) ([]rouse.Event, state, error) {
	if e.due.After(now) {
		after := e.state
		after.Last, after.Fired = e.due, after.Fired+1
		ev, err := e.table.fire(e.Ref, firing{due: e.due}, e.due)
		return []rouse.Event{ev}, after, err
	}
	fs, after, dropped := e.table.due(e.state, now)
	if dropped > 0 {
		s.Log.Warn("firings were missed and are dropped", "trigger", e.Ref.String(), "firings", dropped)
	}
	es := make([]rouse.Event, len(fs))
	for i, f := range fs {
		var err error
		if es[i], err = e.table.fire(e.Ref, f, now); err != nil {
			return nil, after, err
		}
	}
	return es, after, nil
}
