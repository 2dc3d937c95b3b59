package inbox

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/stream/journal"
)

// An ahead is what a trigger has stored ahead of its time, and what is needed to
// withdraw it.
type ahead struct {
	Due     time.Time `json:"due"`
	Numbers []uint64  `json:"numbers"` // of the events
	Before  []byte    `json:"before"`  // the state; nil where there was none
}

// noteAhead notes what is stored ahead, by the numbers of its events. The states
// are still those before. Where there is no new event, what was noted before
// stays: it may be of these.
func noteAhead(w rouse.KeyWriter, a adding, numbers map[int][]uint64) error {
	var keys [][]byte
	var of []int
	for i, m := range a.of {
		if m.Due.After(a.now) && len(numbers[i]) > 0 {
			keys, of = append(keys, stateKey(m.Trigger.Namespace, m.Trigger.Name)), append(of, i)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	before, err := w.Get(keys...)
	if len(before) != len(keys) {
		return err
	}
	for n, i := range of {
		m := a.of[i]
		b, err := json.Marshal(ahead{m.Due, numbers[i], before[n]})
		if err != nil {
			return err
		}
		w.Put(aheadKey(m.Trigger.Namespace, m.Trigger.Name), b)
	}
	return nil
}

// Withdraw undoes what a trigger has stored ahead and is still to come: as if it
// had not been. It returns the numbers of those events, which all are in the
// trigger's shard; none where there is nothing to come, or where the number but is
// among them.
func (b *Inbox) Withdraw(ctx context.Context, from rouse.Ref, but uint64) ([]uint64, error) {
	var numbers []uint64
	ns := from.Namespace
	j := journalOf(ns, shardOf(from.Name))
	// Not a View, though there mostly is nothing: it comes after what is being
	// stored while its caller does not wait for it any more.
	err := b.Keys.Update(ctx, func(w rouse.KeyWriter) error {
		numbers = nil
		a, err := b.coming(w, from)
		if err != nil || slices.Contains(a.Numbers, but) {
			return err
		}
		if a.Numbers == nil {
			return nil
		}
		for _, n := range a.Numbers {
			if err := withdraw(w, j, ns, n); err != nil {
				return err
			}
		}
		w.Delete(aheadKey(ns, from.Name))
		if a.Before == nil {
			w.Delete(stateKey(ns, from.Name))
		} else {
			w.Put(stateKey(ns, from.Name), a.Before)
		}
		numbers = a.Numbers
		return nil
	})
	if err != nil {
		return nil, err // what was begun may go on behind it: numbers is not ours
	}
	return numbers, nil
}

// Coming reports whether a trigger has stored something ahead that is still to
// come.
func (b *Inbox) Coming(ctx context.Context, from rouse.Ref) (is bool, err error) {
	err = b.Keys.View(ctx, func(r rouse.KeyReader) error {
		a, err := b.coming(r, from)
		is = a.Numbers != nil
		return err
	})
	return is, err
}

// coming reads what is to come of a trigger; it has no Numbers where that is
// nothing.
func (b *Inbox) coming(r rouse.KeyReader, from rouse.Ref) (a ahead, err error) {
	vs, err := r.Get(aheadKey(from.Namespace, from.Name))
	if err != nil || vs[0] == nil {
		return a, err
	}
	if err := json.Unmarshal(vs[0], &a); err != nil {
		return a, rouse.Errorf(rouse.Internal, "read what is to come", from.String(), "it is not what was stored: %w", err)
	}
	if !a.Due.After(b.Now()) {
		a.Numbers = nil
	}
	return a, nil
}

// withdraw leaves nothing of an event but its number.
func withdraw(w rouse.KeyWriter, j journal.Journal, ns rouse.Namespace, number uint64) error {
	es, err := j.Read(w, number-1, 1, 0)
	if err != nil || len(es) == 0 || es[0].Number != number {
		return err
	}
	s, err := decode(es[0])
	if err != nil {
		return err
	}
	w.Delete(seenKey(ns, s.Event.ID, s.From))
	j.Blank(w, es[0])
	return nil
}

// Withdrawn reports whether the event of a number was withdrawn by its trigger.
func (b *Inbox) Withdrawn(ctx context.Context, from rouse.Ref, number uint64) (withdrawn bool, err error) {
	err = b.Keys.View(ctx, func(r rouse.KeyReader) error {
		es, err := journalOf(from.Namespace, shardOf(from.Name)).Read(r, number-1, 1, 0)
		withdrawn = len(es) == 1 && es[0].Number == number && len(es[0].Body) == 0
		if len(es) > 0 {
			err = nil // of others
		}
		return err
	})
	return withdrawn, err
}
