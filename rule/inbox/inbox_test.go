package inbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

// A clock stands until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func open(t *testing.T) (*Inbox, *clock) {
	t.Helper()
	c := &clock{at: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	return New(Config{Keys: drivers.Site(t).Keys(t, "event"), Now: c.now, Poll: time.Hour}), c
}

var door = rouse.Ref{Namespace: "default", Name: "door"}

// all reads every event of a namespace.
func all(t *testing.T, b *Inbox, ns rouse.Namespace) (es []data.Entry) {
	t.Helper()
	for shard := range shards {
		after := uint64(0)
		for {
			got, err := b.Read(t.Context(), data.FeedQuery{Ref: rouse.Ref{Namespace: ns, Name: Name}, Shard: fmt.Sprint(shard), After: after, Limit: 7})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Entries) == 0 {
				break
			}
			es, after = append(es, got.Entries...), got.After
		}
	}
	return es
}

func TestEventsAreKeptInOrder(t *testing.T) {
	b, c := open(t)
	for i := range 20 {
		c.advance(time.Second)
		if err := b.Add(t.Context(), door, []rouse.Event{{Type: "opened", Data: fmt.Append(nil, 2*i)}, {Type: "closed", Data: fmt.Append(nil, 2*i+1)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Add(t.Context(), rouse.Ref{Namespace: "other", Name: "door"}, []rouse.Event{{}}, nil); err != nil {
		t.Fatal(err)
	}
	es := all(t, b, "default")
	ids := map[string]bool{}
	for i, e := range es {
		if string(e.Event.Data) != fmt.Sprint(i) || e.Key != "door" || e.Event.Time.IsZero() || len(e.Event.ID) != 32 {
			t.Errorf("%d: %+v", i, e)
		}
		ids[e.Event.ID] = true
		if found, err := b.Find(t.Context(), "default", e.Event.ID); err != nil || string(found.Data) != string(e.Event.Data) {
			t.Errorf("%d is not found: %v %v", i, found, err)
		}
	}
	if len(es) != 40 || len(ids) != 40 {
		t.Errorf("%d events with %d ids", len(es), len(ids))
	}
}

func TestAnIDIsTakenOnceFromEachTrigger(t *testing.T) {
	b, _ := open(t)
	window := rouse.Ref{Namespace: "default", Name: "window"}
	for _, add := range []struct {
		from rouse.Ref
		ids  []string
	}{{door, []string{"1", "2", "2"}}, {door, []string{"2", "3"}}, {window, []string{"1"}}} {
		var es []rouse.Event
		for _, id := range add.ids {
			es = append(es, rouse.Event{ID: id})
		}
		if err := b.Add(t.Context(), add.from, es, nil); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]int{}
	for _, e := range all(t, b, "default") {
		got[e.Key+e.Event.ID]++
	}
	if len(got) != 4 || got["door1"] != 1 || got["door2"] != 1 || got["door3"] != 1 || got["window1"] != 1 {
		t.Errorf("%v", got)
	}
}

func TestStateGoesWithEvents(t *testing.T) {
	b, _ := open(t)
	if s, err := b.State(t.Context(), door); s != nil || err != nil {
		t.Errorf("%q, %v before anything", s, err)
	}
	big := rouse.Event{Data: make([]byte, MaxData+1)}
	if err := b.Add(t.Context(), door, []rouse.Event{{}, big}, []byte("lost")); rouse.KindOf(err) != rouse.TooLarge {
		t.Errorf("too large: %v", err)
	}
	if s, err := b.State(t.Context(), door); s != nil || err != nil || len(all(t, b, "default")) > 0 {
		t.Errorf("half of it was stored: %q, %v", s, err)
	}
	if err := b.Add(t.Context(), door, nil, []byte("here")); err != nil {
		t.Fatal(err)
	}
	if s, err := b.State(t.Context(), door); string(s) != "here" || err != nil {
		t.Errorf("%q, %v", s, err)
	}
	if err := b.Forget(t.Context(), door); err != nil {
		t.Fatal(err)
	}
	if s, err := b.State(t.Context(), door); s != nil || err != nil {
		t.Errorf("%q, %v after it was forgotten", s, err)
	}
}

func TestOldEventsAreForgotten(t *testing.T) {
	b, c := open(t)
	add := func(id string) {
		t.Helper()
		if err := b.Add(t.Context(), door, []rouse.Event{{ID: id}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	add("old")
	c.advance(6 * 24 * time.Hour)
	add("new")
	c.advance(36 * time.Hour)
	if err := b.Trim(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Find(t.Context(), "default", "old"); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("old: %v", err)
	}
	if _, err := b.Find(t.Context(), "default", "new"); err != nil {
		t.Error(err)
	}
	add("old") // is news again
	if es := all(t, b, "default"); len(es) != 2 || es[0].Event.ID != "new" || es[1].Event.ID != "old" {
		t.Errorf("%v", es)
	}
}

func TestReadWaits(t *testing.T) {
	b, _ := open(t)
	shard := fmt.Sprint(shardOf("door"))
	q := data.FeedQuery{Ref: rouse.Ref{Namespace: "default", Name: Name}, Shard: shard, Wait: time.Hour}
	got := make(chan data.Batch)
	go func() {
		batch, err := b.Read(t.Context(), q)
		if err != nil {
			t.Error(err)
		}
		got <- batch
	}()
	if err := b.Add(t.Context(), door, []rouse.Event{{ID: "1"}}, nil); err != nil {
		t.Fatal(err)
	}
	if batch := <-got; len(batch.Entries) != 1 || batch.After != 1 || batch.Newest != 1 {
		t.Errorf("%+v", batch)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q.After = 1
	if _, err := b.Read(ctx, q); err == nil {
		t.Error("a wait whose context has ended returns without an error")
	}
	q.Shard = "99"
	if _, err := b.Read(t.Context(), q); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("shard 99: %v", err)
	}
}

// Many triggers emit in one transaction, each as if it were alone: what is
// refused of one holds up no other.
func TestAddMany(t *testing.T) {
	b, _ := open(t)
	var all []event.Emission
	for i := range 20 {
		ref := rouse.Ref{Namespace: "default", Name: fmt.Sprint("t", i)}
		all = append(all, event.Emission{Trigger: ref, Events: []rouse.Event{{ID: "one"}, {ID: "one"}, {ID: "two"}}, State: fmt.Append(nil, i)})
	}
	all[3].Events[1].Data = make([]byte, MaxData+1)
	all[4].Trigger.Namespace = "other"
	all[5].Events = nil
	for range 2 { // the second time there is nothing new
		for i, err := range b.AddMany(t.Context(), all) {
			if i == 3 && rouse.KindOf(err) != rouse.TooLarge || i != 3 && err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
	}
	got := map[string]int{}
	for _, e := range allOf(t, b, "default", "other") {
		got[e.Key+"/"+e.Event.ID]++
	}
	for i, m := range all {
		want := 1
		if i == 3 || i == 5 {
			want = 0
		}
		for _, id := range []string{"one", "two"} {
			if n := got[m.Trigger.Name+"/"+id]; n != want {
				t.Errorf("%s of %s is there %d times, want %d", id, m.Trigger.Name, n, want)
			}
		}
		state, err := b.State(t.Context(), m.Trigger)
		if i == 3 && state != nil || i != 3 && string(state) != fmt.Sprint(i) || err != nil {
			t.Errorf("the state of %s is %q %v", m.Trigger.Name, state, err)
		}
		if found, err := b.Find(t.Context(), m.Trigger.Namespace, "two"); err != nil || found.ID != "two" {
			t.Errorf("%v %v", found, err)
		}
	}
	if errs := b.AddMany(t.Context(), nil); len(errs) != 0 {
		t.Errorf("%v", errs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i, err := range b.AddMany(ctx, all) {
		if i != 3 && !errors.Is(err, context.Canceled) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func allOf(t *testing.T, b *Inbox, namespaces ...rouse.Namespace) (es []data.Entry) {
	for _, ns := range namespaces {
		es = append(es, all(t, b, ns)...)
	}
	return es
}
