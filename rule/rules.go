package rule

import (
	"context"
	"errors"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/rule/inbox"
	"github.com/rouse-run/rouse/rule/pattern"
	"github.com/rouse-run/rouse/rule/template"
)

// A compiled rule is one as it is run. But for paused it does not change.
type compiled struct {
	event.Rule
	revision int64
	pattern  *pattern.Pattern
	template *template.Template // nil hands over the event as it is
	paused   atomic.Bool
}

// A feed is what one reader reads. The zero value is none.
type feed struct {
	kind string // "stream", "table", "bucket" or "events"
	ref  rouse.Ref
}

// feed returns where a rule's events come from; none for a queue's.
func (c *compiled) feed() feed {
	ns := c.Namespace
	switch {
	case c.On.Stream != "":
		return feed{"stream", rouse.Ref{Namespace: ns, Name: c.On.Stream}}
	case c.On.Table != "":
		return feed{"table", rouse.Ref{Namespace: ns, Name: c.On.Table}}
	case c.On.Bucket != "":
		return feed{"bucket", rouse.Ref{Namespace: ns, Name: c.On.Bucket}}
	case c.On.Queue != "":
		return feed{}
	}
	return feed{"events", rouse.Ref{Namespace: ns, Name: inbox.Name}}
}

// ordered reports whether a rule is delivered in the order of shards.
func (c *compiled) ordered() bool { return c.On.Stream != "" || c.On.Table != "" }

// from is the name of what a rule listens to within the events of its
// namespace; "" where it listens to another feed.
func (c *compiled) from() string {
	switch {
	case c.On.Trigger != "":
		return c.On.Trigger
	case c.On.Function != "":
		return outcomePrefix + c.On.Function
	}
	return ""
}

// matches reports whether a rule is for an event that its pattern matches.
func (c *compiled) matches(entry *data.Entry) bool {
	if from := c.from(); from != "" && from != entry.Key {
		return false
	}
	switch c.On.Outcome {
	case "success":
		return entry.Event.Type == typeSucceeded
	case "failure":
		return entry.Event.Type == typeFailed
	}
	return true
}

func compile(r event.Rule) (c *compiled, err error) {
	c = &compiled{Rule: r}
	c.paused.Store(r.Paused != "")
	if c.pattern, err = pattern.Parse(r.When); err != nil {
		return nil, within("when", err)
	}
	if len(r.Input) > 0 {
		if c.template, err = template.Parse(r.Input); err != nil {
			return nil, within("input", err)
		}
	}
	return c, nil
}

// within says in which field of a rule an Error is.
func within(field string, err error) error {
	e, ok := err.(*rouse.Error)
	if !ok {
		return err
	}
	if e.On != "" {
		field += "." + e.On
	}
	return rouse.Errorf(e.Kind, "set rule", field, "%w", e.Err)
}

func bad(r rouse.Ref, format string, args ...any) error {
	return rouse.Errorf(rouse.Invalid, "set rule", r.String(), format, args...)
}

// check refuses what can't be meant, and fills in defaults.
func (e *Engine) check(ctx context.Context, r *event.Rule, p event.Prospect) error {
	on := r.On
	if n := count(on.Trigger, on.Stream, on.Queue, on.Table, on.Bucket, on.Function); n != 1 {
		return bad(r.Ref, "on names %d things; it must name one: a trigger, stream, queue, table, bucket or function", n)
	}
	switch {
	case on.Outcome != "" && on.Function == "":
		return bad(r.Ref, "on.outcome is for functions alone")
	case on.Outcome != "" && on.Outcome != "success" && on.Outcome != "failure":
		return bad(r.Ref, "on.outcome is %q; it must be success or failure, or left out for both", on.Outcome)
	case r.From != "" && r.From != "oldest":
		return bad(r.Ref, "from is %q; it must be \"oldest\", or left out for what happens from now on", r.From)
	case r.From != "" && on.Queue != "":
		return bad(r.Ref, "from is not for queues: all that is in one is delivered")
	case r.Parallel < 0 || r.Parallel > 1000:
		return bad(r.Ref, "parallel is %d; it must be from 1 to 1000", r.Parallel)
	case r.Retry.Attempts < 0 || r.Retry.Backoff < 0 || r.Retry.Age < 0:
		return bad(r.Ref, "retry has a negative value")
	case r.Budget < 0:
		return bad(r.Ref, "budget is negative")
	}
	if b := r.Batch; b != nil {
		switch {
		case b.Size < 0 || b.Size > 10_000:
			return bad(r.Ref, "batch.size is %d; it must be from 1 to 10000", b.Size)
		case b.Window < 0 || time.Duration(b.Window) > 5*time.Minute:
			return bad(r.Ref, "batch.window is %v; it must be from 0s to 5m", b.Window)
		case b.Bytes < 0 || b.Bytes > 64<<20:
			return bad(r.Ref, "batch.bytes is %d; it must be from 1 to 64 MiB", b.Bytes)
		}
	}
	if len(r.Input) > 0 {
		if err := template.Check(r.Input); err != nil {
			return within("input", err)
		}
	}
	r.Fill()
	return e.checkNames(ctx, r, p)
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

func count(names ...string) (n int) {
	for _, s := range names {
		if s != "" {
			n++
		}
	}
	return n
}

// checkNames refuses what is not there, and will not be.
func (e *Engine) checkNames(ctx context.Context, r *event.Rule, p event.Prospect) error {
	ref := func(name string) rouse.Ref { return rouse.Ref{Namespace: r.Namespace, Name: name} }
	var err error
	switch on := r.On; {
	case on.Trigger != "":
		_, err = e.Trigger(ctx, ref(on.Trigger))
	case on.Stream != "":
		_, err = e.Data.Streams.Stream(ctx, ref(on.Stream))
	case on.Queue != "":
		var q data.Queue
		if q, err = e.Data.Queues.Queue(ctx, ref(on.Queue)); err == nil || p.Has("queue", on.Queue, "") {
			err = e.checkTaker(r, p)
		}
		if err == nil && q.Fifo && r.Batch != nil && r.Batch.Window > 0 {
			return bad(r.Ref, "batch.window is not for %s, which is fifo: no more of a group comes while some of it is being delivered", on.Queue)
		}
	case on.Table != "":
		var t data.Table
		if t, err = e.Data.Tables.Table(ctx, ref(on.Table)); err == nil && t.Changes == 0 && !p.Has("table", on.Table, "") {
			err = rouse.Errorf(rouse.Invalid, "set rule", "table", "%s keeps no changes: set how long it is to keep them", on.Table)
		}
	case on.Bucket != "":
		_, err = e.Data.Buckets.Bucket(ctx, ref(on.Bucket))
	case on.Function != "":
		_, err = e.Registry.Function(ctx, ref(on.Function), "")
	}
	if err != nil && (rouse.KindOf(err) != rouse.NotFound || !willBe(p, r.On)) {
		return within("on", err)
	}
	for _, t := range []struct {
		field string
		to    *event.Target
	}{{"to", &r.To}, {"deadLetter", r.DeadLetter}, {"success", r.Success}, {"failure", r.Failure}} {
		if t.to == nil {
			continue
		}
		if err := e.checkTarget(ctx, r, *t.to, p); err != nil {
			return within(t.field, err)
		}
	}
	return nil
}

func (e *Engine) checkTarget(ctx context.Context, r *event.Rule, t event.Target, p event.Prospect) error {
	ref := func(name string) rouse.Ref { return rouse.Ref{Namespace: r.Namespace, Name: name} }
	if n := count(t.Function, t.Queue, t.Stream, t.Webhook); n != 1 {
		return rouse.Errorf(rouse.Invalid, "set rule", "", "it names %d things; it must name one: a function, queue, stream or webhook", n)
	}
	var err error
	switch {
	case t.Qualifier != "" && t.Function == "":
		err = rouse.Errorf(rouse.Invalid, "set rule", "qualifier", "it is for functions alone")
	case t.Function != "":
		_, err = e.Registry.Function(ctx, ref(t.Function), t.Qualifier)
	case t.Queue != "":
		_, err = e.Data.Queues.Queue(ctx, ref(t.Queue))
	case t.Stream != "":
		_, err = e.Data.Streams.Stream(ctx, ref(t.Stream))
	default:
		u, perr := url.Parse(t.Webhook)
		if perr != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			err = rouse.Errorf(rouse.Invalid, "set rule", "webhook", "%q is no http or https URL", t.Webhook)
		}
	}
	if rouse.KindOf(err) == rouse.NotFound && (p.Has("function", t.Function, t.Qualifier) || p.Has("queue", t.Queue, "") || p.Has("stream", t.Stream, "")) {
		return nil
	}
	return err
}

// circle refuses a rule by which events would go round for ever.
func (e *Engine) circle(r *event.Rule, p event.Prospect) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	edges := map[string][]string{}
	add := func(r *event.Rule) {
		for _, t := range []*event.Target{&r.To, r.Success, r.Failure, r.DeadLetter} {
			if t != nil {
				edges[origin(r.On)] = append(edges[origin(r.On)], destination(*t))
			}
		}
	}
	for _, c := range e.rules {
		if _, another := p.Rules[c.Name]; c.Namespace == r.Namespace && c.Ref != r.Ref && !another {
			add(&c.Rule)
		}
	}
	for _, other := range p.Rules {
		if other != nil && other.Name != r.Name {
			add(other)
		}
	}
	add(r)
	start := origin(r.On)
	seen := map[string]bool{}
	var reaches func(string) bool
	reaches = func(at string) bool {
		for _, next := range edges[at] {
			if next == start {
				return true
			}
			if !seen[next] {
				seen[next] = true
				if reaches(next) {
					return true
				}
			}
		}
		return false
	}
	if reaches(start) {
		return rouse.Errorf(rouse.Conflict, "set rule", r.Ref.String(), "events of %s would come back to it by this rule, and go round for ever", start)
	}
	return nil
}

func origin(on event.On) string {
	switch {
	case on.Stream != "":
		return "stream " + on.Stream
	case on.Queue != "":
		return "queue " + on.Queue
	case on.Table != "":
		return "table " + on.Table
	case on.Bucket != "":
		return "bucket " + on.Bucket
	case on.Function != "":
		return "function " + on.Function
	}
	return "trigger " + on.Trigger
}

func destination(t event.Target) string {
	switch {
	case t.Function != "":
		return "function " + t.Function
	case t.Queue != "":
		return "queue " + t.Queue
	case t.Stream != "":
		return "stream " + t.Stream
	}
	return "webhook " + t.Webhook
}

// SetRule implements event.Rules.
func (e *Engine) SetRule(ctx context.Context, r event.Rule) (event.Rule, error) {
	defer e.uses.set(r.Namespace)()
	if err := e.check(ctx, &r, event.Prospect{}); err != nil {
		return r, err
	}
	if err := e.circle(&r, event.Prospect{}); err != nil {
		return r, err
	}
	e.mu.Lock()
	old := e.rules[r.Ref]
	e.mu.Unlock()
	r.Created, r.Paused, r.Resumed, r.Redriven = e.Now().UTC(), "", time.Time{}, time.Time{}
	revision := int64(0)
	if old != nil {
		revision, r.Created, r.Paused, r.Resumed, r.Redriven = old.revision, old.Created, old.Paused, old.Resumed, old.Redriven
	}
	c, err := compile(r)
	if err != nil {
		return r, err
	}
	if old == nil || old.On != r.On {
		// Before the rule is there: what happens from now on must not be missed.
		if err := e.begin(ctx, c); err != nil {
			return r, err
		}
	}
	if err := e.put(ctx, c, revision); err != nil {
		return r, err
	}
	if old != nil && old.On != r.On {
		if err := e.rematch(ctx, old); err != nil {
			return r, err
		}
	}
	return r, e.rematch(ctx, c)
}

// put stores a rule and has it run from now on.
func (e *Engine) put(ctx context.Context, c *compiled, revision int64) error {
	if err := e.store(ctx, ruleKind, c.Ref, revision, c.Rule); err != nil {
		return err
	}
	c.revision = revision + 1
	e.mu.Lock()
	old := e.rules[c.Ref]
	e.rules[c.Ref] = c
	e.listen(c)
	if old != nil {
		e.listen(old)
	}
	delete(e.failing, c.Ref)
	e.mu.Unlock()
	signal(e.changed)
	e.queued.Reset(queueOf(c))
	if c.On.Queue != "" {
		e.taken.Reset(userQueue(c))
	}
	return nil
}

// Rule implements event.Rules.
func (e *Engine) Rule(_ context.Context, r rouse.Ref) (event.Rule, error) {
	c, err := e.find(r)
	if err != nil {
		return event.Rule{}, err
	}
	return c.Rule, nil
}

func (e *Engine) find(r rouse.Ref) (*compiled, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.rules[r]; c != nil {
		return c, nil
	}
	return nil, rouse.Errorf(rouse.NotFound, "find rule", r.String(), "there is no such rule")
}

// Rules implements event.Rules.
func (e *Engine) Rules(_ context.Context, ns rouse.Namespace, after string, limit int) ([]event.Rule, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return page(e.rules, ns, after, limit, func(c *compiled) event.Rule { return c.Rule }), nil
}

// RemoveRule implements event.Rules.
func (e *Engine) RemoveRule(ctx context.Context, r rouse.Ref) error {
	c, err := e.find(r)
	if err != nil {
		return err
	}
	if err := e.Meta.Apply(ctx, []rouse.Change{{Kind: ruleKind, Ref: r, Revision: c.revision}}); err != nil {
		return err
	}
	e.mu.Lock()
	delete(e.rules, r)
	e.listen(c)
	delete(e.failing, r)
	e.mu.Unlock()
	c.paused.Store(true) // what of it runs ends with what it has begun
	signal(e.changed)
	if c.On.Queue != "" {
		e.taken.Reset(userQueue(c))
	}
	err = errors.Join(e.rematch(ctx, c), e.forget(ctx, c))
	e.queued.Drop(queueOf(c))
	err = errors.Join(err, e.Purge(ctx, queueOf(c)))
	e.usage.clear(r)
	e.parked.forget(r)
	e.queued.Serve(queueOf(c)) // what comes in until its feed's reader knows
	return err
}
