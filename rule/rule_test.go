package rule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/meta"
	"github.com/rouse-run/rouse/queue"
	"github.com/rouse-run/rouse/rule/inbox"
	"github.com/rouse-run/rouse/store/sqlite"
	"github.com/rouse-run/rouse/stream"
)

// A world is an engine over real stores and streams, with functions that do as
// the test says.
type world struct {
	*Engine
	rouse.Registry
	t    *testing.T
	dir  string
	stop func()

	sources []event.Source
	now     func() time.Time // nil is time.Now
	poll    time.Duration
	queues  *queue.Queues

	maxParked int

	mu   sync.Mutex
	do   func(rouse.Invocation) error
	ran  []rouse.Invocation
	news chan struct{}
}

// A drawer is a source that keeps things of its triggers.
type drawer struct {
	button
	forgotten chan rouse.Ref
}

func (drawer) Kind() string { return "drawer" }

func (d drawer) Forget(r rouse.Ref) error { d.forgotten <- r; return nil }

// What a source keeps of a trigger goes with it, and where it becomes one of
// another kind.
func TestWhatIsKeptOfATriggerGoesWithIt(t *testing.T) {
	d := drawer{forgotten: make(chan rouse.Ref, 10)}
	w := newWorld(t, d)
	for _, c := range []struct {
		kind, config string
		forgotten    int
	}{{"drawer", "1", 0}, {"drawer", "2", 0}, {"button", "2", 1}, {"drawer", "2", 1}} {
		if _, err := w.SetTrigger(t.Context(), event.Trigger{Ref: ref("t"), Kind: c.kind, Config: json.RawMessage(c.config)}); err != nil {
			t.Fatal(err)
		}
		if n := len(d.forgotten); n != c.forgotten {
			t.Errorf("%s %s: %d were forgotten, want %d", c.kind, c.config, n, c.forgotten)
		}
	}
	if err := w.RemoveTrigger(t.Context(), ref("t")); err != nil || len(d.forgotten) != 2 {
		t.Errorf("%v, %d were forgotten", err, len(d.forgotten))
	}
}

// Other notes are stored, and the trigger goes on.
func TestNotesOfATrigger(t *testing.T) {
	w := newWorld(t)
	set := func(notes rouse.Notes) event.Trigger {
		t.Helper()
		got, err := w.SetTrigger(t.Context(), event.Trigger{Ref: ref("t"), Kind: "button", Config: json.RawMessage("1"), Notes: notes})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := set(nil)
	for _, note := range []string{"1", "2", "2"} {
		got := set(rouse.Notes{"x": json.RawMessage(note)})
		if string(got.Notes["x"]) != note || !got.Created.Equal(first.Created) {
			t.Errorf("%s: %+v", note, got)
		}
		if got, err := w.Trigger(t.Context(), ref("t")); err != nil || string(got.Notes["x"]) != note {
			t.Errorf("%s: %+v %v", note, got, err)
		}
	}
	if err := w.RemoveTrigger(t.Context(), ref("t")); err != nil {
		t.Error(err)
	}
}

// A button is a source whose triggers do nothing by themselves.
type button struct{}

func (button) Kind() string { return "button" }

func (button) Check(c json.RawMessage) (json.RawMessage, error) {
	if string(c) == `"bad"` {
		return nil, rouse.Errorf(rouse.Invalid, "check", "color", "there is no such color")
	}
	return c, nil
}

func (button) Start(event.Trigger) (func(), error) { return func() {}, nil }

const ns = rouse.DefaultNamespace

func ref(name string) rouse.Ref { return rouse.Ref{Namespace: ns, Name: name} }

func newWorld(t *testing.T, sources ...event.Source) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), news: make(chan struct{}, 1), sources: append(sources, button{}), poll: 100 * time.Millisecond}
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

// newShifted is newWorld with a clock on the wall that is put forward by what the
// test says.
func newShifted(t *testing.T) (*world, *atomic.Int64) {
	t.Helper()
	w, shift := newWorld(t), &atomic.Int64{}
	w.stop()
	w.now = func() time.Time { return time.Now().Add(time.Duration(shift.Load())).Round(0) }
	w.start()
	return w, shift
}

// start opens what is in the folder and runs it.
func (w *world) start() {
	t := w.t
	t.Helper()
	store, err := sqlite.Open(context.Background(), sqlite.Config{Dir: w.dir})
	if err != nil {
		t.Fatal(err)
	}
	keys := func(name string) rouse.Keys {
		k, err := store.Keys(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	streams := stream.New(stream.Config{Keys: keys("stream")})
	queues := queue.New(queue.Config{Keys: keys("queue"), Now: w.now})
	e := New(Config{Meta: meta.New(keys("meta")), Keys: keys("rule"), Queue: queues.Plain(), SendAll: queues.SendAll, DeleteAll: queues.DeleteAll, Purge: queues.PurgePlain, MaxParked: w.maxParked, Inbox: inbox.New(inbox.Config{Keys: keys("event"), Now: w.now}),
		Data: data.Services{Streams: streams, Queues: queues}, Take: queues.Take, Registry: w, Invoker: w, Poll: w.poll, Now: w.now, Log: slog.New(slog.NewTextHandler(logs{t}, nil))})
	e.Use(w.sources...)
	if err := e.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.Engine, w.queues = e, queues
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := errors.Join(streams.Close(), queues.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
}

type logs struct{ t *testing.T }

func (l logs) Write(b []byte) (int, error) { l.t.Logf("%s", b); return len(b), nil }

func (w *world) Function(_ context.Context, r rouse.Ref, q string) (rouse.Function, error) {
	if strings.HasPrefix(r.Name, "no") {
		return rouse.Function{}, rouse.Errorf(rouse.NotFound, "find", r.String(), "no such function")
	}
	return rouse.Function{Ref: r, Version: 1}, nil
}

func (w *world) Invoke(_ context.Context, in rouse.Invocation) (rouse.Activation, error) {
	w.mu.Lock()
	do := w.do
	w.mu.Unlock()
	a := rouse.Activation{ID: "a" + in.Cause, Function: in.Function, Status: rouse.StatusAnswered, GBSeconds: 1, Hops: in.Hops, Result: []byte("null")}
	var err error
	if do != nil {
		err = do(in)
	}
	w.mu.Lock()
	w.ran = append(w.ran, in)
	w.mu.Unlock()
	signal(w.news)
	switch e := err.(type) {
	case answer:
		a.Result = []byte(e)
		err = nil
	case *rouse.Error:
	case error:
		a.Status, a.Failure = rouse.StatusFailed, &rouse.Failure{Type: "E", Message: e.Error()}
		err = nil
	}
	return a, err
}

// An answer is what a function returns.
type answer string

func (a answer) Error() string { return string(a) }

func (w *world) does(f func(rouse.Invocation) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.do = f
}

// until waits until ok says so of what ran.
func (w *world) until(ok func(ran []rouse.Invocation) bool) []rouse.Invocation {
	w.t.Helper()
	end := time.After(30 * time.Second)
	for {
		w.mu.Lock()
		ran := slices.Clone(w.ran)
		w.mu.Unlock()
		if ok(ran) {
			return ran
		}
		select {
		case <-w.news:
		case <-end:
			w.t.Fatalf("it did not come so far within 30 s; %d ran", len(ran))
		}
	}
}

// count waits for n runs.
func (w *world) count(n int) []rouse.Invocation {
	w.t.Helper()
	return w.until(func(ran []rouse.Invocation) bool { return len(ran) >= n })
}

func (w *world) button(name string) {
	w.t.Helper()
	if _, err := w.SetTrigger(w.t.Context(), event.Trigger{Ref: ref(name), Kind: "button", Config: json.RawMessage(`{}`)}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) rule(r event.Rule) event.Rule {
	w.t.Helper()
	r.Namespace = ns
	if r.Retry.Backoff == 0 {
		r.Retry.Backoff = rouse.Duration(time.Millisecond)
	}
	set, err := w.SetRule(w.t.Context(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return set
}

func (w *world) press(name string, datas ...string) {
	w.t.Helper()
	var es []rouse.Event
	for _, d := range datas {
		es = append(es, rouse.Event{Type: "pressed", Data: []byte(d)})
	}
	if err := w.Emit(w.t.Context(), ref(name), es, nil); err != nil {
		w.t.Fatal(err)
	}
}

// fields returns what a field of the data of each CloudEvent that ran was.
func fields(t *testing.T, ran []rouse.Invocation, name string) (out []string) {
	t.Helper()
	for _, in := range ran {
		var ces []struct{ Data map[string]any }
		b := in.Event.Data
		if b[0] != '[' {
			b = append(append([]byte("["), b...), ']')
		}
		if err := json.Unmarshal(b, &ces); err != nil {
			t.Fatalf("%s: %v", in.Event.Data, err)
		}
		for _, ce := range ces {
			out = append(out, fmt.Sprint(ce.Data[name]))
		}
	}
	return out
}

func TestARuleDeliversWhatMatches(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	w.button("blue")
	w.press("red", `{"n": "before"}`)
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, When: json.RawMessage(`{"n": [{"prefix": "a"}]}`), To: event.Target{Function: "f"}})
	w.press("blue", `{"n": "a0"}`)
	w.press("red", `{"n": "a1"}`, `{"n": "b1"}`, `{"n": "a2"}`)
	ran := w.count(2)
	got := fields(t, ran, "n")
	slices.Sort(got)
	if !slices.Equal(got, []string{"a1", "a2"}) {
		t.Errorf("%v", got)
	}
	for _, in := range ran {
		if in.Function != ref("f") || in.Rule != "r" || in.Hops != 0 || in.Attempt != 1 {
			t.Errorf("%+v", in)
		}
		if e, err := w.Find(t.Context(), ns, in.Cause); err != nil || e.Type != "pressed" {
			t.Errorf("the cause of %s is not found: %v %v", in.Cause, e, err)
		}
		var ce map[string]any
		if err := json.Unmarshal(in.Event.Data, &ce); err != nil || ce["specversion"] != "1.0" || ce["type"] != "pressed" || ce["source"] != "trigger:red" || ce["id"] != in.Cause {
			t.Errorf("%s", in.Event.Data)
		}
	}
}

func TestATemplateMakesTheInput(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, Input: json.RawMessage(`{"who": "${name}", "kind": "${@type}"}`), To: event.Target{Function: "f"}})
	w.press("red", `{"name": "ada"}`)
	if got := string(w.count(1)[0].Event.Data); got != `{"kind":"pressed","who":"ada"}` {
		t.Errorf("%s", got)
	}
}

// What came in is delivered after a restart, and what was delivered is not
// delivered again.
func TestARestart(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, To: event.Target{Function: "f"}})
	w.press("red", `{"n": 1}`)
	w.count(1)
	w.stop()
	w.start()
	w.press("red", `{"n": 2}`)
	w.count(2)
	w.stop()
	w.mu.Lock()
	ran := w.ran
	w.mu.Unlock()
	if got := fields(t, ran, "n"); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("%v", got)
	}
}

func TestRetriesAndTheDead(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	w.does(func(in rouse.Invocation) error {
		switch {
		case strings.Contains(string(in.Event.Data), "poison"):
			return fmt.Errorf("no luck")
		case strings.Contains(string(in.Event.Data), "second") && in.Attempt < 2:
			return fmt.Errorf("not yet")
		}
		return nil
	})
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, To: event.Target{Function: "f"}})
	w.press("red", `{"n": "poison"}`, `{"n": "second"}`, `{"n": "good"}`)
	w.count(3 + 2 + 1)
	var dead []rouse.DeadLetter
	for len(dead) == 0 && t.Context().Err() == nil {
		var err error
		if dead, err = w.Dead(t.Context(), ref("r"), 0, 10); err != nil {
			t.Fatal(err)
		}
	}
	if len(dead) != 1 || dead[0].Reason != "failed: E: no luck" || dead[0].Count != 3 {
		t.Errorf("%+v", dead)
	}
	if s, err := w.Status(t.Context(), ref("r")); err != nil || s.Dead != 1 {
		t.Errorf("%+v %v", s, err)
	}
	w.does(nil)
	if n, err := w.Redrive(t.Context(), ref("r"), nil); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if again := w.count(7)[6]; !strings.Contains(string(again.Event.Data), "poison") {
		t.Errorf("%s ran again", again.Event.Data)
	}
}

// What a rule in order gives up is among its dead letters, and what comes after
// it goes on.
func TestAPoisonedRecord(t *testing.T) {
	w := newWorld(t)
	w.stream("s", 1)
	w.does(func(in rouse.Invocation) error {
		if strings.Contains(string(in.Event.Data), `{"n":1}`) {
			return fmt.Errorf("no luck")
		}
		return nil
	})
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Stream: "s"}, To: event.Target{Function: "f"}, Retry: event.Retry{Retry: rouse.Retry{Attempts: 2}}})
	w.append("s", 0, 4)
	if got := fields(t, w.count(5), "n"); !slices.Equal(got, []string{"0", "1", "1", "2", "3"}) {
		t.Errorf("%v", got)
	}
	var dead []rouse.DeadLetter
	for len(dead) == 0 && t.Context().Err() == nil {
		var err error
		if dead, err = w.Dead(t.Context(), ref("r"), 0, 10); err != nil {
			t.Fatal(err)
		}
	}
	if len(dead) != 1 || dead[0].Reason != "failed: E: no luck" || !strings.Contains(string(dead[0].Body), "stream.record") {
		t.Errorf("%+v", dead)
	}
}

func (w *world) stream(name string, shards int) {
	w.t.Helper()
	if _, err := w.Data.Streams.Create(w.t.Context(), data.Stream{Ref: ref(name), Shards: shards}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) append(name string, from, to int) {
	w.t.Helper()
	var rs []data.Record
	for i := from; i < to; i++ {
		rs = append(rs, data.Record{Key: fmt.Sprint(i % 5), Data: fmt.Appendf(nil, `{"n": %d}`, i)})
	}
	if _, err := w.Data.Streams.Append(w.t.Context(), ref(name), rs); err != nil {
		w.t.Fatal(err)
	}
}

// first returns each of got where it came first.
func first(got []string) (out []string) {
	seen := map[string]bool{}
	for _, s := range got {
		if !seen[s] {
			seen[s], out = true, append(out, s)
		}
	}
	return out
}

// checkOrder reports whether the numbers of each key come in order, none missing.
func checkOrder(t *testing.T, got []string, n int) {
	t.Helper()
	last := map[int]int{}
	seen := 0
	for _, s := range got {
		var i int
		if _, err := fmt.Sscan(s, &i); err != nil {
			t.Fatal(err)
		}
		if before, ok := last[i%5]; ok && i != before+5 || !ok && i >= 5 {
			t.Errorf("%d came after %d", i, before)
		}
		last[i%5] = i
		seen++
	}
	if seen != n {
		t.Errorf("%d came, not %d", seen, n)
	}
}

func TestStreamsAreDeliveredInOrder(t *testing.T) {
	for _, c := range []struct {
		name string
		rule event.Rule
	}{
		{"one by one", event.Rule{}},
		{"batches", event.Rule{Batch: &event.Batch{Size: 7}}},
		{"batches by key", event.Rule{Batch: &event.Batch{Size: 7}, Parallel: 4}},
		{"a window", event.Rule{Batch: &event.Batch{Size: 1000, Window: rouse.Duration(20 * time.Millisecond)}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.stream("s", 3)
			w.append("s", 1000, 1010) // before the rule
			c.rule.Ref, c.rule.On, c.rule.To = ref("r"), event.On{Stream: "s"}, event.Target{Function: "f"}
			w.rule(c.rule)
			for i := range 20 {
				w.append("s", i*10, i*10+10)
				if i == 10 {
					w.stop()
					w.start()
				}
			}
			ran := w.until(func(ran []rouse.Invocation) bool {
				return len(first(fields(t, ran, "n"))) == 200
			})
			got := fields(t, ran, "n")
			if c.rule.Parallel > 1 { // lanes that were further have some again after a restart
				got = first(got)
			}
			checkOrder(t, got, 200)
			for _, in := range ran {
				if c.rule.Batch == nil && in.Event.Data[0] != '{' || c.rule.Batch != nil && in.Event.Data[0] != '[' {
					t.Errorf("%s", in.Event.Data)
				}
			}
		})
	}
}

// A rule made later may begin with the oldest; a slow one holds up no other;
// both have everything in order in the end.
func TestRulesGoAtTheirOwnPace(t *testing.T) {
	w := newWorld(t)
	w.stream("s", 1)
	gate := make(chan struct{})
	w.does(func(in rouse.Invocation) error {
		if in.Rule == "slow" {
			<-gate
		}
		return nil
	})
	w.rule(event.Rule{Ref: ref("slow"), On: event.On{Stream: "s"}, To: event.Target{Function: "f"}, Batch: &event.Batch{Size: 500}})
	w.rule(event.Rule{Ref: ref("fast"), On: event.On{Stream: "s"}, To: event.Target{Function: "f"}, Batch: &event.Batch{Size: 500}})
	const n = 3 * maxHeld
	for i := 0; i < n; i += 500 {
		w.append("s", i, i+500)
	}
	of := func(ran []rouse.Invocation, rule string) []string {
		return fields(t, slices.DeleteFunc(slices.Clone(ran), func(in rouse.Invocation) bool { return in.Rule != rule }), "n")
	}
	w.until(func(ran []rouse.Invocation) bool { return len(of(ran, "fast")) == n })
	w.rule(event.Rule{Ref: ref("late"), On: event.On{Stream: "s"}, From: "oldest", To: event.Target{Function: "f"}, Batch: &event.Batch{Size: 500}})
	w.until(func(ran []rouse.Invocation) bool { return len(of(ran, "late")) == n })
	close(gate)
	w.until(func(ran []rouse.Invocation) bool { return len(of(ran, "slow")) == n })
	w.append("s", n, n+10)
	ran := w.until(func(ran []rouse.Invocation) bool {
		return len(of(ran, "slow")) == n+10 && len(of(ran, "fast")) == n+10 && len(of(ran, "late")) == n+10
	})
	for _, r := range []string{"slow", "fast", "late"} {
		checkOrder(t, of(ran, r), n+10)
	}
}

func TestABatchIsBisected(t *testing.T) {
	w := newWorld(t)
	w.stream("s", 1)
	w.does(func(in rouse.Invocation) error {
		if strings.Contains(string(in.Event.Data), `{"n":13}`) {
			return fmt.Errorf("bad luck")
		}
		return nil
	})
	w.stream("lost", 1)
	w.append("s", 0, 20)
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Stream: "s"}, To: event.Target{Function: "f"}, Batch: &event.Batch{Size: 20, Bisect: true},
		Retry: event.Retry{Retry: rouse.Retry{Attempts: 1}}, DeadLetter: &event.Target{Stream: "lost"}, From: "oldest"})
	ran := w.until(func(ran []rouse.Invocation) bool {
		last := fields(t, ran[max(len(ran)-1, 0):], "n")
		return slices.Contains(last, "19") && len(last) <= 5
	})
	var good []string
	for _, in := range ran {
		if !strings.Contains(string(in.Event.Data), `"n":13}`) {
			good = append(good, fields(t, []rouse.Invocation{in}, "n")...)
		}
	}
	if len(good) != 19 || slices.Contains(good, "13") {
		t.Errorf("%v were delivered", good)
	}
	b, err := w.Data.Streams.Read(t.Context(), data.FeedQuery{Ref: ref("lost"), Shard: lostShard(w)})
	if err != nil || len(b.Entries) != 1 || !strings.Contains(string(b.Entries[0].Event.Data), `"n":13}`) {
		t.Errorf("%v, %v are lost", b, err)
	}
}

func lostShard(w *world) string {
	w.t.Helper()
	shards, err := w.Data.Streams.Shards(w.t.Context(), ref("lost"))
	if err != nil {
		w.t.Fatal(err)
	}
	return shards[0].ID
}

func TestPartialFailures(t *testing.T) {
	w := newWorld(t)
	w.stream("s", 1)
	var mu sync.Mutex
	tried := map[string]int{}
	w.does(func(in rouse.Invocation) error {
		var ces []struct {
			ID   string
			Data struct{ N int }
		}
		if err := json.Unmarshal(in.Event.Data, &ces); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		var failures []string
		for _, ce := range ces {
			tried[ce.ID]++
			if ce.Data.N == 6 && tried[ce.ID] == 1 {
				failures = append(failures, ce.ID)
			}
		}
		b, _ := json.Marshal(map[string]any{"failures": failures})
		return answer(b)
	})
	w.append("s", 0, 10)
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Stream: "s"}, From: "oldest", To: event.Target{Function: "f"}, Batch: &event.Batch{Size: 10}})
	got := fields(t, w.count(2), "n")
	if want := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "6", "7", "8", "9"}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestAChainOfFunctions(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	w.does(func(in rouse.Invocation) error {
		if in.Function.Name == "first" && strings.Contains(string(in.Event.Data), "bad") {
			return fmt.Errorf("it is bad")
		}
		return nil
	})
	// What the recorder does with what ran.
	record := func(in rouse.Invocation, s rouse.Status) {
		if err := w.Outcomes(t.Context(), []rouse.Activation{{ID: "a" + in.Cause, Function: in.Function, Status: s, Hops: in.Hops}}); err != nil {
			t.Error(err)
		}
	}
	w.rule(event.Rule{Ref: ref("1"), On: event.On{Trigger: "red"}, To: event.Target{Function: "first"}, Retry: event.Retry{Retry: rouse.Retry{Attempts: 1}}})
	w.rule(event.Rule{Ref: ref("2"), On: event.On{Function: "first", Outcome: "success"}, To: event.Target{Function: "second"}})
	w.rule(event.Rule{Ref: ref("3"), On: event.On{Function: "first", Outcome: "failure"}, To: event.Target{Function: "mourn"}})
	w.press("red", `{"n": "good"}`)
	first := w.count(1)[0]
	record(first, rouse.StatusAnswered)
	second := w.count(2)[1]
	if second.Function.Name != "second" || second.Cause != "a"+first.Cause || second.Hops != 1 {
		t.Errorf("%+v", second)
	}
	w.press("red", `{"n": "bad"}`)
	record(w.count(3)[2], rouse.StatusFailed)
	if third := w.count(4)[3]; third.Function.Name != "mourn" {
		t.Errorf("%+v", third)
	}
}

// A function is heard as long as a rule listens to it.
func TestHears(t *testing.T) {
	w := newWorld(t)
	hears := func(want ...string) {
		t.Helper()
		for _, name := range []string{"f", "g", "h"} {
			if is := w.Hears(ref(name)); is != slices.Contains(want, name) {
				t.Errorf("%s is heard: %v", name, is)
			}
		}
	}
	on := func(rule, function string) {
		w.rule(event.Rule{Ref: ref(rule), On: event.On{Function: function}, To: event.Target{Function: "other"}})
	}
	hears()
	on("1", "f")
	on("2", "f")
	on("3", "g")
	hears("f", "g")
	on("3", "h")
	hears("f", "h")
	for i, want := range [][]string{{"f", "h"}, {"h"}, {}} {
		if err := w.RemoveRule(t.Context(), ref([]string{"1", "2", "3"}[i])); err != nil {
			t.Fatal(err)
		}
		hears(want...)
	}
	on("4", "g")
	w.stop()
	w.start()
	hears("g")
}

func TestAPausedRuleOfAStreamGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t)
	w.stream("s", 1)
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Stream: "s"}, To: event.Target{Function: "f"}})
	w.append("s", 0, 5)
	w.count(5)
	if err := w.Pause(t.Context(), ref("r"), "lunch"); err != nil {
		t.Fatal(err)
	}
	w.append("s", 5, 10)
	w.stop()
	w.start()
	if s, err := w.Status(t.Context(), ref("r")); err != nil || s.Paused != "lunch" || s.Waiting != 5 {
		t.Errorf("%+v %v", s, err)
	}
	if err := w.Resume(t.Context(), ref("r")); err != nil {
		t.Fatal(err)
	}
	checkOrder(t, fields(t, w.count(10), "n"), 10)
}

func TestReplay(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, When: json.RawMessage(`{"n": [1, 2]}`), To: event.Target{Function: "f"}})
	w.press("red", `{"n": 1}`, `{"n": 2}`, `{"n": 3}`)
	w.count(2)
	n, err := w.Replay(t.Context(), event.Replay{Rule: ref("r"), Since: time.Now().Add(-time.Hour), Function: "other", Rate: 1000})
	if n != 2 || err != nil {
		t.Fatal(n, err)
	}
	for _, in := range w.count(4)[2:] {
		if !in.Replayed || in.Function.Name != "other" || !strings.Contains(string(in.Event.Data), `"rousereplayed":"true"`) {
			t.Errorf("%+v %s", in, in.Event.Data)
		}
	}
	if _, err := w.Replay(t.Context(), event.Replay{Rule: ref("r"), Since: time.Now(), Function: "nobody"}); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("%v", err)
	}
}

// What is replayed is what came in between two times, whatever times its senders
// say.
func TestReplayOfWhatSaysAnotherTime(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, To: event.Target{Function: "f"}})
	before := time.Now()
	for _, year := range []int{0, 2099} {
		if err := w.Emit(t.Context(), ref("red"), []rouse.Event{{Time: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	w.count(2)
	sum := 2
	for _, c := range []struct {
		since, until time.Time
		n            int
	}{
		{before, time.Time{}, 2}, {before, time.Now().Add(time.Hour), 2}, {before.Add(-time.Hour), before, 0}, {time.Now().Add(time.Second), time.Time{}, 0},
	} {
		if n, err := w.Replay(t.Context(), event.Replay{Rule: ref("r"), Since: c.since, Until: c.until, Rate: 1000}); n != c.n || err != nil {
			t.Errorf("from %v to %v: %d %v", c.since, c.until, n, err)
		}
		sum += c.n
		w.count(sum)
	}
}

func TestWhatIsNoRule(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	w.stream("s", 1)
	w.stream("t", 1)
	w.rule(event.Rule{Ref: ref("st"), On: event.On{Stream: "s"}, To: event.Target{Stream: "t"}})
	w.rule(event.Rule{Ref: ref("tf"), On: event.On{Stream: "t"}, To: event.Target{Function: "f"}})
	f := event.Target{Function: "f"}
	for name, c := range map[string]struct {
		rule event.Rule
		kind rouse.Kind
		says string
	}{
		"nothing":       {event.Rule{To: f}, rouse.Invalid, "on names 0"},
		"two":           {event.Rule{On: event.On{Trigger: "red", Stream: "s"}, To: f}, rouse.Invalid, "on names 2"},
		"no trigger":    {event.Rule{On: event.On{Trigger: "green"}, To: f}, rouse.NotFound, "on.default/green"},
		"no stream":     {event.Rule{On: event.On{Stream: "x"}, To: f}, rouse.NotFound, "on."},
		"no target":     {event.Rule{On: event.On{Trigger: "red"}}, rouse.Invalid, "to"},
		"no function":   {event.Rule{On: event.On{Trigger: "red"}, To: event.Target{Function: "nobody"}}, rouse.NotFound, "to."},
		"no URL":        {event.Rule{On: event.On{Trigger: "red"}, To: event.Target{Webhook: "ftp://x"}}, rouse.Invalid, "to.webhook"},
		"dead letter":   {event.Rule{On: event.On{Trigger: "red"}, To: f, DeadLetter: &event.Target{Stream: "x"}}, rouse.NotFound, "deadLetter."},
		"pattern":       {event.Rule{On: event.On{Trigger: "red"}, To: f, When: json.RawMessage(`{"a": []}`)}, rouse.Invalid, "when.a"},
		"template":      {event.Rule{On: event.On{Trigger: "red"}, To: f, Input: json.RawMessage(`{"a": "${"}`)}, rouse.Invalid, "input.a"},
		"outcome":       {event.Rule{On: event.On{Trigger: "red", Outcome: "success"}, To: f}, rouse.Invalid, "outcome"},
		"other outcome": {event.Rule{On: event.On{Function: "f", Outcome: "death"}, To: f}, rouse.Invalid, "outcome"},
		"parallel":      {event.Rule{On: event.On{Trigger: "red"}, To: f, Parallel: -1}, rouse.Invalid, "parallel"},
		"window":        {event.Rule{On: event.On{Trigger: "red"}, To: f, Batch: &event.Batch{Window: rouse.Duration(time.Hour)}}, rouse.Invalid, "batch.window"},
		"from":          {event.Rule{On: event.On{Trigger: "red"}, To: f, From: "yesterday"}, rouse.Invalid, "from"},
		"itself":        {event.Rule{On: event.On{Function: "f"}, To: f}, rouse.Conflict, "round for ever"},
		"a circle":      {event.Rule{On: event.On{Function: "f"}, To: event.Target{Stream: "s"}}, rouse.Conflict, "round for ever"},
		"a dead circle": {event.Rule{On: event.On{Function: "g"}, To: f, DeadLetter: &event.Target{Function: "g"}}, rouse.Conflict, "round for ever"},
	} {
		t.Run(name, func(t *testing.T) {
			c.rule.Ref = ref("x")
			_, err := w.SetRule(t.Context(), c.rule)
			if rouse.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("%v: %v", rouse.KindOf(err), err)
			}
		})
	}
	if _, err := w.Rule(t.Context(), ref("x")); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("one was stored: %v", err)
	}
	for config, says := range map[string]string{`"bad"`: "color"} {
		_, err := w.SetTrigger(t.Context(), event.Trigger{Ref: ref("x"), Kind: "button", Config: json.RawMessage(config)})
		if rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%v", err)
		}
	}
	if _, err := w.SetTrigger(t.Context(), event.Trigger{Ref: ref("x"), Kind: "lever"}); rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), "there are button") {
		t.Errorf("%v", err)
	}
	if err := w.RemoveTrigger(t.Context(), ref("red")); err != nil {
		t.Errorf("a trigger that no rule uses: %v", err)
	}
}

// A template hands on the numbers of an event digit by digit.
func TestNumbersStayWhole(t *testing.T) {
	w := newWorld(t)
	w.button("red")
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, To: event.Target{Function: "f"}, When: json.RawMessage(`{"n": [9007199254740993]}`),
		Input: json.RawMessage(`{"n": "${n}", "all": "${@data}", "text": "${n} ${l.0}"}`)})
	w.press("red", `{"n": 9007199254740992}`, `{"n": 9007199254740993, "l": [0.12345678901234567890123456789012345678]}`)
	ran := w.count(1)
	want := `{"all":{"l":[0.12345678901234567890123456789012345678],"n":9007199254740993},"n":9007199254740993,"text":"9007199254740993 0.12345678901234567890123456789012345678"}`
	if got := string(ran[0].Event.Data); got != want {
		t.Errorf("%s", got)
	}
}
