package rule

import (
	"cmp"
	"context"
	"maps"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

// Emit implements event.Emitter.
func (e *Engine) Emit(ctx context.Context, trigger rouse.Ref, es []rouse.Event, state []byte) error {
	return e.EmitMany(ctx, []event.Emission{{Trigger: trigger, Events: es, State: state}})[0]
}

// EmitMany implements event.ManyEmitter. Whatever triggers make passes here: what
// the platform itself says of an event is said here, and nowhere before.
func (e *Engine) EmitMany(ctx context.Context, all []event.Emission) []error {
	errs := make([]error, len(all))
	cause, wanted := event.CauseOf(ctx), event.ActivationOf(ctx)
	there, where := make([]event.Emission, 0, len(all)), make([]int, 0, len(all))
	for i, m := range all {
		if _, errs[i] = e.Trigger(ctx, m.Trigger); errs[i] != nil {
			continue
		}
		for j := range m.Events {
			ev := &m.Events[j]
			if ev.Source == "" {
				ev.Source = "trigger:" + m.Trigger.Name
			}
			ev.Type = orText(ev.Type, typeAny)
			ev.Attributes = cause.In(ev.Attributes)
		}
		if wanted != "" && len(m.Events) > 0 {
			first := &m.Events[0]
			if first.Attributes = maps.Clone(first.Attributes); first.Attributes == nil {
				first.Attributes = map[string]string{}
			}
			first.Attributes[event.AttributeActivation] = wanted
		}
		there, where = append(there, m), append(where, i)
	}
	for i, err := range e.Inbox.AddMany(ctx, there) {
		errs[where[i]] = err
	}
	return errs
}

// State implements event.Emitter.
func (e *Engine) State(ctx context.Context, trigger rouse.Ref) ([]byte, error) {
	return e.Inbox.State(ctx, trigger)
}

// Status implements event.Control.
func (e *Engine) Status(ctx context.Context, r rouse.Ref) (event.Status, error) {
	c, err := e.find(r)
	if err != nil {
		return event.Status{}, err
	}
	e.mu.Lock()
	s := event.Status{Paused: c.Paused, Failing: e.failing[r]}
	e.mu.Unlock()
	own, err := e.queued.Stats(ctx, queueOf(c))
	if err != nil {
		return s, err
	}
	s.Waiting, s.Dead = own.Visible+own.Leased, own.Dead
	if err := e.countWaiting(ctx, c, &s); rouse.KindOf(err) == rouse.NotFound {
		s.Failing = origin(c.On) + " is gone"
	} else if err != nil {
		return s, err
	}
	return s, nil
}

// countWaiting adds to a status what waits in what a rule listens to. Errors:
// NotFound where that is no more.
func (e *Engine) countWaiting(ctx context.Context, c *compiled, s *event.Status) error {
	if c.On.Queue != "" {
		n, err := e.Data.Queues.Counts(ctx, rouse.Ref{Namespace: c.Namespace, Name: c.On.Queue})
		s.Waiting += n.Visible + n.Leased + n.Delayed
		return err
	}
	f := c.feed()
	shards, err := e.source(f).Shards(ctx, f.ref)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		p, err := e.positions(ctx, f, shard.ID)
		if err != nil {
			return err
		}
		at, own := p.rules[c.Name]
		if !own {
			at = p.front
		}
		b, err := e.source(f).Read(ctx, data.FeedQuery{Ref: f.ref, Shard: shard.ID, After: at, Limit: 1})
		if err != nil {
			return err
		}
		// Of the inbox's events, how many are for this rule is not known ahead.
		if b.Newest > at && f.kind != "events" {
			s.Waiting += int64(b.Newest - at)
		}
		if len(b.Entries) > 0 && own {
			at := cmp.Or(b.Entries[0].Stored, b.Entries[0].Event.Time)
			if s.Oldest.IsZero() || at.Before(s.Oldest) {
				s.Oldest = at
			}
		}
	}
	return nil
}

// Pause implements event.Control.
func (e *Engine) Pause(ctx context.Context, r rouse.Ref, why string) error {
	if why == "" {
		why = "on demand"
	}
	return e.alter(ctx, r, func(rule *event.Rule) { rule.Paused = why })
}

// Resume implements event.Control.
func (e *Engine) Resume(ctx context.Context, r rouse.Ref) error {
	e.usage.clear(r)
	err := e.alter(ctx, r, func(rule *event.Rule) { rule.Paused, rule.Resumed = "", e.Now().UTC() })
	e.parked.forget(r) // it counts from Resumed
	return err
}

// alter changes a rule that stays what it is, also where somebody else does as
// well.
func (e *Engine) alter(ctx context.Context, r rouse.Ref, change func(*event.Rule)) error {
	for tries := 1; ; tries++ {
		c, err := e.find(r)
		if err != nil {
			return err
		}
		rule := c.Rule
		change(&rule)
		next, err := compile(rule)
		if err != nil {
			return err
		}
		if err = e.put(ctx, next, c.revision); rouse.KindOf(err) != rouse.Conflict || tries == 10 {
			return err
		}
	}
}

// Dead implements event.Control.
func (e *Engine) Dead(ctx context.Context, r rouse.Ref, after int64, limit int) ([]rouse.DeadLetter, error) {
	c, err := e.find(r)
	if err != nil {
		return nil, err
	}
	return e.Queue.Dead(ctx, queueOf(c), after, limit)
}

// Redrive implements event.Control.
func (e *Engine) Redrive(ctx context.Context, r rouse.Ref, ids []int64) (int, error) {
	c, err := e.find(r)
	if err != nil {
		return 0, err
	}
	// Before: by that it is known from what is on its way to the dead letters.
	if err := e.alter(ctx, r, func(rule *event.Rule) { rule.Redriven = e.Now().UTC() }); err != nil {
		return 0, err
	}
	n, err := e.Queue.Redrive(ctx, queueOf(c), ids)
	e.parked.forget(r)
	if n > 0 {
		e.queued.Serve(queueOf(c))
	}
	return n, err
}

// Find implements event.Viewer.
func (e *Engine) Find(ctx context.Context, ns rouse.Namespace, id string) (rouse.Event, error) {
	ev, err := e.Inbox.Find(ctx, ns, id)
	if err == nil || rouse.KindOf(err) != rouse.NotFound {
		return ev, err
	}
	// Those of other feeds say where they are.
	parts := strings.Split(id, "/")
	if len(parts) != 4 || parts[0] != string(ns) {
		return ev, err
	}
	for _, kind := range []string{"stream", "table", "bucket"} {
		f := feed{kind, rouse.Ref{Namespace: ns, Name: parts[1]}}
		if found, ok := e.lookUp(ctx, f, parts[2], id); ok {
			return found, nil
		}
	}
	return ev, err
}

// lookUp looks for an event in a shard.
func (e *Engine) lookUp(ctx context.Context, f feed, shard, id string) (rouse.Event, bool) {
	n, ok := sequence(id)
	if !ok {
		return rouse.Event{}, false
	}
	b, err := e.source(f).Read(ctx, data.FeedQuery{Ref: f.ref, Shard: shard, After: n - 1, Limit: 1})
	if err != nil || len(b.Entries) == 0 || b.Entries[0].Event.ID != id {
		return rouse.Event{}, false
	}
	return b.Entries[0].Event, true
}

// sequence reads the number that an event's ID ends with.
func sequence(id string) (n uint64, ok bool) {
	digits := id[strings.LastIndexByte(id, '/')+1:]
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' || n > 1<<60 {
			return 0, false
		}
		n = n*10 + uint64(digits[i]-'0')
	}
	return n, n > 0
}

// replayAtOnce is how many events a replay queues in one transaction.
const replayAtOnce = 500

// Replay implements event.Control.
func (e *Engine) Replay(ctx context.Context, p event.Replay) (int, error) {
	c, err := e.find(p.Rule)
	if err != nil {
		return 0, err
	}
	f := c.feed()
	switch {
	case f == (feed{}):
		return 0, rouse.Errorf(rouse.Invalid, "replay", p.Rule.String(), "what is taken from a queue is not kept: it can't be replayed")
	case p.Since.IsZero():
		return 0, rouse.Errorf(rouse.Invalid, "replay", p.Rule.String(), "it wants the time from which on")
	case p.Rate < 0:
		return 0, rouse.Errorf(rouse.Invalid, "replay", p.Rule.String(), "rate is negative")
	case p.Rate == 0:
		p.Rate = 50
	}
	var to *event.Target
	if p.Function != "" || p.Version != "" {
		t := event.Target{Function: orText(p.Function, c.To.Function), Qualifier: p.Version}
		if err := e.checkTarget(ctx, &c.Rule, t, event.Prospect{}); err != nil {
			return 0, about("replay", p.Rule, err)
		}
		to = &t
	}
	shards, err := e.source(f).Shards(ctx, f.ref)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, s := range shards {
		m, err := e.replay(ctx, c, s.ID, p, to, n)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// replay queues what a rule matched in a shard, after n others.
func (e *Engine) replay(ctx context.Context, c *compiled, shard string, p event.Replay, to *event.Target, n int) (queuedNow int, err error) {
	f := c.feed()
	first, err := e.source(f).Seek(ctx, f.ref, shard, p.Since)
	if err != nil {
		return 0, err
	}
	after, err := e.source(f).Seek(ctx, f.ref, shard, p.Since.Add(-maxAhead))
	if err != nil {
		return 0, err
	}
	last, err := e.lastBefore(ctx, f, shard, p.Until)
	if err != nil {
		return 0, err
	}
	apart := time.Duration(float64(time.Second) / p.Rate)
	for after < last {
		b, err := e.source(f).Read(ctx, data.FeedQuery{Ref: f.ref, Shard: shard, After: after, Limit: replayAtOnce})
		if err != nil || b.After <= after {
			return queuedNow, err
		}
		after = b.After
		var qs []queued
		for i := range b.Entries {
			entry := &b.Entries[i]
			if entry.Sequence > last || entry.Due.After(e.Now()) || !p.Until.IsZero() && !entry.Due.Before(p.Until) {
				continue
			}
			if entry.Sequence <= first && entry.Due.Before(p.Since) {
				continue // but for what was stored ahead it is too old
			}
			if c.matches(entry) && c.pattern.Match(document(entry)) {
				at := e.Now().Add(time.Duration(n+queuedNow+len(qs)) * apart)
				qs = append(qs, queued{Event: replayed(entry.Event), To: to, Stored: at})
			}
		}
		if len(qs) == 0 {
			continue
		}
		if err := e.send(ctx, c, qs, spacing{time.Duration(n+queuedNow) * apart, apart}); err != nil {
			return queuedNow, err
		}
		queuedNow += len(qs)
	}
	return queuedNow, nil
}

// lastBefore returns the number of the last entry of a shard that came in before
// a time; zero is now, and counts what there is.
func (e *Engine) lastBefore(ctx context.Context, f feed, shard string, until time.Time) (uint64, error) {
	if !until.IsZero() {
		return e.source(f).Seek(ctx, f.ref, shard, until)
	}
	b, err := e.source(f).Read(ctx, data.FeedQuery{Ref: f.ref, Shard: shard, Limit: 1})
	return b.Newest, err
}

// replayed marks an event as one that was delivered before. It keeps its ID, by
// which a function knows that it has seen it.
func replayed(ev rouse.Event) rouse.Event {
	marked := map[string]string{event.AttributeReplayed: "true"}
	for k, v := range ev.Attributes {
		marked[k] = v
	}
	ev.Attributes = marked
	return ev
}
