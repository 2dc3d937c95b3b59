package rule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

// anHour is what events live for in these tests.
var anHour = event.Retry{Retry: rouse.Retry{Attempts: 1}, Age: rouse.Duration(time.Hour)}

// of returns what came to a function, as one text.
func of(ran []rouse.Invocation, function string) string {
	var all strings.Builder
	for _, in := range ran {
		if in.Function.Name == function {
			all.Write(in.Event.Data)
		}
	}
	return all.String()
}

// The age of an event begins when it came in, whatever its sender says.
func TestASenderDoesNotSayHowOldAnEventIs(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, To: event.Target{Function: "f"}, Batch: &event.Batch{Size: 10}, Retry: anHour})
	for _, at := range []time.Time{time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), {}, time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if err := w.Emit(t.Context(), ref("red"), []rouse.Event{{Time: at, Data: fmt.Appendf(nil, `"of %d"`, at.Year())}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	w.until(func(ran []rouse.Invocation) bool {
		said := of(ran, "f")
		return strings.Contains(said, "of 2020") && strings.Contains(said, "of 1") && strings.Contains(said, "of 2099")
	})
	w.status("r", func(s event.Status) bool { return s.Dead == 0 })
}

// An old event is given up by itself: those that came after it are tried.
func TestAnOldEventIsGivenUpAlone(t *testing.T) {
	w, shift := newShifted(t)
	w.button("red")
	for _, name := range []string{"q", "fifo"} {
		q := data.DefaultQueue(ref(name))
		q.Fifo = name == "fifo"
		if _, err := w.queues.Create(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	press := func(text string) error {
		// Said to be of the far future: by its sender it would never be old.
		return w.Emit(t.Context(), ref("red"), []rouse.Event{{Time: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), Data: []byte(text)}}, nil)
	}
	send := func(queue string) func(string) error {
		return func(text string) error {
			_, err := w.queues.Send(t.Context(), ref(queue), []data.Message{{Body: []byte(text), Group: "g"}})
			return err
		}
	}
	for _, c := range []struct {
		name   string
		on     event.On
		bisect bool
		send   func(text string) error
	}{
		{"trigger", event.On{Trigger: "red"}, false, press},
		{"halves", event.On{Trigger: "red"}, true, press},
		{"queue", event.On{Queue: "q"}, false, send("q")},
		{"groups", event.On{Queue: "fifo"}, false, send("fifo")},
	} {
		w.rule(event.Rule{Ref: ref(c.name), On: c.on, To: event.Target{Function: c.name}, Batch: &event.Batch{Size: 10, Bisect: c.bisect},
			DeadLetter: &event.Target{Function: c.name + "-dead"}, Retry: anHour})
		if err := w.Pause(t.Context(), ref(c.name), ""); err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			if err := c.send(fmt.Sprintf(`"no %d"`, i)); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				w.status(c.name, func(s event.Status) bool { return s.Waiting == 1 })
				shift.Add(int64(2 * time.Hour))
			}
		}
		w.status(c.name, func(s event.Status) bool { return s.Waiting == 4 })
		if err := w.Resume(t.Context(), ref(c.name)); err != nil {
			t.Fatal(err)
		}
		ran := w.until(func(ran []rouse.Invocation) bool {
			return strings.Contains(of(ran, c.name), "no 3") && of(ran, c.name+"-dead") != ""
		})
		alive, dead := of(ran, c.name), of(ran, c.name+"-dead")
		if strings.Contains(alive, "no 0") || !strings.Contains(alive, "no 1") || !strings.Contains(alive, "no 2") {
			t.Errorf("%s: delivered %s", c.name, alive)
		}
		if !strings.Contains(dead, "no 0") || strings.Count(dead, "no ") != 1 {
			t.Errorf("%s: given up %s", c.name, dead)
		}
		if err := w.RemoveRule(t.Context(), ref(c.name)); err != nil {
			t.Fatal(err)
		}
	}
}

// Who sends a dead letter back, or has an event replayed, wants it delivered,
// however long ago it came in.
func TestWhatIsWantedOnceMoreIsNotOld(t *testing.T) {
	w, shift := newShifted(t)
	w.button("red")
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, To: event.Target{Function: "f"}, Retry: anHour})
	if err := w.Pause(t.Context(), ref("r"), ""); err != nil {
		t.Fatal(err)
	}
	w.press("red", `"near"`)
	if err := w.Emit(come(t, 16), ref("red"), []rouse.Event{{Data: []byte(`"far"`)}}, nil); err != nil {
		t.Fatal(err)
	}
	w.status("r", func(s event.Status) bool { return s.Waiting == 2 })
	shift.Add(int64(2 * time.Hour))
	if err := w.Resume(t.Context(), ref("r")); err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, d := range w.dead("r", 2) {
		reasons = append(reasons, d.Reason[:8])
	}
	slices.Sort(reasons)
	if fmt.Sprint(reasons) != "[fuse: it it is ol]" {
		t.Errorf("%q", reasons)
	}
	shift.Add(int64(2 * time.Hour))
	if n, err := w.Redrive(t.Context(), ref("r"), nil); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	w.count(2)
	w.status("r", func(s event.Status) bool { return s.Waiting == 0 }) // or the jump of the clock ends its lease
	shift.Add(int64(2 * time.Hour))
	if n, err := w.Replay(t.Context(), event.Replay{Rule: ref("r"), Since: w.now().Add(-24 * time.Hour), Rate: 1000}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	w.status("r", func(s event.Status) bool { return s.Waiting == 0 })
	said := of(w.until(func(ran []rouse.Invocation) bool { return len(ran) == 3 }), "f")
	if strings.Count(said, `"near"`) != 2 {
		t.Errorf("%s", said)
	}
	w.dead("r", 1) // what was replayed has come as far as it had
}
