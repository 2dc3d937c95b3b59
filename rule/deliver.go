package rule

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dispatch"
	"github.com/rouse-run/rouse/event"
)

// A delivery is one attempt to hand events to a rule's target.
type delivery struct {
	rule    *compiled
	events  []rouse.Event
	attempt int
	to      event.Target
}

// A result is how a delivery went.
type result struct {
	failed  []bool           // of a batch, which events; nil is all or none, as reason says
	reason  string           // "" is that it went well
	later   bool             // it was not tried: there was no room
	gone    bool             // it never will be
	done    rouse.Activation // where the target is a function
	partial bool
}

// deliver hands events to a target, as a batch where the rule has one.
func (e *Engine) deliver(ctx context.Context, d delivery) result {
	body, err := d.body()
	if err != nil {
		return result{reason: err.Error(), gone: true}
	}
	// What was begun is done, whatever ends meanwhile.
	ctx = event.WithCause(context.WithoutCancel(ctx), d.cause())
	ns := d.rule.Namespace
	switch to := d.to; {
	case to.Function != "":
		return e.call(ctx, d, body)
	case to.Queue != "":
		err = e.sendTo(ctx, d, body)
	case to.Stream != "":
		_, err = e.Data.Streams.Append(ctx, rouse.Ref{Namespace: ns, Name: to.Stream}, []data.Record{{Key: d.events[0].Subject, Data: body}})
	default:
		err = e.post(ctx, to.Webhook, d, body)
	}
	return sendResult(err)
}

// sendTo sends a body to a user's queue. In one that is fifo its group is the
// subject of the event: of a message, that is the group that it came from.
func (e *Engine) sendTo(ctx context.Context, d delivery, body []byte) error {
	to := rouse.Ref{Namespace: d.rule.Namespace, Name: d.to.Queue}
	q, err := e.Data.Queues.Queue(ctx, to)
	if err != nil {
		return err
	}
	m := data.Message{Body: body}
	if q.Fifo {
		m.Group = orText(d.events[0].Subject, d.rule.Name)
	}
	_, err = e.Data.Queues.Send(ctx, to, []data.Message{m})
	return err
}

// cause is that of the event which came through the most activations.
func (d *delivery) cause() (most event.Cause) {
	for i := range d.events {
		if c := event.CauseIn(&d.events[i]); i == 0 || c.Hops > most.Hops {
			most = c
		}
	}
	return most
}

func sendResult(err error) result {
	if err == nil {
		return result{}
	}
	kind := rouse.KindOf(err)
	return result{reason: err.Error(), later: known(err) && (kind == rouse.Unavailable || kind == rouse.Throttled),
		gone: known(err) && kind == rouse.TooLarge}
}

// body returns what the target gets: the input for the event, or a list of
// those of a batch.
func (d *delivery) body() ([]byte, error) {
	if d.rule.Batch == nil {
		return d.rule.input(&d.events[0])
	}
	b := []byte("[")
	for i := range d.events {
		in, err := d.rule.input(&d.events[i])
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, in...)
	}
	return append(b, ']'), nil
}

// call invokes a function.
func (e *Engine) call(ctx context.Context, d delivery, body []byte) result {
	far, replayed := 0, false
	for i := range d.events {
		far = max(far, hops(&d.events[i]))
		replayed = replayed || d.events[i].Attributes[event.AttributeReplayed] != ""
	}
	maker := event.CauseIn(&d.events[0]).ID
	if maker == d.events[0].ID { // it is of how that ended
		maker = ""
	}
	a, err := e.Invoker.Invoke(ctx, rouse.Invocation{
		ID:       d.wanted(),
		Function: rouse.Ref{Namespace: d.rule.Namespace, Name: d.to.Function}, Qualifier: d.to.Qualifier, Event: rouse.Event{Data: body},
		Cause: d.events[0].ID, Maker: maker, Rule: d.rule.Name, Hops: far, Attempt: d.attempt, Replayed: replayed,
	})
	e.usage.add(d.rule, a.GBSeconds)
	switch {
	case err != nil:
		r := sendResult(err)
		r.done = a
		return r
	case a.Status != rouse.StatusAnswered:
		return result{reason: reason(a), done: a}
	}
	return d.partial(a)
}

// wanted is the ID that who made the event wants the activation to have; "" is
// any.
func (d *delivery) wanted() string {
	said := d.events[0].Attributes[event.AttributeActivation]
	cut := max(strings.LastIndexByte(said, '/'), 0)
	rule, id := said[:cut], strings.TrimPrefix(said[cut:], "/")
	if rule != d.rule.Name || d.rule.Batch != nil || d.events[0].Attributes[event.AttributeReplayed] != "" {
		return ""
	}
	return id
}

// noFailures are ways to say that nothing failed.
var noFailures = []string{"", "null", "0", "false", `""`}

// partial reads which events of a batch the function says have failed:
// {"failures": ["id", ...]}.
func (d *delivery) partial(a rouse.Activation) result {
	r := result{done: a}
	var said struct {
		Failures json.RawMessage `json:"failures"`
	}
	if d.rule.Batch == nil || json.Unmarshal(a.Result, &said) != nil || slices.Contains(noFailures, string(said.Failures)) {
		return r
	}
	var failures []string
	if json.Unmarshal(said.Failures, &failures) != nil { // which failed is not known: better all again than one lost
		r.reason = fmt.Sprintf("the function says that %.100s failed; it must be a list of the ids of events, each a text", said.Failures)
		return r
	}
	if len(failures) == 0 {
		return r
	}
	r.failed = make([]bool, len(d.events))
	for i := range d.events {
		r.failed[i] = slices.Contains(failures, d.events[i].ID)
	}
	if !slices.Contains(r.failed, true) { // an ID that is none: better all again than one lost
		r.failed = nil
		r.reason = fmt.Sprintf("the function says that %q failed, which is none of the batch's ids", failures[0])
		return r
	}
	r.reason, r.partial = "the function says that it failed", true
	return r
}

func reason(a rouse.Activation) string {
	if a.Failure != nil {
		return fmt.Sprintf("%s: %s: %s", a.Status, a.Failure.Type, a.Failure.Message)
	}
	return a.Status.String()
}

// post sends a body to a webhook. CloudEvents' HTTP binding tells a receiver
// what it is.
func (e *Engine) post(ctx context.Context, url string, d delivery, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	switch {
	case d.rule.template != nil:
		r.Header.Set("Content-Type", "application/json")
	case d.rule.Batch != nil:
		r.Header.Set("Content-Type", "application/cloudevents-batch+json")
	default:
		r.Header.Set("Content-Type", "application/cloudevents+json")
	}
	r.Header.Set("User-Agent", "rouse")
	r.Header.Set("Rouse-Event", d.events[0].ID)
	if e.Hop != nil { // it may lead back to us
		c := d.cause()
		r.Header.Set(event.HopHeader, e.Hop(event.Cause{ID: c.ID, Hops: c.Hops + 1}))
	}
	resp, err := e.Client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
	switch resp.StatusCode / 100 {
	case 2:
		return nil
	case 3:
		return fmt.Errorf("the webhook answered %s: it has moved to %q; name that in the rule", resp.Status, resp.Header.Get("Location"))
	default:
		return fmt.Errorf("the webhook answered %s: %s", resp.Status, said)
	}
}

// old reports whether an event that ages since then is too old to be delivered.
func (e *Engine) old(c *compiled, since time.Time) bool {
	return c.Retry.Age > 0 && !since.IsZero() && e.Now().Sub(since) > time.Duration(c.Retry.Age)
}

// tooOld is how the delivery of what is old goes.
var tooOld = result{reason: "it is older than the rule's retry.age", gone: true}

// say notes what the last attempt of a rule met.
func (e *Engine) say(c *compiled, reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if reason == "" {
		delete(e.failing, c.Ref)
	} else {
		e.failing[c.Ref] = reason
	}
}

// inOrder delivers entries until they are done with, or given up; false where
// it must end before: ctx has, or the rule rests.
func (e *Engine) inOrder(ctx context.Context, c *compiled, es []data.Entry) bool {
	events := make([]rouse.Event, len(es))
	for i := range es {
		events[i] = es[i].Event
	}
	return e.inTurn(ctx, c, events)
}

// farOf returns those of es that have come too far.
func (e *Engine) farOf(es []rouse.Event) (far []rouse.Event) {
	for i := range es {
		if e.far(&es[i]) {
			far = append(far, es[i])
		}
	}
	return far
}

func (e *Engine) inTurn(ctx context.Context, c *compiled, es []rouse.Event) bool {
	for attempt, tries := 1, 1; len(es) > 0; tries++ {
		if ctx.Err() != nil || c.paused.Load() || e.fused(ctx, c) {
			return false
		}
		if far := e.farOf(es); len(far) > 0 {
			if err := e.park(ctx, c, far); err != nil {
				e.Log.Error("park events", "rule", c.Ref.String(), "error", err)
				if !pause(ctx, dispatch.Backoff(rouse.Duration(retry), min(tries, 6))) {
					return false
				}
				continue
			}
			es = slices.DeleteFunc(slices.Clone(es), func(ev rouse.Event) bool { return e.far(&ev) })
			continue
		}
		if e.old(c, es[0].Time) { // those of streams and tables have the time at which they were stored
			if !e.dropOrWait(ctx, c, es[:1], tooOld, tries) {
				return false
			}
			es = es[1:]
			continue
		}
		r := e.deliver(ctx, delivery{rule: c, events: es, attempt: attempt, to: c.To})
		e.say(c, r.reason)
		wait := dispatch.Backoff(c.Retry.Backoff, tries)
		switch {
		case r.reason == "":
			if err := e.after(ctx, c, c.Success, es, r); err != nil {
				e.say(c, err.Error())
				break
			}
			return true
		case r.later: // its code was not tried
			wait = dispatch.Backoff(c.Retry.Backoff, min(tries, 6))
		case r.partial && slices.Index(r.failed, true) > 0:
			es = es[slices.Index(r.failed, true):] // those before it are done
			attempt, tries, wait = 1, 0, 0
		case r.partial && attempt >= c.Retry.Attempts: // those after it are not to blame
			if !e.dropOrWait(ctx, c, es[:1], r, tries) {
				return false
			}
			es = es[1:]
			attempt, tries, wait = 1, 0, 0
		case r.gone || attempt >= c.Retry.Attempts:
			// What can't be delivered together, such as what is too large, may be one by one.
			if c.Batch != nil && (c.Batch.Bisect || r.gone) && len(es) > 1 {
				half := len(es) / 2
				return e.inTurn(ctx, c, es[:half]) && e.inTurn(ctx, c, es[half:])
			}
			return e.dropOrWait(ctx, c, es, r, tries)
		default:
			attempt++
		}
		if !pause(ctx, wait) {
			return false
		}
	}
	return true
}

// dropOrWait gives events up, and tries until they are where they belong.
func (e *Engine) dropOrWait(ctx context.Context, c *compiled, es []rouse.Event, r result, tries int) bool {
	for {
		err := e.giveUp(ctx, c, es, r)
		if err == nil {
			return true
		}
		e.Log.Error("give up events", "rule", c.Ref.String(), "error", err)
		if tries++; c.paused.Load() || !pause(ctx, dispatch.Backoff(rouse.Duration(retry), min(tries, 6))) {
			return false
		}
	}
}

// pause waits and says whether ctx lasted as long.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
