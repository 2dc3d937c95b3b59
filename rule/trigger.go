package rule

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// The kinds of documents.
const (
	triggerKind = "trigger"
	ruleKind    = "rule"
)

// A running trigger makes events until it is stopped.
type running struct {
	event.Trigger
	before   json.RawMessage // the Config before the last change; nil where that has no secrets
	revision int64
	stop     func()    // nil where it does not run
	failed   string    // why it was not started
	since    time.Time // when it was, or was not
}

// Load reads the triggers and rules that are stored, of all namespaces. It must
// be called once, before anything else is.
func (e *Engine) Load(ctx context.Context) error {
	triggers, err := e.Meta.List(ctx, rouse.DocQuery{Kind: triggerKind, All: true})
	if err != nil {
		return err
	}
	rules, err := e.Meta.List(ctx, rouse.DocQuery{Kind: ruleKind, All: true})
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, d := range triggers {
		var s storedTrigger
		if err := json.Unmarshal(d.Data, &s); err != nil {
			return rouse.Errorf(rouse.Internal, "read trigger", d.Ref.String(), "it is not what was stored: %w", err)
		}
		e.triggers[d.Ref] = &running{Trigger: s.Trigger, before: s.Before, revision: d.Revision}
	}
	for _, d := range rules {
		var r event.Rule
		if err := json.Unmarshal(d.Data, &r); err != nil {
			return rouse.Errorf(rouse.Internal, "read rule", d.Ref.String(), "it is not what was stored: %w", err)
		}
		c, err := compile(r)
		if err != nil {
			return err
		}
		c.revision = d.Revision
		e.rules[d.Ref] = c
	}
	e.listen(nil)
	return nil
}

func (e *Engine) startTriggers() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.started = true
	for _, t := range e.triggers {
		e.start(t)
	}
}

// start starts a trigger; e.mu is held.
func (e *Engine) start(t *running) {
	s := e.sources[t.Kind]
	if s == nil || !e.started {
		return
	}
	stop, err := s.Start(t.Trigger)
	t.failed, t.since = "", e.Now().UTC()
	if err != nil {
		t.failed = err.Error()
		e.Log.Error("start trigger", "trigger", t.Ref.String(), "error", err)
		return
	}
	t.stop = stop
}

func (e *Engine) stopTriggers() {
	e.mu.Lock()
	e.started = false
	all := slices.Collect(maps.Values(e.triggers))
	e.mu.Unlock()
	for _, t := range all {
		e.halt(t)
	}
}

// halt stops a trigger; nil is none.
func (e *Engine) halt(t *running) {
	if t == nil {
		return
	}
	e.mu.Lock()
	stop := t.stop
	t.stop = nil
	e.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// SetTrigger implements event.Rules.
func (e *Engine) SetTrigger(ctx context.Context, t event.Trigger) (event.Trigger, error) {
	t, old, was, err := e.checkTrigger(t)
	if err != nil {
		return t, err
	}
	s := e.sources[t.Kind]
	revision, before := int64(0), json.RawMessage(nil)
	if old != nil {
		if old.Kind == t.Kind && string(old.Config) == string(t.Config) {
			return e.setNotes(ctx, old, was, t.Notes) // it need not be started anew
		}
		revision = was.revision
		if old.Kind == t.Kind && len(secretsOf(s)) > 0 {
			before = old.Config
		}
	}
	if err := e.store(ctx, triggerKind, t.Ref, revision, storedTrigger{t, before}); err != nil {
		return t, err
	}
	e.replace(&running{Trigger: t, before: before, revision: revision + 1}, func() {
		if old == nil {
			return
		}
		if err = e.withdraw(ctx, t.Ref); old.Kind != t.Kind {
			err = errors.Join(err, e.forgetTrigger(ctx, old))
		}
	})
	return t, err
}

// checkTrigger returns t as it is to be stored, and the one of its name, which
// was as read: nil where there is none.
func (e *Engine) checkTrigger(t event.Trigger) (_ event.Trigger, old *running, was running, err error) {
	s := e.sources[t.Kind]
	if s == nil {
		kinds := slices.Sorted(maps.Keys(e.sources))
		return t, nil, was, rouse.Errorf(rouse.Invalid, "set trigger", t.Ref.String(), "kind is %q; there are %s", t.Kind, strings.Join(kinds, ", "))
	}
	e.mu.Lock()
	if old = e.triggers[t.Ref]; old != nil {
		was = *old
	}
	e.mu.Unlock()
	config, err := reveal(s, t, old)
	if err == nil {
		config, err = s.Check(config)
	}
	same := old != nil && old.Kind == t.Kind && string(old.Config) == string(config)
	if b, ok := s.(event.Beginner); ok && err == nil && !same {
		err = b.CheckNew(config)
	}
	if err != nil {
		return t, old, was, about("set trigger", t.Ref, err)
	}
	t.Config, t.Created = config, e.Now().UTC()
	if old != nil {
		t.Created = old.Created
	}
	return t, old, was, nil
}

// setNotes gives a trigger that goes on as it is, and was as read before, other
// Notes.
func (e *Engine) setNotes(ctx context.Context, t *running, was running, notes rouse.Notes) (event.Trigger, error) {
	same := func(a, b json.RawMessage) bool { return string(a) == string(b) }
	if maps.EqualFunc(was.Notes, notes, same) {
		return was.Trigger, nil
	}
	was.Notes = notes
	if err := e.store(ctx, triggerKind, was.Ref, was.revision, storedTrigger{was.Trigger, was.before}); err != nil {
		return was.Trigger, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	t.Notes, t.revision = notes, was.revision+1
	return was.Trigger, nil
}

// replace puts a trigger in the place of the one of its name, which is stopped
// first, and then done with: the two must not both see one thing happen.
func (e *Engine) replace(t *running, stopped func()) {
	defer e.turn(t.Ref)()
	e.mu.Lock()
	old := e.triggers[t.Ref]
	e.triggers[t.Ref] = t
	e.mu.Unlock()
	e.halt(old)
	stopped()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.triggers[t.Ref] == t {
		e.start(t)
	}
}

// turn keeps those apart who stop and start the trigger of a name, until the
// function is called that it returns.
func (e *Engine) turn(r rouse.Ref) (done func()) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(r.Name))
	m := &e.turns[h.Sum32()%uint32(len(e.turns))]
	m.Lock()
	return m.Unlock
}

// store writes a document of a revision that was read before.
func (e *Engine) store(ctx context.Context, kind string, r rouse.Ref, revision int64, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return rouse.Errorf(rouse.Invalid, "set "+kind, r.String(), "it can't be written as JSON: %w", err)
	}
	return e.Meta.Apply(ctx, []rouse.Change{{Kind: kind, Ref: r, Revision: revision, Data: b}})
}

// about adds what an Error is about, where it says only what is wrong.
func about(op string, r rouse.Ref, err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*rouse.Error](err)
	if !ok {
		return err
	}
	if e.On != "" {
		return rouse.Errorf(e.Kind, op, r.String(), "%s: %w", e.On, e.Err)
	}
	return rouse.Errorf(e.Kind, op, r.String(), "%w", e.Err)
}

// Trigger implements event.Rules.
func (e *Engine) Trigger(_ context.Context, r rouse.Ref) (event.Trigger, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.triggers[r]; t != nil {
		return t.Trigger, nil
	}
	return event.Trigger{}, rouse.Errorf(rouse.NotFound, "find trigger", r.String(), "there is no such trigger")
}

// Triggers implements event.Rules.
func (e *Engine) Triggers(_ context.Context, ns rouse.Namespace, after string, limit int) ([]event.Trigger, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return page(e.triggers, ns, after, limit, func(t *running) event.Trigger { return t.Trigger }), nil
}

// page returns what is in a namespace, by name after one.
func page[A, B any](all map[rouse.Ref]A, ns rouse.Namespace, after string, limit int, of func(A) B) []B {
	var names []string
	for r := range all {
		if r.Namespace == ns && r.Name > after {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	if limit > 0 && len(names) > limit {
		names = names[:limit]
	}
	out := make([]B, len(names))
	for i, n := range names {
		out[i] = of(all[rouse.Ref{Namespace: ns, Name: n}])
	}
	return out
}

// RemoveTrigger implements event.Rules.
func (e *Engine) RemoveTrigger(ctx context.Context, r rouse.Ref) error {
	defer e.uses.remove(r.Namespace)()
	e.mu.Lock()
	t := e.triggers[r]
	var revision int64
	if t != nil {
		revision = t.revision
	}
	var user rouse.Ref
	for _, c := range e.rules {
		if c.Namespace == r.Namespace && c.On.Trigger == r.Name {
			user = c.Ref
		}
	}
	e.mu.Unlock()
	switch {
	case t == nil:
		return rouse.Errorf(rouse.NotFound, "remove trigger", r.String(), "there is no such trigger")
	case user.Name != "":
		return rouse.Errorf(rouse.Conflict, "remove trigger", r.String(), "rule %s listens to it: remove that first", user.Name)
	}
	if err := e.Meta.Apply(ctx, []rouse.Change{{Kind: triggerKind, Ref: r, Revision: revision}}); err != nil {
		return err
	}
	defer e.turn(r)()
	e.mu.Lock()
	if e.triggers[r] == t {
		delete(e.triggers, r)
	}
	e.mu.Unlock()
	e.halt(t)
	err := e.withdraw(ctx, r)
	e.forthcoming.forget(r)
	return errors.Join(err, e.forgetTrigger(ctx, t))
}

// forgetTrigger removes what is kept of a stopped trigger, so that one of its
// name begins afresh.
func (e *Engine) forgetTrigger(ctx context.Context, t *running) error {
	err := e.Inbox.Forget(ctx, t.Ref)
	if k, ok := e.sources[t.Kind].(event.Keeper); ok {
		err = errors.Join(err, k.Forget(t.Ref))
	}
	return err
}
