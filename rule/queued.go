package rule

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dispatch"
	"github.com/rouse-run/rouse/event"
)

// queuePrefix is that of the queues of rules that deliver side by side.
const queuePrefix = "rule:"

func queueOf(c *compiled) string { return queuePrefix + c.Ref.String() }

// A queued event is what such a queue carries.
type queued struct {
	Event  rouse.Event   `json:"event"`
	To     *event.Target `json:"to,omitempty"`     // in place of the rule's own
	Reason string        `json:"reason,omitempty"` // why it is given up
	Given  time.Time     `json:"given,omitzero"`   // when it was
}

// buried is how long after it was given up an event is on its way to the dead
// letters. One that comes later was sent back from there.
const buried = 5 * time.Second

// Bounds of what enqueue sends together.
const (
	sentAtOnce  = 2000
	bytesAtOnce = 8 << 20
)

// enqueue gives events to the queues of rules. Where it fails some may have got
// theirs: they will get them again.
func (e *Engine) enqueue(ctx context.Context, es map[*compiled][]rouse.Event) error {
	all := map[string][]rouse.Message{}
	n, size := 0, 0
	flush := func() error {
		// What can be handled at once need not be received first.
		r := e.queued.Reserve(ctx, slices.Collect(maps.Keys(all)))
		leases, err := e.SendAll(ctx, all, r.Room, e.Lease)
		r.Begin(leases)
		if err == nil {
			for q, ms := range all {
				if len(leases[q]) < len(ms) {
					e.queued.Serve(q)
				}
			}
		}
		clear(all)
		n, size = 0, 0
		return err
	}
	for c, mine := range es {
		q := queueOf(c)
		for i := range mine {
			b, err := json.Marshal(queued{Event: mine[i]})
			if err != nil {
				return err
			}
			all[q] = append(all[q], rouse.Message{Body: b})
			if n, size = n+1, size+len(b); n >= sentAtOnce || size >= bytesAtOnce {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	if n == 0 {
		return nil
	}
	return flush()
}

// sendEach sends to queues one after the other.
func sendEach(q rouse.Queue) SendAll {
	return func(ctx context.Context, all map[string][]rouse.Message, _ map[string]int, _ time.Duration) (map[string][]rouse.Lease, error) {
		for name, ms := range all {
			if _, err := q.Send(ctx, name, ms); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
}

// A spacing says when queued events are to be delivered: at once, or one after
// the other.
type spacing struct{ first, apart time.Duration }

func (e *Engine) send(ctx context.Context, c *compiled, qs []queued, s spacing) error {
	ms := make([]rouse.Message, len(qs))
	for i := range qs {
		b, err := json.Marshal(qs[i])
		if err != nil {
			return err
		}
		ms[i] = rouse.Message{Body: b, Delay: s.first + time.Duration(i)*s.apart}
	}
	if _, err := e.Queue.Send(ctx, queueOf(c), ms); err != nil {
		return err
	}
	e.queued.Serve(queueOf(c))
	return nil
}

// bury puts events among the dead letters of the rule's own queue.
func (e *Engine) bury(ctx context.Context, c *compiled, es []rouse.Event, reason string) error {
	qs := make([]queued, len(es))
	for i := range es {
		qs[i] = queued{Event: es[i], Reason: reason, Given: e.Now()}
	}
	return e.send(ctx, c, qs, spacing{})
}

// ruleOf returns the rule of a queue; nil where it is no more.
func (e *Engine) ruleOf(queue string) *compiled {
	ns, name, _ := strings.Cut(strings.TrimPrefix(queue, queuePrefix), "/")
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rules[rouse.Ref{Namespace: rouse.Namespace(ns), Name: name}]
}

// lane says how a rule's queue is served.
func (e *Engine) lane(_ context.Context, queue string) dispatch.Lane {
	return e.laneOf(e.ruleOf(queue))
}

func (e *Engine) laneOf(c *compiled) dispatch.Lane {
	switch {
	case c == nil: // what is left of it is removed
		return dispatch.Lane{Parallel: 1, Batch: 1000}
	case c.paused.Load():
		return dispatch.Lane{}
	}
	l := dispatch.Lane{Parallel: orDefault(c.Parallel, e.Parallel), Batch: 1}
	if c.Batch != nil {
		l.Batch, l.Window = c.Batch.Size, time.Duration(c.Batch.Window)
	}
	return l
}

// handle delivers what was leased from a rule's queue.
func (e *Engine) handle(ctx context.Context, queue string, leases []rouse.Lease) []dispatch.Outcome {
	out := make([]dispatch.Outcome, len(leases))
	c := e.ruleOf(queue)
	if c == nil {
		return out
	}
	var work []side
	for i, l := range leases {
		var q queued
		switch err := json.Unmarshal(l.Body, &q); {
		case err != nil:
			out[i].Bury = "not an event: " + err.Error()
		case q.Reason != "" && e.Now().Sub(q.Given) < buried:
			out[i].Bury = q.Reason
		default:
			work = append(work, side{q, l.Count, &out[i]})
		}
	}
	for len(work) > 0 {
		n := together(c, work)
		e.sideBySide(ctx, c, work[:n])
		work = work[n:]
	}
	return out
}

// A side is one leased event and what becomes of it.
type side struct {
	queued
	count   int
	outcome *dispatch.Outcome
}

// together returns how many of the first can be delivered as one batch.
func together(c *compiled, work []side) int {
	if c.Batch == nil {
		return 1
	}
	size := 0
	for i := range work {
		size += len(work[i].Event.Data)
		if i > 0 && (size > c.Batch.Bytes || work[i].To != nil || work[0].To != nil) {
			return i
		}
	}
	return len(work)
}

// sideBySide makes one attempt to deliver events that need not be in order.
func (e *Engine) sideBySide(ctx context.Context, c *compiled, work []side) {
	es := make([]rouse.Event, len(work))
	for i := range work {
		es[i] = work[i].Event
	}
	if c.paused.Load() || e.fused(ctx, c, es) {
		for i := range work {
			*work[i].outcome = dispatch.Outcome{Again: true, After: retry}
		}
		return
	}
	to := c.To
	if work[0].To != nil {
		to = *work[0].To
	}
	var r result
	if e.old(c, &es[0]) {
		r = result{reason: "it is older than the rule's retry.age", gone: true}
	} else {
		r = e.deliver(ctx, delivery{rule: c, events: es, attempt: work[0].count, to: to})
		e.say(c, r.reason)
	}
	if r.reason == "" {
		if err := e.after(ctx, c, c.Success, es, r); err != nil {
			e.say(c, err.Error())
			for i := range work {
				*work[i].outcome = dispatch.Outcome{Again: true, After: dispatch.Backoff(c.Retry.Backoff, work[i].count)}
			}
		}
		return
	}
	if c.Batch != nil && c.Batch.Bisect && len(work) > 1 && !r.later && !r.partial && work[0].count >= c.Retry.Attempts {
		half := len(work) / 2
		e.sideBySide(ctx, c, work[:half])
		e.sideBySide(ctx, c, work[half:])
		return
	}
	for i := range work {
		if r.failed == nil || r.failed[i] {
			*work[i].outcome = e.failed(ctx, c, &work[i], r)
		}
	}
}

// failed says what becomes of an event whose delivery failed.
func (e *Engine) failed(ctx context.Context, c *compiled, s *side, r result) dispatch.Outcome {
	switch {
	case r.later:
		return dispatch.Outcome{Again: true, After: dispatch.Backoff(c.Retry.Backoff, 1)}
	case !r.gone && s.count < c.Retry.Attempts:
		return dispatch.Outcome{Again: true, After: dispatch.Backoff(c.Retry.Backoff, s.count)}
	case c.DeadLetter == nil && c.On.Queue != "": // the queue says when it is enough
		return dispatch.Outcome{Again: true, After: dispatch.Backoff(c.Retry.Backoff, s.count)}
	case c.DeadLetter == nil:
		if err := e.after(ctx, c, c.Failure, []rouse.Event{s.Event}, r); err != nil {
			return dispatch.Outcome{Again: true, After: dispatch.Backoff(c.Retry.Backoff, s.count)}
		}
		return dispatch.Outcome{Bury: r.reason}
	}
	if err := e.giveUp(ctx, c, []rouse.Event{s.Event}, r); err != nil {
		e.say(c, err.Error())
		return dispatch.Outcome{Again: true, After: dispatch.Backoff(c.Retry.Backoff, s.count)}
	}
	return dispatch.Outcome{}
}
