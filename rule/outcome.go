package rule

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// outcomePrefix is that of the names under which the Inbox has what became of
// functions; no trigger's name has a colon.
const outcomePrefix = "function:"

// The Types of events of functions, and of those that have no other.
const (
	typeSucceeded = "function.succeeded"
	typeFailed    = "function.failed"
	typeAny       = "rouse.event"
)

// Hears reports whether a rule listens to what becomes of a function. It is quick.
func (e *Engine) Hears(f rouse.Ref) bool {
	heard := e.heard.Load()
	return heard != nil && (*heard)[f]
}

// listen notes which functions rules listen to, where c, which was set or removed,
// listens to one; nil stands for all rules. The caller holds mu.
func (e *Engine) listen(c *compiled) {
	if c != nil && c.On.Function == "" {
		return
	}
	heard := map[rouse.Ref]bool{}
	for _, c := range e.rules {
		if c.On.Function != "" {
			heard[rouse.Ref{Namespace: c.Namespace, Name: c.On.Function}] = true
		}
	}
	e.heard.Store(&heard)
}

// Outcomes makes events of activations whose functions rules listen to. They
// are durable when it returns.
func (e *Engine) Outcomes(ctx context.Context, as []rouse.Activation) error {
	byFunction := map[rouse.Ref][]rouse.Event{}
	for i := range as {
		if e.Hears(as[i].Function) {
			ev, err := outcome(&as[i])
			if err != nil {
				return err
			}
			byFunction[as[i].Function] = append(byFunction[as[i].Function], ev)
		}
	}
	var errs []error
	for f, es := range byFunction {
		errs = append(errs, e.Inbox.Add(ctx, rouse.Ref{Namespace: f.Namespace, Name: outcomePrefix + f.Name}, es, nil))
	}
	return errors.Join(errs...)
}

func outcome(a *rouse.Activation) (rouse.Event, error) {
	ev := rouse.Event{ID: a.ID, Type: typeSucceeded, Source: "function:" + a.Function.Name, Subject: a.Function.Name, Time: a.Started.UTC(), ContentType: "application/json",
		Attributes: map[string]string{event.AttributeCause: a.ID, event.AttributeHops: strconv.Itoa(a.Hops + 1)}}
	if a.Status != rouse.StatusAnswered {
		ev.Type = typeFailed
	}
	data := struct {
		Activation string          `json:"activation"`
		Version    int             `json:"version"`
		Attempt    int             `json:"attempt,omitempty"`
		Status     string          `json:"status"`
		Duration   rouse.Duration  `json:"duration"`
		Result     json.RawMessage `json:"result,omitempty"`
		Failure    *rouse.Failure  `json:"failure,omitempty"`
	}{a.ID, a.Version, a.Attempt, a.Status.String(), a.Run, nil, a.Failure}
	if json.Valid(a.Result) {
		data.Result = a.Result
	}
	var err error
	ev.Data, err = json.Marshal(data)
	return ev, err
}
