package rule

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dispatch"
	"github.com/rouse-run/rouse/event"
)

// An outcomeBody is what a rule's success or failure is told of a delivery.
type outcomeBody struct {
	Rule       string            `json:"rule"`
	Reason     string            `json:"reason,omitempty"`
	Activation string            `json:"activation,omitempty"`
	Status     string            `json:"status,omitempty"`
	Result     json.RawMessage   `json:"result,omitempty"`
	Failure    *rouse.Failure    `json:"failure,omitempty"`
	Events     []json.RawMessage `json:"events"`
	Cut        bool              `json:"cut,omitempty"`
}

// Bounds of an outcome that is cut: of its events, and of the bytes of its texts.
const (
	cutEvents = 100
	cutText   = 1000
)

// after sends what became of a delivery to the rule's success or failure. Of what
// is too large for that it sends what fits anywhere: the record of the activation
// has the rest.
func (e *Engine) after(ctx context.Context, c *compiled, to *event.Target, es []rouse.Event, r result) error {
	if to == nil {
		return nil
	}
	o := outcomeBody{Rule: c.Name, Reason: r.reason, Activation: r.done.ID, Failure: r.done.Failure}
	if r.done.ID != "" {
		o.Status = r.done.Status.String()
	}
	if json.Valid(r.done.Result) {
		o.Result = r.done.Result
	}
	far := 0
	for i := range es {
		b, err := cloudEvent(&es[i])
		if err != nil {
			return err
		}
		o.Events = append(o.Events, b)
		far = max(far, hops(&es[i]))
	}
	ev := rouse.Event{ID: es[0].ID, Type: "rule.outcome", Source: "rule:" + c.Name, Subject: es[0].Subject, Time: e.Now().UTC(),
		Attributes: map[string]string{event.AttributeCause: r.done.ID, event.AttributeHops: fmt.Sprint(far + 1)}}
	var sent result
	for _, body := range []outcomeBody{o, o.cut(es)} {
		var err error
		if ev.Data, err = json.Marshal(body); err != nil {
			return err
		}
		if sent = e.deliver(ctx, aside(c, ev, *to, 1)); !sent.gone {
			break
		}
	}
	if sent.reason == "" {
		return nil
	}
	return e.tellLater(ctx, c, *to, ev, "tell of the outcome: "+sent.reason)
}

// cut leaves out what may be large.
func (o outcomeBody) cut(es []rouse.Event) outcomeBody {
	o.Cut, o.Result, o.Reason, o.Events = true, nil, shorten(o.Reason), nil
	if f := o.Failure; f != nil {
		o.Failure = &rouse.Failure{Type: shorten(f.Type), Message: shorten(f.Message)}
	}
	for _, ev := range es[:min(len(es), cutEvents)] {
		if id, err := json.Marshal(map[string]string{"id": ev.ID}); err == nil { // a map of texts always can be
			o.Events = append(o.Events, id)
		}
	}
	return o
}

func shorten(s string) string { return s[:min(len(s), cutText)] }

// aside is the delivery of an event as it is, to a target beside the rule's own.
func aside(c *compiled, ev rouse.Event, to event.Target, attempt int) delivery {
	return delivery{rule: &compiled{Rule: event.Rule{Ref: c.Ref}}, events: []rouse.Event{ev}, attempt: attempt, to: to}
}

// tellLater has an event sent to a target beside the rule's own, which could not
// have it now, as often as the rule tries anything. By itself: neither is the
// function run again for that, nor does what comes after it wait.
func (e *Engine) tellLater(ctx context.Context, c *compiled, to event.Target, ev rouse.Event, why string) error {
	e.say(c, why)
	return e.send(context.WithoutCancel(ctx), c, []queued{{Event: ev, To: &to, Tells: true, Reason: why}}, spacing{first: dispatch.Backoff(c.Retry.Backoff, 1)})
}

// tellAgain makes one more attempt at what tellLater sent.
func (e *Engine) tellAgain(ctx context.Context, c *compiled, q *queued, count int) dispatch.Outcome {
	r := e.deliver(ctx, aside(c, q.Event, *q.To, count))
	switch {
	case r.reason == "":
		return dispatch.Outcome{}
	case r.later || !r.gone && count < c.Retry.Attempts:
		return dispatch.Outcome{Again: true, After: dispatch.Backoff(c.Retry.Backoff, count)}
	}
	return dispatch.Outcome{Bury: q.Reason}
}

// giveUp puts events where they are kept that could not be delivered: what the
// rule's dead letter never can have, among its dead letters.
func (e *Engine) giveUp(ctx context.Context, c *compiled, es []rouse.Event, r result) error {
	if err := e.after(ctx, c, c.Failure, es, r); err != nil {
		return err
	}
	var buried []queued
	for i := range es {
		reason := r.reason
		if c.DeadLetter != nil {
			sent := e.deliver(ctx, aside(c, es[i], *c.DeadLetter, 1))
			if sent.reason == "" {
				continue
			}
			if reason += "; dead letter: " + sent.reason; !sent.gone {
				if err := e.tellLater(ctx, c, *c.DeadLetter, es[i], reason); err != nil {
					return err
				}
				continue
			}
		}
		buried = append(buried, queued{Event: es[i], Reason: reason, Given: e.Now()})
	}
	if len(buried) == 0 {
		return nil
	}
	return e.bury(ctx, c, buried)
}
