package rule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dispatch"
)

// messages are the queues of users as a Dispatcher takes them: those that a rule
// listens to. It implements as much of rouse.Queue as that needs.
type messages struct {
	rouse.Queue // nil
	e           *Engine

	mu    sync.Mutex
	epoch int64                     // guarded by mu
	kept  map[rouse.Receipt]message // guarded by mu; what is leased
}

// A message is what is remembered of one that is leased.
type message struct {
	receipt string
	group   string
	fifo    bool
}

// userQueue names the queue that a rule takes from.
func userQueue(c *compiled) string { return string(c.Namespace) + "/" + c.On.Queue }

func refOf(queue string) rouse.Ref {
	ns, name, _ := strings.Cut(queue, "/")
	return rouse.Ref{Namespace: rouse.Namespace(ns), Name: name}
}

// Taken are the queues of users that rules take from.
func (e *Engine) Taken() []rouse.Ref {
	var all []rouse.Ref
	for _, c := range e.takers() {
		all = append(all, rouse.Ref{Namespace: c.Namespace, Name: c.On.Queue})
	}
	return all
}

// takers returns the rules that take from queues, by queue.
func (e *Engine) takers() map[string]*compiled {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := map[string]*compiled{}
	for _, c := range e.rules {
		if c.On.Queue != "" {
			all[userQueue(c)] = c
		}
	}
	return all
}

// taker returns the rule that takes from a queue; nil where there is none.
func (e *Engine) taker(queue rouse.Ref) *compiled {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.rules {
		if c.On.Queue == queue.Name && c.Namespace == queue.Namespace {
			return c
		}
	}
	return nil
}

// Receive implements rouse.Queue. It waits for a message where there is none:
// nobody tells when one comes in. Of a group of a fifo queue it takes what goes
// into one batch: the queue has no more of it to give until all of that is done.
func (m *messages) Receive(ctx context.Context, queue string, n int, d time.Duration) ([]rouse.Lease, error) {
	batch := 1
	if c := m.e.taker(refOf(queue)); c != nil && c.Batch != nil {
		batch = max(c.Batch.Size, 1)
	}
	ds, err := m.e.Take(ctx, data.Receive{Queue: refOf(queue), Max: min(n, 1000), Visibility: &d, Wait: longPoll, Groups: max(n/batch, 1), PerGroup: batch})
	if err != nil {
		return nil, err
	}
	ls := make([]rouse.Lease, len(ds))
	for i := range ds {
		body, err := json.Marshal(queued{Event: messageEvent(queue, &ds[i])})
		if err != nil {
			return nil, err
		}
		ls[i] = rouse.Lease{Receipt: m.keep(ds[i].ID, message{ds[i].Receipt, ds[i].Group, ds[i].Fifo}), Body: body, Count: ds[i].Count, Sent: ds[i].Sent}
	}
	return ls, nil
}

// cut returns how many of the first messages go into one batch: those of one
// group, where the queue is fifo. What is handled at once has no order.
func (m *messages) cut(_ string, ls []rouse.Lease, n int) int {
	if n == 1 {
		return n
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	first := m.kept[ls[0].Receipt]
	if !first.fifo {
		return n
	}
	for i := range n {
		if m.kept[ls[i].Receipt].group != first.group {
			return i
		}
	}
	return n
}

// group returns that of a leased message of a fifo queue.
func (m *messages) group(l rouse.Lease) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if what := m.kept[l.Receipt]; what.fifo {
		return what.group
	}
	return ""
}

// keep remembers a message under a number.
func (m *messages) keep(id int64, what message) rouse.Receipt {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	r := rouse.Receipt{ID: id, Epoch: m.epoch}
	m.kept[r] = what
	return r
}

func (m *messages) take(r rouse.Receipt) message {
	m.mu.Lock()
	defer m.mu.Unlock()
	what := m.kept[r]
	delete(m.kept, r)
	return what
}

func (m *messages) fifo(r rouse.Receipt) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept[r].fifo
}

// messageEvent makes an event of a message.
func messageEvent(queue string, d *data.Delivery) rouse.Event {
	name := refOf(queue).Name
	e := rouse.Event{ID: fmt.Sprintf("%s/%d", queue, d.ID), Type: "queue.message", Source: "queue:" + name, Subject: d.Group,
		Time: d.Sent.UTC(), Data: d.Body, Attributes: maps.Clone(d.Attributes)}
	switch {
	case json.Valid(d.Body):
		e.ContentType = "application/json"
	case utf8.Valid(d.Body):
		e.ContentType = "text/plain"
	default:
		e.ContentType = "application/octet-stream"
	}
	return e
}

// Delete implements rouse.Queue.
func (m *messages) Delete(ctx context.Context, queue string, rs []rouse.Receipt) ([]bool, error) {
	receipts := make([]string, len(rs))
	for i, r := range rs {
		receipts[i] = m.take(r).receipt
	}
	deleted, err := m.e.Data.Queues.Delete(ctx, refOf(queue), receipts)
	if deleted != nil && rouse.KindOf(err) == rouse.Conflict {
		err = nil // deleted says it
	}
	return deleted, err
}

// Extend implements rouse.Queue. What is not extended by a lease is given back:
// the Receipt that it returns is none.
func (m *messages) Extend(ctx context.Context, queue string, r rouse.Receipt, d time.Duration) (rouse.Receipt, error) {
	what := m.take(r)
	next, err := m.e.Data.Queues.Extend(ctx, refOf(queue), what.receipt, d, nil)
	if err != nil || d != m.e.Lease { // else it is given back, and comes with another receipt
		return rouse.Receipt{}, err
	}
	what.receipt = next
	return m.keep(r.ID, what), nil
}

// Bury implements rouse.Queue. A user's queue says itself when that is.
func (m *messages) Bury(context.Context, string, rouse.Receipt, string) error {
	return errors.New("a message of a user's queue is not ours to bury")
}

// Stats implements rouse.Queue. A queue that a rule takes from is never at rest:
// Receive waits for what may come.
func (m *messages) Stats(ctx context.Context, prefix string) (map[string]rouse.QueueStats, error) {
	all := map[string]rouse.QueueStats{}
	var errs []error
	for q := range m.e.takers() {
		if !strings.HasPrefix(q, prefix) {
			continue
		}
		n, err := m.e.Data.Queues.Counts(ctx, refOf(q))
		if err != nil {
			if rouse.KindOf(err) != rouse.NotFound {
				errs = append(errs, err)
			}
			continue
		}
		all[q] = rouse.QueueStats{Visible: n.Visible, Leased: max(n.Leased+n.Delayed, 1)}
	}
	return all, errors.Join(errs...)
}

// messageLane says how a user's queue is served. Nothing comes to a batch of a
// group while some of it is leased: to wait for more is in vain.
func (e *Engine) messageLane(ctx context.Context, queue string) dispatch.Lane {
	c := e.taker(refOf(queue))
	if c == nil {
		return dispatch.Lane{}
	}
	l := e.laneOf(c)
	if l.Window > 0 {
		if q, err := e.Data.Queues.Queue(ctx, refOf(queue)); err == nil && q.Fifo {
			l.Window = 0
		}
	}
	return l
}

// handle delivers what was leased from a user's queue: of a fifo queue, messages
// of one group.
func (m *messages) handle(ctx context.Context, queue string, leases []rouse.Lease) []dispatch.Outcome {
	e := m.e
	out := make([]dispatch.Outcome, len(leases))
	c, fifo := e.taker(refOf(queue)), m.fifo(leases[0].Receipt)
	work := make([]side, 0, len(leases))
	for i, l := range leases {
		var q queued
		switch err := json.Unmarshal(l.Body, &q); {
		case err != nil || c == nil:
			out[i] = dispatch.Outcome{Again: true, After: retry}
		case c.pattern.Match(documentOf(&q.Event)): // another is done with: nobody wants it
			work = append(work, side{q, l.Count, &out[i], true, fifo})
		}
	}
	for len(work) > 0 {
		n := together(c, work)
		if e.sideBySide(ctx, c, work[:n]); work[0].holdsUp(work[:n]) {
			again(work[n:], 0)
			break
		}
		work = work[n:]
	}
	return out
}
