package client

import (
	"context"
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

// Triggers returns a page of triggers by name from the first after "after";
// limit 0 is 100.
func (c *Client) Triggers(ctx context.Context, after string, limit int) (page wire.Triggers, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"triggers"}, query: paging(after, limit)}, nil, &page)
	return page, err
}

// SetTrigger makes a trigger or changes it. Errors: Invalid.
func (c *Client) SetTrigger(ctx context.Context, name string, o wire.TriggerOptions) (t wire.Trigger, err error) {
	err = c.call(ctx, request{method: http.MethodPut, path: []string{"triggers", name}}, o, &t)
	return t, err
}

// Trigger returns one. Errors: NotFound.
func (c *Client) Trigger(ctx context.Context, name string) (t wire.Trigger, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"triggers", name}}, nil, &t)
	return t, err
}

// RemoveTrigger takes away a trigger. Errors: NotFound, Conflict where a rule
// listens to it.
func (c *Client) RemoveTrigger(ctx context.Context, name string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"triggers", name}}, nil, nil)
}

// Fire makes events as if a trigger had, and returns their IDs. Errors: NotFound,
// TooLarge.
func (c *Client) Fire(ctx context.Context, trigger string, es ...rouse.Event) ([]string, error) {
	in := wire.Events{Events: make([]wire.Event, len(es))}
	for i, e := range es {
		in.Events[i] = wire.EventOf(e)
	}
	var out wire.Fired
	err := c.call(ctx, request{method: http.MethodPost, path: []string{"triggers", trigger, "fire"}}, in, &out)
	return out.IDs, err
}

// Rules returns a page of rules by name from the first after "after"; limit 0 is
// 100. Status asks for how they do, which takes the server a look at what waits
// for each.
func (c *Client) Rules(ctx context.Context, after string, limit int, status bool) (page wire.Rules, err error) {
	q := paging(after, limit)
	if status {
		q.Set("status", "true")
	}
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"rules"}, query: q}, nil, &page)
	return page, err
}

// SetRule makes a rule or changes it. Errors: Invalid, NotFound, Conflict.
func (c *Client) SetRule(ctx context.Context, name string, r event.Rule) (event.Rule, error) {
	var out wire.Rule
	r.Ref = rouse.Ref{}
	err := c.call(ctx, request{method: http.MethodPut, path: []string{"rules", name}}, wire.Rule{Rule: r}, &out)
	return out.Rule, err
}

// Rule returns one, and how it does. Errors: NotFound.
func (c *Client) Rule(ctx context.Context, name string) (r wire.Rule, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"rules", name}}, nil, &r)
	return r, err
}

// RemoveRule takes away a rule. Errors: NotFound.
func (c *Client) RemoveRule(ctx context.Context, name string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"rules", name}}, nil, nil)
}

// PauseRule stops a rule's deliveries and says why. Errors: NotFound.
func (c *Client) PauseRule(ctx context.Context, name, why string) (r wire.Rule, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"rules", name, "pause"}}, wire.Pause{Why: why}, &r)
	return r, err
}

// ResumeRule goes on with them. Errors: NotFound.
func (c *Client) ResumeRule(ctx context.Context, name string) (r wire.Rule, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"rules", name, "resume"}}, nil, &r)
	return r, err
}

// Replay delivers once more what matched a rule, and says how many events that
// are. Errors: NotFound, Invalid.
func (c *Client) Replay(ctx context.Context, rule string, p wire.Replay) (int, error) {
	var out wire.Replayed
	err := c.call(ctx, request{method: http.MethodPost, path: []string{"rules", rule, "replay"}}, p, &out)
	return out.Queued, err
}

// Event returns one, while it is kept. Errors: NotFound.
func (c *Client) Event(ctx context.Context, id string) (rouse.Event, error) {
	var out wire.Event
	if err := c.call(ctx, request{method: http.MethodGet, path: []string{"events", id}}, nil, &out); err != nil {
		return rouse.Event{}, err
	}
	return out.Unwrap()
}

// Explain says what led to an activation, and what it led to. Errors: NotFound.
func (c *Client) Explain(ctx context.Context, activation string) (x wire.Explanation, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"activations", activation, "explain"}}, nil, &x)
	return x, err
}
