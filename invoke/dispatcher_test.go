package invoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/ident"
	"github.com/rouse-run/rouse/queue"
	"github.com/rouse-run/rouse/store/sqlite"
)

// A world is a dispatcher over a real queue, with a registry and an invoker
// that do as the test says.
type world struct {
	rouse.Registry
	*Dispatcher
	stop func()

	mu   sync.Mutex
	f    rouse.Function
	gone bool
	do   func(rouse.Invocation) (rouse.Activation, error)
	ran  []rouse.Invocation
	news chan struct{}
}

// openQueue opens the queues in a folder, and says how to close them.
func openQueue(t *testing.T, dir string) (q rouse.Queue, done func()) {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := store.Keys(t.Context(), "queue")
	if err != nil {
		t.Fatal(err)
	}
	queues := queue.New(queue.Config{Keys: keys})
	return queues.Plain(), func() {
		if err := errors.Join(queues.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	}
}

func newWorld(t *testing.T, dir string, do func(rouse.Invocation) (rouse.Activation, error)) *world {
	t.Helper()
	return newWorldOf(t, dir, do, time.Minute) // longer than any test: only what is said to is run twice
}

// newWorldOf is newWorld with leases of a length.
func newWorldOf(t *testing.T, dir string, do func(rouse.Invocation) (rouse.Activation, error), lease time.Duration) *world {
	t.Helper()
	q, closeQueue := openQueue(t, dir)
	w := &world{do: do, news: make(chan struct{}, 1000),
		f: rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: "f"}, Version: 1, Retry: rouse.Retry{Attempts: 3, Backoff: rouse.Duration(time.Millisecond)}}}
	w.Dispatcher = NewDispatcher(DispatcherConfig{Queue: q, Registry: w, Invoker: w, Settle: func(context.Context) {}, Lease: lease,
		Poll: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Dispatcher.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		closeQueue()
	})
	t.Cleanup(w.stop)
	return w
}

func (w *world) Function(_ context.Context, r rouse.Ref, _ string) (rouse.Function, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone || r != w.f.Ref {
		return rouse.Function{}, rouse.Errorf(rouse.NotFound, "find", r.String(), "no such function")
	}
	return w.f, nil
}

func (w *world) Invoke(_ context.Context, in rouse.Invocation) (rouse.Activation, error) {
	w.mu.Lock()
	w.ran = append(w.ran, in)
	do := w.do
	w.mu.Unlock()
	defer func() { w.news <- struct{}{} }()
	return do(in)
}

// accept accepts invocations with numbers for payloads.
func (w *world) accept(t *testing.T, from, n int) []string {
	t.Helper()
	ins := make([]rouse.Invocation, n)
	for i := range ins {
		ins[i] = rouse.Invocation{Function: w.f.Ref, Event: rouse.Event{Data: fmt.Append(nil, from+i)}}
	}
	ids, err := w.Accept(t.Context(), ins)
	if err != nil || len(ids) != n {
		t.Fatalf("%v %v", ids, err)
	}
	return ids
}

// await waits for n runs.
func (w *world) await(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		select {
		case <-w.news:
		case <-time.After(time.Minute):
			t.Fatalf("%d of %d ran within a minute", i, n)
		}
	}
}

// settled waits until the queue holds no more than the dead.
func (w *world) settled(t *testing.T, dead int) []rouse.DeadLetter {
	t.Helper()
	for range 3000 {
		all, err := w.Queue.Stats(t.Context(), prefix)
		if err != nil {
			t.Fatal(err)
		}
		s := all[queueOf(w.f.Ref)]
		if s.Visible+s.Leased == 0 && s.Dead == int64(dead) {
			letters, err := w.DeadLetters(t.Context(), w.f.Ref, 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			return letters
		}
		time.Sleep(10 * time.Millisecond) // the queue gives no signal
	}
	t.Fatal("the queue did not settle within 30 s")
	return nil
}

func answered(rouse.Invocation) (rouse.Activation, error) {
	return rouse.Activation{Status: rouse.StatusAnswered}, nil
}

func failed(rouse.Invocation) (rouse.Activation, error) {
	return rouse.Activation{Status: rouse.StatusFailed, Failure: &rouse.Failure{Type: "E", Message: "no luck"}}, nil
}

func TestEachAcceptedInvocationRunsOnce(t *testing.T) {
	w := newWorld(t, t.TempDir(), answered)
	var want []string
	for i := range 10 {
		want = append(want, w.accept(t, i*50, 50)...)
	}
	w.await(t, 500)
	w.settled(t, 0)
	ran := map[string]bool{}
	for _, in := range w.ran {
		ran[in.ID] = true
		if in.Attempt != 1 {
			t.Errorf("attempt %d", in.Attempt)
		}
	}
	for _, id := range want {
		if !ran[id] {
			t.Errorf("%s did not run", id)
		}
	}
	if len(w.ran) != 500 {
		t.Errorf("%d runs", len(w.ran))
	}
}

func TestAFailureIsTriedAgainAndBuried(t *testing.T) {
	w := newWorld(t, t.TempDir(), failed)
	id := w.accept(t, 1, 1)[0]
	w.await(t, 3)
	dead := w.settled(t, 1)
	if dead[0].Count != 3 || dead[0].Reason != "failed: E: no luck" || !strings.Contains(string(dead[0].Body), id) {
		t.Errorf("%+v", dead[0])
	}
	for i, in := range w.ran {
		if in.ID != id || in.Attempt != i+1 {
			t.Errorf("run %d was %s, attempt %d", i, in.ID, in.Attempt)
		}
	}
	w.mu.Lock()
	w.do = answered
	w.mu.Unlock()
	if n, err := w.Redrive(t.Context(), w.f.Ref, nil); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	w.await(t, 1)
	w.settled(t, 0)
}

func TestWhatAKilledServerHadBegunRunsAgain(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir, answered)
	// Leased, and never settled: as by a server that was killed.
	body, err := json.Marshal(rouse.Invocation{ID: "x", Function: w.f.Ref})
	if err != nil {
		t.Fatal(err)
	}
	w.stop()
	q, closeQueue := openQueue(t, dir)
	if _, err := q.Send(t.Context(), queueOf(w.f.Ref), []rouse.Message{{Body: body}}); err != nil {
		t.Fatal(err)
	}
	if l, err := q.Receive(t.Context(), queueOf(w.f.Ref), 1, 200*time.Millisecond); len(l) != 1 || err != nil {
		t.Fatal(err)
	}
	closeQueue()
	again := newWorld(t, dir, answered)
	again.await(t, 1)
	again.settled(t, 0)
	if again.ran[0].ID != "x" || again.ran[0].Attempt != 2 {
		t.Errorf("%+v", again.ran[0])
	}
}

func TestALongRunKeepsItsLease(t *testing.T) {
	w := newWorldOf(t, t.TempDir(), func(rouse.Invocation) (rouse.Activation, error) {
		time.Sleep(4 * time.Second) // some leases
		return answered(rouse.Invocation{})
	}, 1500*time.Millisecond)
	w.accept(t, 1, 1)
	w.await(t, 1)
	w.settled(t, 0)
	if len(w.ran) != 1 {
		t.Errorf("it ran %d times", len(w.ran))
	}
}

func TestThrottledInvocationsWait(t *testing.T) {
	var mu sync.Mutex
	refusals := 5
	w := newWorld(t, t.TempDir(), func(rouse.Invocation) (rouse.Activation, error) {
		mu.Lock()
		defer mu.Unlock()
		if refusals > 0 {
			refusals--
			return rouse.Activation{}, rouse.Errorf(rouse.Throttled, "invoke", "f", "no room")
		}
		return rouse.Activation{Status: rouse.StatusAnswered}, nil
	})
	w.accept(t, 1, 1)
	w.await(t, 6)
	w.settled(t, 0)
}

// To have been turned away is no attempt.
func TestThrottledInvocationsAreTriedAsOftenAsOthers(t *testing.T) {
	var mu sync.Mutex
	calls, tries, last := 0, 0, rouse.Invocation{}
	w := newWorld(t, t.TempDir(), func(in rouse.Invocation) (rouse.Activation, error) {
		mu.Lock()
		defer mu.Unlock()
		last = in
		if calls++; calls%3 != 0 {
			return rouse.Activation{}, rouse.Errorf(rouse.Throttled, "invoke", "f", "no room")
		}
		tries++
		return failed(in)
	})
	w.accept(t, 1, 1)
	w.settled(t, 1)
	if tries != 3 || last.Attempt != 9 || last.Attempts != 9 {
		t.Errorf("its code was tried %d times; the last was attempt %d of %d", tries, last.Attempt, last.Attempts)
	}
	w.Dispatcher.mu.Lock()
	defer w.Dispatcher.mu.Unlock()
	if len(w.untried) != 0 {
		t.Errorf("kept %v", w.untried)
	}
}

func TestWhatCantBeRunIsBuried(t *testing.T) {
	w := newWorld(t, t.TempDir(), answered)
	q := queueOf(w.f.Ref)
	if _, err := w.Queue.Send(t.Context(), q, []rouse.Message{{Body: []byte("garbage")}}); err != nil {
		t.Fatal(err)
	}
	if dead := w.settled(t, 1); !strings.Contains(dead[0].Reason, "not an invocation") {
		t.Errorf("%+v", dead[0])
	}
	w.mu.Lock()
	w.do = func(rouse.Invocation) (rouse.Activation, error) {
		return rouse.Activation{}, rouse.Errorf(rouse.NotFound, "invoke", "default/f", "it was removed")
	}
	w.mu.Unlock()
	w.accept(t, 1, 1)
	if dead := w.settled(t, 2); !strings.Contains(dead[1].Reason, "it was removed") {
		t.Errorf("%+v", dead[1])
	}
}

func TestAcceptRefusesUnknownFunctions(t *testing.T) {
	w := newWorld(t, t.TempDir(), answered)
	_, err := w.Accept(t.Context(), []rouse.Invocation{{Function: w.f.Ref}, {Function: rouse.Ref{Namespace: "default", Name: "other"}}})
	if rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("%v", err)
	}
	w.settled(t, 0)
	if len(w.ran) != 0 {
		t.Errorf("%d ran of a batch that was refused", len(w.ran))
	}
}

func TestIDsSortByTimeAndAreUnique(t *testing.T) {
	seen := map[string]bool{}
	last := ""
	for range 10000 {
		id := ident.New()
		if len(id) != 32 || seen[id] || id[:12] < last[:min(12, len(last))] || id[12] != '7' {
			t.Fatalf("%s after %s", id, last)
		}
		seen[id], last = true, id
	}
}
