package rule

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dispatch"
)

// An event that is stored ahead of its time goes the way of all events at once,
// up to the queues of its rules, and is held there until it is due: then nothing
// is left to do but to deliver it. Until then its trigger can withdraw it.

// maxAhead is more than the time by which triggers store events ahead.
const maxAhead = time.Minute

// An ahead says of a queued event when it is due, and which of its trigger's it
// is.
type ahead struct {
	Due     time.Time `json:"due"`
	Trigger string    `json:"trigger"`
	Number  uint64    `json:"number"` // in the Inbox
}

// aheadOf returns that of an entry; nil where it was stored when it happened.
func aheadOf(entry *data.Entry) *ahead {
	if entry.Due.IsZero() {
		return nil
	}
	return &ahead{Due: entry.Due, Trigger: entry.Key, Number: entry.Sequence}
}

// forthcoming knows which of the events that triggers stored ahead are to be
// delivered when they are due, so that the store need not be asked then.
type forthcoming struct {
	mu  sync.Mutex
	all map[rouse.Ref]*forthcomings // guarded by mu
}

// forthcomings are those of one trigger.
type forthcomings struct {
	number    uint64        // of the last that rules have been given; 0 is none
	begun     bool          // it is being delivered, or was
	withdrawn uint64        // the last that was
	busy      chan struct{} // closed when the withdrawal that is under way has ended; nil is none
}

// of returns those of a trigger; f.mu is held.
func (f *forthcoming) of(trigger rouse.Ref) *forthcomings {
	if f.all[trigger] == nil {
		if f.all == nil {
			f.all = map[rouse.Ref]*forthcomings{}
		}
		f.all[trigger] = &forthcomings{}
	}
	return f.all[trigger]
}

// announce notes that rules are given an event; false is that it was withdrawn
// since it was read.
func (f *forthcoming) announce(trigger rouse.Ref, number uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.of(trigger)
	if number <= t.withdrawn {
		return false
	}
	if number > t.number {
		t.number, t.begun = number, false
	}
	return true
}

// announce notes which of entries are still to come, and returns them all but
// for those that were withdrawn.
func (e *Engine) announce(ns rouse.Namespace, es []data.Entry) []data.Entry {
	return slices.DeleteFunc(slices.Clone(es), func(entry data.Entry) bool {
		return entry.Due.After(e.Now()) && !e.forthcoming.announce(rouse.Ref{Namespace: ns, Name: entry.Key}, entry.Sequence)
	})
}

// begin reports whether an event that is due now is to be delivered, where that
// is known.
func (f *forthcoming) begin(trigger rouse.Ref, number uint64) (deliver, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.rest(trigger)
	if deliver = t.number == number; deliver {
		t.begun = true
	}
	return deliver, deliver || number <= t.withdrawn
}

// rest returns those of a trigger when no withdrawal is under way; f.mu is held,
// but not while it waits.
func (f *forthcoming) rest(trigger rouse.Ref) *forthcomings {
	for {
		t := f.of(trigger)
		busy := t.busy
		if busy == nil {
			return t
		}
		f.mu.Unlock()
		<-busy
		f.mu.Lock()
	}
}

// withdraw has undo withdraw what is to come of a trigger, but for the event of
// a number, which is being delivered or was: where the clock was put back, it
// seems to come once more. Undo returns the numbers of what it withdrew.
func (f *forthcoming) withdraw(trigger rouse.Ref, undo func(but uint64) ([]uint64, error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.rest(trigger)
	but := uint64(0)
	if t.begun {
		but = t.number
	}
	t.busy = make(chan struct{})
	f.mu.Unlock()
	numbers, err := undo(but)
	f.mu.Lock()
	close(t.busy)
	t.busy = nil
	if len(numbers) > 0 {
		if t.withdrawn = slices.Max(numbers); t.number <= t.withdrawn {
			t.number, t.begun = 0, false
		}
	}
	return err
}

// forget removes what is known of a trigger that is no more.
func (f *forthcoming) forget(trigger rouse.Ref) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, trigger)
}

// withdraw withdraws what a trigger, which was stopped, has stored ahead.
func (e *Engine) withdraw(ctx context.Context, trigger rouse.Ref) error {
	return e.forthcoming.withdraw(trigger, func(but uint64) ([]uint64, error) { return e.Inbox.Withdraw(ctx, trigger, but) })
}

// rematch starts the trigger of a rule anew where it has stored something ahead:
// there are other rules now than when that was matched. Nil is no rule.
func (e *Engine) rematch(ctx context.Context, c *compiled) error {
	if c == nil || c.On.Trigger == "" {
		return nil
	}
	ref := rouse.Ref{Namespace: c.Namespace, Name: c.On.Trigger}
	coming, err := e.Inbox.Coming(ctx, ref)
	if err != nil || !coming {
		return err
	}
	defer e.turn(ref)()
	e.mu.Lock()
	t := e.triggers[ref]
	e.mu.Unlock()
	e.halt(t)
	err = e.withdraw(ctx, ref)
	e.mu.Lock()
	defer e.mu.Unlock()
	if t != nil {
		e.start(t)
	}
	return err
}

// ripe reports whether an event that was stored ahead is to be delivered now;
// else out says what becomes of it.
func (e *Engine) ripe(ctx context.Context, c *compiled, a *ahead, out *dispatch.Outcome) bool {
	if wait := a.Due.Sub(e.Now()); wait > 0 {
		*out = dispatch.Outcome{Again: true, After: wait}
		return false
	}
	trigger := rouse.Ref{Namespace: c.Namespace, Name: a.Trigger}
	deliver, known := e.forthcoming.begin(trigger, a.Number)
	if known {
		return deliver
	}
	// The server was started anew since, or the trigger has gone on.
	withdrawn, err := e.Inbox.Withdrawn(ctx, trigger, a.Number)
	if err != nil {
		e.Log.Error("look whether an event is still to be delivered", "trigger", trigger.String(), "error", err)
		*out = dispatch.Outcome{Again: true, After: retry}
	}
	return err == nil && !withdrawn
}
