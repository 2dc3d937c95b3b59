package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/queue"
	"github.com/rouse-run/rouse/store/sqlite"
)

func TestBackoffDoublesAndIsBounded(t *testing.T) {
	for attempt := 1; attempt < 60; attempt++ {
		d := Backoff(rouse.Duration(time.Second), attempt)
		most := min(time.Second<<min(attempt-1, 20), maxBackoff)
		if d < most/2 || d > most {
			t.Errorf("attempt %d waits %v, not %v to %v", attempt, d, most/2, most)
		}
	}
	if d := Backoff(0, 5); d != 0 {
		t.Errorf("no back-off is %v", d)
	}
}

// serve runs a Dispatcher over a real queue until the test ends.
func serve(t *testing.T, lane Lane, handle func([]rouse.Lease) []Outcome) *Dispatcher {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := store.Keys(t.Context(), "queue")
	if err != nil {
		t.Fatal(err)
	}
	queues := queue.New(queue.Config{Keys: keys})
	d := New(Config{Queue: queues.Plain(), Prefix: "q:", Log: slog.New(slog.DiscardHandler), Poll: 50 * time.Millisecond,
		Lane:   func(context.Context, string) Lane { return lane },
		Handle: func(_ context.Context, _ string, ls []rouse.Lease) []Outcome { return handle(ls) }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := errors.Join(queues.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *Dispatcher) send(t *testing.T, from, n int) {
	t.Helper()
	ms := make([]rouse.Message, n)
	for i := range ms {
		ms[i].Body = fmt.Append(nil, from+i)
	}
	if _, err := d.Queue.Send(t.Context(), "q:a", ms); err != nil {
		t.Fatal(err)
	}
	d.Serve("q:a")
}

// A batch is as many messages as are there, up to its size, and one that is not
// full waits for its window to end or to be filled.
func TestBatches(t *testing.T) {
	got := make(chan []string, 100)
	d := serve(t, Lane{Parallel: 1, Batch: 4, Window: time.Hour}, func(ls []rouse.Lease) []Outcome {
		var bodies []string
		for _, l := range ls {
			bodies = append(bodies, string(l.Body))
		}
		got <- bodies
		return make([]Outcome, len(ls))
	})
	d.Lease = time.Hour
	d.send(t, 0, 6)
	if b := <-got; !slices.Equal(b, []string{"0", "1", "2", "3"}) {
		t.Errorf("the first batch is %v", b)
	}
	d.send(t, 6, 2) // 4 and 5 have waited for these
	if b := <-got; !slices.Equal(b, []string{"4", "5", "6", "7"}) {
		t.Errorf("the second batch is %v", b)
	}
}

// Each message of a batch has its own outcome.
func TestOutcomes(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	d := serve(t, Lane{Parallel: 2, Batch: 10}, func(ls []rouse.Lease) []Outcome {
		out := make([]Outcome, len(ls))
		mu.Lock()
		defer mu.Unlock()
		for i, l := range ls {
			seen[string(l.Body)]++
			switch {
			case string(l.Body) == "1":
				out[i].Bury = "it is the one"
			case string(l.Body) == "2" && l.Count < 3:
				out[i].Again = true
			}
		}
		return out
	})
	d.send(t, 0, 5)
	for {
		all, err := d.Queue.Stats(t.Context(), "q:")
		if err != nil {
			t.Fatal(err)
		}
		if s := all["q:a"]; s.Visible+s.Leased == 0 && s.Dead == 1 {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("it did not settle")
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for body, want := range map[string]int{"0": 1, "1": 1, "2": 3, "3": 1, "4": 1} {
		if seen[body] != want {
			t.Errorf("message %s was handled %d times, not %d", body, seen[body], want)
		}
	}
	dead, err := d.Queue.Dead(t.Context(), "q:a", 0, 10)
	if err != nil || len(dead) != 1 || string(dead[0].Body) != "1" || dead[0].Reason != "it is the one" {
		t.Errorf("%v %v", dead, err)
	}
}

// A lane of no calls leaves messages where they are, until it is asked again.
func TestAPausedLane(t *testing.T) {
	lane := Lane{}
	handled := make(chan struct{}, 10)
	asked := make(chan struct{}, 10)
	d := serve(t, lane, func(ls []rouse.Lease) []Outcome {
		handled <- struct{}{}
		return make([]Outcome, len(ls))
	})
	var mu sync.Mutex
	d.Lane = func(context.Context, string) Lane {
		mu.Lock()
		defer mu.Unlock()
		asked <- struct{}{}
		return lane
	}
	d.send(t, 0, 1)
	<-asked
	mu.Lock()
	lane.Parallel = 1
	mu.Unlock()
	if len(handled) > 0 {
		t.Error("a paused lane handled a message")
	}
	d.Serve("q:a")
	<-handled
}
