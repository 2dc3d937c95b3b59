package rule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

// put appends a record to a stream.
func (w *world) put(stream string, body []byte) {
	w.t.Helper()
	if _, err := w.Data.Streams.Append(w.t.Context(), ref(stream), []data.Record{{Key: "k", Data: body}}); err != nil {
		w.t.Fatal(err)
	}
}

// queue makes a queue.
func (w *world) queue(name string) {
	w.t.Helper()
	if _, err := w.queues.Create(w.t.Context(), data.DefaultQueue(ref(name))); err != nil {
		w.t.Fatal(err)
	}
}

// inQueue waits for n messages of a queue, and returns them.
func (w *world) inQueue(name string, n int) (bodies [][]byte) {
	w.t.Helper()
	for len(bodies) < n {
		ds, err := w.queues.Receive(w.t.Context(), data.Receive{Queue: ref(name), Max: n, Wait: longPoll})
		if err != nil || len(ds) == 0 {
			w.t.Fatalf("%d messages came, not %d: %v", len(bodies), n, err)
		}
		for _, d := range ds {
			bodies = append(bodies, d.Body)
		}
	}
	return bodies
}

// A target that can't be told what became of an event is told later: the function
// does not run again for that, and what comes after the event does not wait.
func TestWhoIsToldLater(t *testing.T) {
	for _, fails := range []bool{false, true} {
		for _, kind := range []string{"stream", "trigger"} {
			t.Run(fmt.Sprintf("%s, fails %v", kind, fails), func(t *testing.T) {
				w := newWorld(t)
				var calls atomic.Int64
				told := make(chan string, 10)
				hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					b, _ := io.ReadAll(r.Body)
					if calls.Add(1) <= 4 { // each twice
						rw.WriteHeader(http.StatusInternalServerError)
						return
					}
					told <- string(b)
				}))
				defer hook.Close()
				w.does(func(rouse.Invocation) error {
					if fails {
						return fmt.Errorf("no luck")
					}
					return nil
				})
				r := event.Rule{Ref: ref("r"), On: event.On{Stream: "s"}, To: event.Target{Function: "f"}, Retry: event.Retry{Retry: rouse.Retry{Attempts: 3}}}
				to := &event.Target{Webhook: hook.URL}
				r.Success, r.Failure = to, to
				runs := 2
				if fails {
					runs = 2 * 3
				}
				if kind == "trigger" {
					r.On = event.On{Trigger: "red"}
					w.button("red")
					w.rule(r)
					w.press("red", `{"n": 0}`, `{"n": 1}`)
				} else {
					w.stream("s", 1)
					w.rule(r)
					w.append("s", 0, 2)
				}
				for range 2 {
					if got := <-told; !strings.Contains(got, "rule.outcome") {
						t.Errorf("told is %s", got)
					}
				}
				if ran := w.count(runs); len(ran) != runs {
					t.Errorf("it ran %d times, not %d", len(ran), runs)
				}
			})
		}
	}
}

// Who never can be told costs no more than a dead letter.
func TestWhoIsNeverTold(t *testing.T) {
	var back atomic.Bool
	told := make(chan struct{}, 10)
	gone := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !back.Load() {
			http.NotFound(rw, r)
			return
		}
		told <- struct{}{}
	}))
	defer gone.Close()
	w := newWorld(t)
	w.stream("s", 1)
	w.does(func(in rouse.Invocation) error {
		if strings.Contains(string(in.Event.Data), `{"n":1}`) {
			return fmt.Errorf("no luck")
		}
		return nil
	})
	to := event.Target{Webhook: gone.URL}
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Stream: "s"}, To: event.Target{Function: "f"}, Success: &to, DeadLetter: &to, Retry: event.Retry{Retry: rouse.Retry{Attempts: 2}}})
	w.append("s", 0, 3)
	dead := w.dead("r", 3)
	reasons := ""
	for _, d := range dead {
		reasons += d.Reason + "\n"
	}
	if strings.Count(reasons, "tell of the outcome: the webhook answered 404") != 2 || !strings.Contains(reasons, "failed: E: no luck; dead letter: the webhook answered 404") {
		t.Errorf("%s", reasons)
	}
	if ran := w.count(4); len(ran) != 4 {
		t.Errorf("it ran %d times", len(ran))
	}
	// Once they can be told they are, by a redrive, and again nothing runs for it.
	back.Store(true)
	if n, err := w.Redrive(t.Context(), ref("r"), nil); n != 3 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	for range 3 {
		<-told
	}
	if ran := w.count(4); len(ran) != 4 {
		t.Errorf("it ran %d times", len(ran))
	}
}

// What is too large to be told is cut, and what is too large to be a dead letter
// elsewhere is one of the rule's own: what comes after it goes on.
func TestWhatIsTooLargeToTell(t *testing.T) {
	w := newWorld(t)
	w.stream("s", 1)
	w.queue("told")
	w.queue("dead")
	w.does(func(in rouse.Invocation) error {
		switch data := string(in.Event.Data); {
		case strings.Contains(data, `{"n":0}`):
			return answer(`"` + strings.Repeat("x", 2<<20) + `"`)
		case strings.Contains(data, "data_base64"):
			return fmt.Errorf("no luck%s", strings.Repeat("!", 2<<20))
		}
		return nil
	})
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Stream: "s"}, To: event.Target{Function: "f"}, Success: &event.Target{Queue: "told"}, Failure: &event.Target{Queue: "told"},
		DeadLetter: &event.Target{Queue: "dead"}, Retry: event.Retry{Retry: rouse.Retry{Attempts: 1}}})
	w.append("s", 0, 1)
	w.put("s", bytes.Repeat([]byte{0xff}, 1_000_000)) // in base64 it is more than a message may be
	w.append("s", 1, 2)
	if ran := w.count(3); len(ran) != 3 {
		t.Errorf("it ran %d times", len(ran))
	}
	for i, body := range w.inQueue("told", 3) {
		var got struct {
			Data struct {
				Activation, Reason string
				Cut                bool
				Events             []struct{ ID string }
			}
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatal(err)
		}
		if got.Data.Cut != (i < 2) || got.Data.Activation == "" || len(got.Data.Events) != 1 || got.Data.Events[0].ID == "" || strings.Contains(got.Data.Reason, "no luck") != (i == 1) {
			t.Errorf("told is %.500s", body)
		}
	}
	if dead := w.dead("r", 1); !strings.Contains(dead[0].Reason, "; dead letter: ") || !strings.Contains(string(dead[0].Body), "data_base64") && len(dead[0].Body) < 1_000_000 {
		t.Errorf("given up is %.200s", dead[0].Reason)
	}
}

// Who says that something failed, but not by the ids of events, is not taken to
// say that all went well.
func TestFailuresThatNameNoEvents(t *testing.T) {
	w := newWorld(t)
	w.stream("s", 1)
	says := make(chan string, 8)
	for _, s := range []string{`{"failures": [1]}`, `{"failures": "default/s/0/1"}`, `{"failures": [{"itemIdentifier": "default/s/0/1"}]}`, `{"failures": 2}`, `{"failures": ["default/s/none/1"]}`,
		`{"failures": 0}`, `{"failures": null}`, `{"failures": []}`} {
		says <- s
	}
	w.does(func(rouse.Invocation) error { return answer(<-says) })
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Stream: "s"}, To: event.Target{Function: "f"}, Batch: &event.Batch{Size: 1}, Retry: event.Retry{Retry: rouse.Retry{Attempts: 3}}})
	w.append("s", 0, 4)
	if got, want := fields(t, w.count(8), "n"), []string{"0", "0", "0", "1", "1", "1", "2", "3"}; !slices.Equal(got, want) {
		t.Errorf("%v ran, not %v", got, want)
	}
	if dead := w.dead("r", 1); !strings.Contains(dead[0].Reason, `{"itemIdentifier": "default/s/0/1"}] failed; it must be a list of the ids of events`) {
		t.Errorf("%s", dead[0].Reason)
	}
}

// A batch that is too large for its target is divided until it fits.
func TestABatchThatIsTooLarge(t *testing.T) {
	for _, kind := range []string{"stream", "trigger"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			w.queue("q")
			r := event.Rule{Ref: ref("r"), On: event.On{Stream: "s"}, To: event.Target{Queue: "q"}, Batch: &event.Batch{Size: 20, Window: rouse.Duration(longPoll)}}
			text := `"` + strings.Repeat("x", 100_000) + `"`
			if kind == "trigger" {
				r.On = event.On{Trigger: "red"}
				w.button("red")
				w.rule(r)
				var all []string
				for range 20 {
					all = append(all, text)
				}
				w.press("red", all...)
			} else {
				w.stream("s", 1)
				w.rule(r)
				for range 20 {
					w.put("s", []byte(text))
				}
			}
			for n := 0; n < 20; {
				var events []json.RawMessage
				if err := json.Unmarshal(w.inQueue("q", 1)[0], &events); err != nil {
					t.Fatal(err)
				}
				n += len(events)
			}
			if s, err := w.Status(t.Context(), ref("r")); err != nil || s.Dead != 0 {
				t.Errorf("%+v %v", s, err)
			}
		})
	}
}
