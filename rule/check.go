package rule

import (
	"context"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// CheckTrigger implements event.Checker.
func (e *Engine) CheckTrigger(_ context.Context, t event.Trigger) (event.Trigger, error) {
	t, _, _, err := e.checkTrigger(t)
	return t, err
}

// CheckRule implements event.Checker.
func (e *Engine) CheckRule(ctx context.Context, r event.Rule, p event.Prospect) (event.Rule, error) {
	if err := e.check(ctx, &r, p); err != nil {
		return r, err
	}
	if err := e.circle(&r, p); err != nil {
		return r, err
	}
	_, err := compile(r)
	return r, err
}

// willBe reports whether what a rule listens to is among what will be there.
func willBe(p event.Prospect, on event.On) bool {
	return p.Has("trigger", on.Trigger, "") || p.Has("stream", on.Stream, "") || p.Has("table", on.Table, "") || p.Has("bucket", on.Bucket, "") ||
		p.Has("function", on.Function, "")
}

// checkTaker refuses a rule on a queue that another one takes from, or will.
func (e *Engine) checkTaker(r *event.Rule, p event.Prospect) error {
	taken := func(by string) error {
		return rouse.Errorf(rouse.Conflict, "set rule", "queue", "rule %s takes from %s: a message can go to one rule only", by, r.On.Queue)
	}
	for _, other := range p.Rules {
		if other != nil && other.Name != r.Name && other.On.Queue == r.On.Queue {
			return taken(other.Name)
		}
	}
	c := e.takers()[rouse.Ref{Namespace: r.Namespace, Name: r.On.Queue}.String()]
	if c == nil || c.Ref == r.Ref {
		return nil
	}
	if _, another := p.Rules[c.Name]; another { // it is gone by then, or takes from another queue
		return nil
	}
	return taken(c.Name)
}

// Health implements event.Viewer.
func (e *Engine) Health(_ context.Context, r rouse.Ref) (event.Health, error) {
	e.mu.Lock()
	t, ok := e.triggers[r]
	if !ok {
		e.mu.Unlock()
		return event.Health{}, rouse.Errorf(rouse.NotFound, "find trigger", r.String(), "there is no such trigger")
	}
	now := *t
	e.mu.Unlock()
	h := event.Health{State: event.Starting, Since: now.since}
	switch s, reports := e.sources[now.Kind].(event.Reporter); {
	case now.failed != "":
		h.State, h.Error = event.Stopped, now.failed
	case now.stop == nil: // the engine does not run, or has yet to start it
	case reports:
		h = s.Health(r)
	default:
		h.State = event.Running
	}
	return h, nil
}
