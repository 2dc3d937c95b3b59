package rule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

// come is a context of what came through so many activations.
func come(t *testing.T, hops int) context.Context {
	return event.WithCause(t.Context(), event.Cause{ID: "before", Hops: hops})
}

// status waits until a rule does as ok says.
func (w *world) status(name string, ok func(event.Status) bool) event.Status {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 25*time.Second)
	defer cancel()
	for {
		s, err := w.Status(w.t.Context(), ref(name))
		if err != nil {
			w.t.Fatal(err)
		}
		if ok(s) {
			return s
		}
		if ctx.Err() != nil {
			w.t.Fatalf("rule %s stays at %+v", name, s)
		}
	}
}

func (w *world) dead(name string, n int) []rouse.DeadLetter {
	w.t.Helper()
	w.status(name, func(s event.Status) bool { return s.Dead == int64(n) })
	ds, err := w.Dead(w.t.Context(), ref(name), 0, n+1)
	if err != nil || len(ds) != n {
		w.t.Fatalf("%d dead letters, %v", len(ds), err)
	}
	return ds
}

// An event that has come too far is parked, and the rule goes on with others. It
// is delivered again on demand, with hops that begin anew.
func TestTheFuseParksAnEvent(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	w.stream("s", 1)
	if _, err := w.queues.Create(t.Context(), data.DefaultQueue(ref("q"))); err != nil {
		t.Fatal(err)
	}
	batch := &event.Batch{Size: 10}
	for _, c := range []struct {
		name string
		on   event.On
		b    *event.Batch
		send func(ctx context.Context, text string) error
	}{
		{"trigger", event.On{Trigger: "red"}, nil, func(ctx context.Context, text string) error {
			return w.Emit(ctx, ref("red"), []rouse.Event{{Data: []byte(text)}}, nil)
		}},
		{"stream", event.On{Stream: "s"}, batch, func(ctx context.Context, text string) error {
			_, err := w.Data.Streams.Append(ctx, ref("s"), []data.Record{{Key: "k", Data: []byte(text)}})
			return err
		}},
		{"queue", event.On{Queue: "q"}, nil, func(ctx context.Context, text string) error {
			_, err := w.queues.Send(ctx, ref("q"), []data.Message{{Body: []byte(text)}})
			return err
		}},
	} {
		w.rule(event.Rule{Ref: ref(c.name), On: c.on, To: event.Target{Function: c.name}, Batch: c.b, DeadLetter: &event.Target{Function: "graveyard"}})
		ran := func(text string) func([]rouse.Invocation) bool {
			return func(all []rouse.Invocation) bool {
				return slices.ContainsFunc(all, func(in rouse.Invocation) bool {
					return in.Function.Name == c.name && strings.Contains(string(in.Event.Data), text)
				})
			}
		}
		for _, e := range []struct {
			hops int
			text string
		}{{15, `"near"`}, {16, `"far"`}, {40, `"farther"`}, {0, `"next"`}} {
			if err := c.send(come(t, e.hops), e.text); err != nil {
				t.Fatal(err)
			}
		}
		w.until(ran(`"near"`))
		all := w.until(ran(`"next"`))
		ds := w.dead(c.name, 2)
		if ran(`"far`)(all) || !strings.HasPrefix(ds[0].Reason, "fuse: it has come through") {
			t.Errorf("%s: %+v", c.name, ds)
		}
		if n, err := w.Redrive(t.Context(), ref(c.name), []int64{ds[0].ID}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		w.dead(c.name, 1)
		if n, err := w.Redrive(t.Context(), ref(c.name), nil); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		w.until(ran(`"far"`))
		for _, in := range w.until(ran(`"farther"`)) {
			if strings.Contains(string(in.Event.Data), `"far`) && in.Hops != 0 {
				t.Errorf("%s: %d hops", c.name, in.Hops)
			}
		}
		if s := w.status(c.name, func(s event.Status) bool { return s.Dead == 0 }); s.Paused != "" {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
}

// A rule of which too many are parked is paused; who resumes it has seen them.
func TestTheFusePausesARule(t *testing.T) {
	w := newWorld(t)
	w.stop()
	w.maxParked = 5
	w.start()
	w.button("red")
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, To: event.Target{Function: "f"}})
	far := func(n int) {
		t.Helper()
		for i := range n {
			if err := w.Emit(come(t, 16), ref("red"), []rouse.Event{{Data: fmt.Appendf(nil, `{"far": %d}`, i)}}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	far(5)
	w.dead("r", 5)
	w.press("red", `{"n": 1}`)
	w.count(1)
	w.stop()
	w.start() // it counts them again
	far(1)
	paused := w.status("r", func(s event.Status) bool { return s.Paused != "" })
	if !strings.Contains(paused.Paused, "more than 5 of its events have come through 16 activations") {
		t.Errorf("%+v", paused)
	}
	w.press("red", `{"n": 2}`)
	if err := w.Resume(t.Context(), ref("r")); err != nil {
		t.Fatal(err)
	}
	w.count(2)
	far(2)
	w.press("red", `{"n": 3}`)
	w.count(3)
	w.status("r", func(s event.Status) bool { return s.Dead == 8 && s.Paused == "" })
}

// What time an event is said to be of, and what its rule was through, is nothing
// to the fuse: too far is too far.
func TestNothingKeepsTheFuseFromParking(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, To: event.Target{Function: "f"}})
	far := func(at time.Time) {
		t.Helper()
		if err := w.Emit(come(t, 16), ref("red"), []rouse.Event{{Time: at, Data: []byte(`"far"`)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	dead := 0
	for _, at := range []time.Time{{}, time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)} {
		far(at)
		dead++
	}
	w.dead("r", dead)
	if err := w.Pause(t.Context(), ref("r"), ""); err != nil {
		t.Fatal(err)
	}
	far(time.Time{})
	w.press("red", `"near"`)
	w.status("r", func(s event.Status) bool { return s.Waiting == 2 })
	if err := w.Resume(t.Context(), ref("r")); err != nil {
		t.Fatal(err)
	}
	w.dead("r", dead+1)
	if ran := w.count(1); len(ran) != 1 || !strings.Contains(string(ran[0].Event.Data), `"near"`) {
		t.Errorf("%+v", ran)
	}
}

// What is given up, and what is parked, is seen while its rule is paused.
func TestDeadLettersOfARuleThatIsPaused(t *testing.T) {
	w := newWorld(t)
	w.stop()
	w.maxParked = 5
	w.start()
	w.stream("s", 1)
	w.stream("far", 1)
	begun, end := make(chan bool), make(chan bool)
	w.does(func(rouse.Invocation) error {
		begun <- true
		<-end
		return errors.New("no")
	})
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Stream: "s"}, To: event.Target{Function: "f"}, Retry: event.Retry{Retry: rouse.Retry{Attempts: 1}}})
	w.append("s", 0, 1)
	<-begun
	if err := w.Pause(t.Context(), ref("r"), "lunch"); err != nil {
		t.Fatal(err)
	}
	end <- true
	w.dead("r", 1)
	w.rule(event.Rule{Ref: ref("parks"), On: event.On{Stream: "far"}, To: event.Target{Function: "f"}, Batch: &event.Batch{Size: 100}})
	many := make([]data.Record, 100)
	for i := range many {
		many[i] = data.Record{Key: "k", Data: []byte("{}")}
	}
	if _, err := w.Data.Streams.Append(come(t, 16), ref("far"), many); err != nil {
		t.Fatal(err)
	}
	w.status("parks", func(s event.Status) bool { return s.Paused != "" })
	w.dead("parks", 100)
}

func TestABudget(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, To: event.Target{Function: "f"}, Budget: 3})
	w.press("red", `{"n": 1}`, `{"n": 2}`, `{"n": 3}`)
	w.count(3)
	w.press("red", `{"n": 4}`) // beyond three GB-seconds
	w.status("r", func(s event.Status) bool { return strings.Contains(s.Paused, "GB-seconds") })
	if err := w.Resume(t.Context(), ref("r")); err != nil {
		t.Fatal(err)
	}
	w.count(4)
}

// Nothing of a rule is left for one of its name: no pause, no event that waits,
// and no dead letter.
func TestWhatWaitsForARuleGoesWithIt(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	set := func() {
		w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, To: event.Target{Function: "f"}, Retry: event.Retry{Retry: rouse.Retry{Attempts: 1}}})
	}
	set()
	w.does(func(rouse.Invocation) error { return errors.New("no") })
	w.press("red", `{"n": 1}`)
	w.dead("r", 1)
	if err := w.Emit(come(t, 16), ref("red"), []rouse.Event{{}}, nil); err != nil {
		t.Fatal(err)
	}
	w.dead("r", 2)
	if err := w.Pause(t.Context(), ref("r"), "lunch"); err != nil {
		t.Fatal(err)
	}
	w.press("red", `{"n": 2}`, `{"n": 3}`)
	w.status("r", func(s event.Status) bool { return s.Waiting == 2 })
	if err := w.RemoveRule(t.Context(), ref("r")); err != nil {
		t.Fatal(err)
	}
	if err := w.RemoveTrigger(t.Context(), ref("red")); err != nil {
		t.Fatal(err)
	}
	w.button("red")
	set()
	if s, err := w.Status(t.Context(), ref("r")); err != nil || s != (event.Status{}) {
		t.Errorf("%+v %v", s, err)
	}
	w.does(nil)
	w.press("red", `{"n": 4}`)
	if ran := w.count(2); len(ran) != 2 || !strings.Contains(string(ran[1].Event.Data), `"n":4`) {
		t.Errorf("%+v", ran)
	}
}

// Where a function says which of a batch failed, that alone is given up.
func TestAPartialFailureOfAStream(t *testing.T) {
	for _, bisect := range []bool{false, true} {
		w := newWorld(t)
		w.stream("s", 1)
		w.stream("dead", 1)
		w.append("s", 0, 5)
		w.does(func(in rouse.Invocation) error {
			var es []struct {
				ID   string
				Data struct{ N int }
			}
			if err := json.Unmarshal(in.Event.Data, &es); err != nil {
				return nil // of the dead letters
			}
			for _, e := range es {
				if e.Data.N == 2 {
					return answer(fmt.Sprintf(`{"failures": [%q]}`, e.ID))
				}
			}
			return nil
		})
		w.rule(event.Rule{Ref: ref("r"), On: event.On{Stream: "s"}, To: event.Target{Function: "f"}, From: "oldest", Batch: &event.Batch{Size: 5, Bisect: bisect},
			DeadLetter: &event.Target{Stream: "dead"}, Retry: event.Retry{Retry: rouse.Retry{Attempts: 2}}})
		w.until(func(ran []rouse.Invocation) bool { // that of 3 and 4 alone
			return len(ran) > 0 && !strings.Contains(string(ran[len(ran)-1].Event.Data), `"n":2`) && strings.Contains(string(ran[len(ran)-1].Event.Data), `"n":4`)
		})
		shards, err := w.Data.Streams.Shards(t.Context(), ref("dead"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := w.Data.Streams.Read(t.Context(), data.FeedQuery{Ref: ref("dead"), Shard: shards[0].ID})
		if err != nil || len(b.Entries) != 1 || !strings.Contains(string(b.Entries[0].Event.Data), `"n":2`) {
			t.Errorf("%+v %v", b.Entries, err)
		}
		w.stop()
	}
}
