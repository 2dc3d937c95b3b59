package inbox

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/internal/ident"
	"github.com/rouse-run/rouse/internal/tuple"
	"github.com/rouse-run/rouse/stream/journal"
)

// A place is where the events of a trigger are kept.
type place struct {
	namespace rouse.Namespace
	shard     int
}

// A fresh event is one on its way into its place.
type fresh struct {
	place
	key  []byte // that says where it is
	body []byte
	of   int // the Emission it is of
}

// AddMany does for each Emission what Add does, for all in one transaction. The
// errors are in the order of all, nil for those that were stored: one that is
// refused holds up no other.
func (b *Inbox) AddMany(ctx context.Context, all []event.Emission) []error {
	errs := make([]error, len(all))
	now := b.Now()
	a := adding{now: now}
	for i, m := range all {
		var mine []fresh
		if mine, errs[i] = prepare(m, now); errs[i] != nil {
			continue
		}
		for j := range mine {
			mine[j].of = len(a.of)
		}
		a.of, a.events = append(a.of, m), append(a.events, mine...)
	}
	if len(a.events) == 0 && !slices.ContainsFunc(a.of, func(m event.Emission) bool { return m.State != nil }) {
		return errs
	}
	touched, err := b.add(ctx, a)
	for i := range errs {
		if errs[i] == nil {
			errs[i] = err
		}
	}
	for p := range touched {
		b.waiters.Wake(feedOf(p.namespace), strconv.Itoa(p.shard))
	}
	return errs
}

// prepare fills in what an Emission's events lack, and writes them.
func prepare(m event.Emission, now time.Time) ([]fresh, error) {
	es := make([]fresh, len(m.Events))
	at := place{m.Trigger.Namespace, shardOf(m.Trigger.Name)}
	for i, e := range m.Events {
		if len(e.Data) > MaxData {
			return nil, rouse.Errorf(rouse.TooLarge, "emit", m.Trigger.String(), "the data of event %d has %d bytes, %d are the most", i, len(e.Data), MaxData)
		}
		if e.ID == "" {
			e.ID = ident.New()
		}
		if len(e.ID) > 512 {
			return nil, rouse.Errorf(rouse.Invalid, "emit", m.Trigger.String(), "the id of event %d has %d bytes, 512 are the most", i, len(e.ID))
		}
		if e.Time.IsZero() {
			if e.Time = now.UTC(); !m.Due.IsZero() {
				e.Time = m.Due.UTC()
			}
		}
		body, err := json.Marshal(stored{m.Trigger.Name, e, m.Due.Round(0)})
		if err != nil {
			return nil, rouse.Errorf(rouse.Invalid, "emit", m.Trigger.String(), "event %d can't be written as JSON: %w", i, err)
		}
		es[i] = fresh{place: at, key: seenKey(m.Trigger.Namespace, e.ID, m.Trigger.Name), body: body}
	}
	return es, nil
}

// An adding is what one transaction stores.
type adding struct {
	now    time.Time
	of     []event.Emission
	events []fresh
}

// add stores states and events, but those that were seen before. It returns where
// there are new ones.
func (b *Inbox) add(ctx context.Context, a adding) (map[place][]fresh, error) {
	keys := make([][]byte, len(a.events))
	for i := range a.events {
		keys[i] = a.events[i].key
	}
	var touched map[place][]fresh
	err := b.Keys.Update(ctx, func(w rouse.KeyWriter) error {
		touched = map[place][]fresh{}
		seen, err := w.Get(keys...)
		if err != nil {
			return err
		}
		known := make(map[string]bool, len(keys))
		for i, s := range seen {
			if s == nil && !known[string(keys[i])] {
				known[string(keys[i])] = true
				touched[a.events[i].place] = append(touched[a.events[i].place], a.events[i])
			}
		}
		numbers, err := appendTo(w, a.now, touched)
		if err == nil {
			err = noteAhead(w, a, numbers)
		}
		for _, m := range a.of {
			if m.State != nil {
				w.Put(stateKey(m.Trigger.Namespace, m.Trigger.Name), m.State)
			}
		}
		return err
	})
	if err != nil {
		return nil, err // what was begun may go on behind it: touched is not ours
	}
	return touched, nil
}

// appendTo appends events to the journals of their places, and notes where each
// is. It returns their numbers, by Emission.
func appendTo(w rouse.KeyWriter, now time.Time, es map[place][]fresh) (numbers map[int][]uint64, err error) {
	if len(es) == 0 {
		return nil, nil
	}
	var places []place
	var batches []journal.Batch
	for p, mine := range es {
		bodies := make([][]byte, len(mine))
		for i := range mine {
			bodies[i] = mine[i].body
		}
		places = append(places, p)
		batches = append(batches, journal.Batch{Journal: journalOf(p.namespace, p.shard), Bodies: bodies})
	}
	firsts, err := journal.AppendAll(w, now, batches)
	if err != nil {
		return nil, err
	}
	numbers = map[int][]uint64{}
	for n, p := range places {
		for i, e := range es[p] {
			number := firsts[n] + uint64(i)
			w.Put(e.key, tuple.Uint(tuple.Uint(nil, uint64(p.shard)), number))
			numbers[e.of] = append(numbers[e.of], number)
		}
	}
	return numbers, nil
}
