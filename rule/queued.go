package rule

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
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
	Tells  bool          `json:"tells,omitempty"`  // of what became of others: see tellLater
	Ahead  *ahead        `json:"ahead,omitempty"`  // nil is that it has happened
	Stored time.Time     `json:"stored,omitzero"`  // from when on it ages; zero is from Given, or Event.Time
}

// Bounds of what enqueue sends together.
const (
	sentAtOnce  = 2000
	bytesAtOnce = 8 << 20
)

// A parcel is what enqueue sends together: either what can be delivered, or what
// is still to come.
type parcel struct {
	all  map[string][]rouse.Message
	due  map[string][]time.Time // of each message of a queue that is to come
	n    int
	size int
}

func (p *parcel) add(queue string, m rouse.Message) {
	p.all[queue] = append(p.all[queue], m)
	p.n, p.size = p.n+1, p.size+len(m.Body)
}

func (p *parcel) full() bool { return p.n >= sentAtOnce || p.size >= bytesAtOnce }

// enqueue gives entries to the queues of rules. Where it fails some may have got
// theirs: they will get them again.
func (e *Engine) enqueue(ctx context.Context, es map[*compiled][]data.Entry) error {
	now, ahead := newParcel(), newParcel()
	for c, mine := range es {
		q := queueOf(c)
		for i := range mine {
			b, err := json.Marshal(queued{Event: mine[i].Event, Ahead: aheadOf(&mine[i]), Stored: storedOf(&mine[i])})
			if err != nil {
				return err
			}
			p := &now
			if wait := mine[i].Due.Sub(e.Now()); wait > 0 {
				p = &ahead
				p.add(q, rouse.Message{Body: b, Delay: wait})
				p.due[q] = append(p.due[q], mine[i].Due)
			} else {
				p.add(q, rouse.Message{Body: b})
			}
			if p.full() {
				if err := e.sendParcel(ctx, *p); err != nil {
					return err
				}
				*p = newParcel()
			}
		}
	}
	if err := e.sendParcel(ctx, now); err != nil {
		return err
	}
	return e.sendParcel(ctx, ahead)
}

// storedOf returns when an entry came in, where its event does not say so. What
// was stored ahead came when it was due.
func storedOf(entry *data.Entry) time.Time {
	if !entry.Due.IsZero() || entry.Stored.UnixMicro() == entry.Event.Time.UnixMicro() {
		return time.Time{}
	}
	return entry.Stored
}

func newParcel() parcel {
	return parcel{all: map[string][]rouse.Message{}, due: map[string][]time.Time{}}
}

// sendParcel sends a parcel, and has it delivered: what can be delivered at once
// need not be received first, and what is to come is held until then.
func (e *Engine) sendParcel(ctx context.Context, p parcel) error {
	switch {
	case p.n == 0:
		return nil
	case len(p.due) > 0:
		return e.hold(ctx, p)
	}
	r := e.queued.Reserve(ctx, slices.Collect(maps.Keys(p.all)))
	leases, err := e.SendAll(ctx, p.all, r.Room, e.Lease)
	r.Begin(leases)
	if err == nil {
		e.serve(p, leases)
	}
	return err
}

// serve has what was not leased received.
func (e *Engine) serve(p parcel, leases map[string][]rouse.Lease) {
	for q, ms := range p.all {
		if len(leases[q]) < len(ms) {
			e.queued.Serve(q)
		}
	}
}

// hold sends what is to come, and keeps it leased until it does. What is to come
// so late that the lease would end before, a queue delivers by its delay.
func (e *Engine) hold(ctx context.Context, p parcel) error {
	room := map[string]int{}
	for q, due := range p.due {
		if slices.MaxFunc(due, time.Time.Compare).Sub(e.Now()) < e.Lease/2 {
			room[q] = e.queued.Room(ctx, q)
		}
	}
	leases, err := e.SendAll(ctx, p.all, room, e.Lease)
	if err != nil {
		return err
	}
	for q, ls := range leases {
		for i, l := range ls {
			e.queued.Hold(q, l, p.due[q][i])
		}
	}
	e.serve(p, leases)
	return nil
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

// burials is how many dead letters are made at once.
const burials = 16

// bury puts what is given up among the dead letters of the rule's own queue,
// where it is seen also while the rule is paused. What is not there when it
// returns, such as after a crash, handle puts there.
func (e *Engine) bury(ctx context.Context, c *compiled, qs []queued) error {
	ctx = context.WithoutCancel(ctx) // a pause must not undo what the attempts came to
	name, p := queueOf(c), newParcel()
	for i := range qs {
		b, err := json.Marshal(qs[i])
		if err != nil {
			return err
		}
		p.add(name, rouse.Message{Body: b})
	}
	leases, err := e.SendAll(ctx, p.all, map[string]int{name: len(qs)}, e.Lease)
	if err != nil {
		return err
	}
	var work errgroup.Group
	work.SetLimit(burials)
	for i, l := range leases[name] {
		work.Go(func() error {
			if err := e.Queue.Bury(ctx, name, l.Receipt, qs[i].Reason); err != nil {
				e.Log.Warn("bury an event", "rule", c.Ref.String(), "event", qs[i].Event.ID, "error", err)
			}
			return nil
		})
	}
	_ = work.Wait()
	e.serve(p, leases)
	return nil
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
		case q.Tells && q.To != nil:
			out[i] = e.tellAgain(ctx, c, &q, l.Count)
		case q.Reason != "" && q.Given.After(c.Redriven): // else it was sent back from there
			out[i].Bury = q.Reason
		case q.Ahead == nil || e.ripe(ctx, c, q.Ahead, &out[i]):
			work = append(work, side{queued: q, count: l.Count, outcome: &out[i]})
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
	taken   bool // from a user's queue
	fifo    bool // which is
}

// holdsUp reports whether one of work is to be delivered again, and those after
// it must not be before: they are of one group of a fifo queue.
func (s *side) holdsUp(work []side) bool {
	return s.fifo && slices.ContainsFunc(work, func(s side) bool { return s.outcome.Again })
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
	if c.paused.Load() || e.fused(ctx, c) {
		again(work, retry)
		return
	}
	if work = e.dropOld(ctx, c, e.parkSides(ctx, c, work)); len(work) == 0 {
		return
	}
	es := eventsOf(work)
	to := c.To
	if work[0].To != nil {
		to = *work[0].To
	}
	r := e.deliver(ctx, delivery{rule: c, events: es, attempt: work[0].count, to: to})
	e.say(c, r.reason)
	if r.reason == "" {
		if err := e.after(ctx, c, c.Success, es, r); err != nil {
			e.say(c, err.Error())
			again(work, dispatch.Backoff(c.Retry.Backoff, work[0].count))
		}
		return
	}
	if halves := r.gone || c.Batch != nil && c.Batch.Bisect && !r.later && !r.partial && work[0].count >= c.Retry.Attempts; halves && len(work) > 1 {
		half := len(work) / 2
		if e.sideBySide(ctx, c, work[:half]); work[0].holdsUp(work[:half]) {
			again(work[half:], 0)
			return
		}
		e.sideBySide(ctx, c, work[half:])
		return
	}
	for i := range work {
		if r.failed == nil || r.failed[i] {
			*work[i].outcome = e.failed(ctx, c, &work[i], r)
		}
	}
}

func eventsOf(work []side) []rouse.Event {
	es := make([]rouse.Event, len(work))
	for i := range work {
		es[i] = work[i].Event
	}
	return es
}

// again has events delivered again after a while.
func again(work []side, after time.Duration) {
	for i := range work {
		*work[i].outcome = dispatch.Outcome{Again: true, After: after}
	}
}

// parkSides parks those events that have come too far, and returns the others.
func (e *Engine) parkSides(ctx context.Context, c *compiled, work []side) (rest []side) {
	var far []side
	for _, s := range work {
		if e.far(&s.Event) {
			far = append(far, s)
		} else {
			rest = append(rest, s)
		}
	}
	if len(far) == 0 {
		return work
	}
	if err := e.park(ctx, c, eventsOf(far)); err != nil {
		e.Log.Error("park events", "rule", c.Ref.String(), "error", err)
		again(far, retry)
	}
	return rest
}

// dropOld gives up those events that are too old, and returns the others.
func (e *Engine) dropOld(ctx context.Context, c *compiled, work []side) (rest []side) {
	for i := range work {
		s := &work[i]
		if !e.old(c, s.since(c)) {
			rest = append(rest, *s)
			continue
		}
		if *s.outcome = e.failed(ctx, c, s, tooOld); s.holdsUp(work[i : i+1]) {
			again(work[i+1:], 0)
			again(rest, 0)
			return nil
		}
	}
	return rest
}

// since is from when on an event ages: when it came in, or was sent back from the
// dead letters.
func (q *queued) since(c *compiled) time.Time {
	at := cmp.Or(q.Stored, q.Given, q.Event.Time)
	if c.Redriven.After(at) {
		return c.Redriven
	}
	return at
}

// failed says what becomes of an event whose delivery failed.
func (e *Engine) failed(ctx context.Context, c *compiled, s *side, r result) dispatch.Outcome {
	switch {
	case r.later:
		return dispatch.Outcome{Again: true, After: dispatch.Backoff(c.Retry.Backoff, 1)}
	case !r.gone && s.count < c.Retry.Attempts:
		return dispatch.Outcome{Again: true, After: dispatch.Backoff(c.Retry.Backoff, s.count)}
	case c.DeadLetter == nil && s.taken: // the queue says when it is enough
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
