package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
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
func serve(t *testing.T, lane Lane, handle func([]rouse.Lease) []Outcome, change ...func(*Config)) *Dispatcher {
	t.Helper()
	return serveAt(t, time.Now, lane, handle, change...)
}

// serveAt is serve with a clock on the wall.
func serveAt(t *testing.T, now func() time.Time, lane Lane, handle func([]rouse.Lease) []Outcome, change ...func(*Config)) *Dispatcher {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := store.Keys(t.Context(), "queue")
	if err != nil {
		t.Fatal(err)
	}
	queues := queue.New(queue.Config{Keys: keys, Now: now})
	c := Config{Queue: queues.Plain(), Prefix: "q:", Now: now, Log: slog.New(slog.DiscardHandler), Poll: 50 * time.Millisecond,
		Lane:   func(context.Context, string) Lane { return lane },
		Handle: func(_ context.Context, _ string, ls []rouse.Lease) []Outcome { return handle(ls) }}
	for _, f := range change {
		f(&c)
	}
	d := New(c)
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

// A lane that is reset just as it finds that it is paused is served.
func TestALaneThatIsResumedAsItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *Dispatcher
		paused := true
		handled := make(chan struct{}, 1)
		d = serve(t, Lane{Parallel: 1}, func([]rouse.Lease) []Outcome {
			handled <- struct{}{}
			return []Outcome{{}}
		}, func(c *Config) {
			next := c.Lane
			c.Poll = time.Hour
			c.Lane = func(ctx context.Context, q string) Lane {
				if !paused {
					return next(ctx, q)
				}
				paused = false
				d.Reset(q)
				return Lane{}
			}
		})
		synctest.Wait()
		began := time.Now()
		d.send(t, 0, 1)
		if <-handled; time.Since(began) > time.Second {
			t.Errorf("it waited %v", time.Since(began))
		}
	})
}

// A counting queue notes how many ask it at once.
type counting struct {
	rouse.Queue
	mu        sync.Mutex
	now, most int
}

func (c *counting) Receive(ctx context.Context, queue string, n int, d time.Duration) ([]rouse.Lease, error) {
	c.mu.Lock()
	c.now++
	c.most = max(c.most, c.now)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now--
	}()
	return c.Queue.Receive(ctx, queue, n, d)
}

// Many lanes do not all ask the queue at once where that is bounded, and each
// gets its messages.
func TestLanesTakeTurns(t *testing.T) {
	handled := make(chan string, 1000)
	c := &counting{}
	d := serve(t, Lane{Parallel: 4}, nil, func(o *Config) {
		c.Queue, o.Queue, o.AtOnce = o.Queue, c, 2
		o.Handle = func(_ context.Context, queue string, ls []rouse.Lease) []Outcome {
			for range ls {
				handled <- queue
			}
			return make([]Outcome, len(ls))
		}
	})
	const lanes, each = 40, 5
	for i := range lanes {
		q := fmt.Sprintf("q:%d", i)
		if _, err := d.Queue.Send(t.Context(), q, make([]rouse.Message, each)); err != nil {
			t.Fatal(err)
		}
		d.Serve(q)
	}
	got := map[string]int{}
	for range lanes * each {
		got[<-handled]++
	}
	for q, n := range got {
		if n != each {
			t.Errorf("%d of %s were handled", n, q)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(got) != lanes || c.most > 2 {
		t.Errorf("%d lanes, %d at once", len(got), c.most)
	}
}

// A sender leases messages as it sends them.
type sender interface {
	SendAll(ctx context.Context, all map[string][]rouse.Message, taken map[string]int, d time.Duration) (map[string][]rouse.Lease, error)
}

// What is leased as it is sent is handled without being received, and its lane
// goes on as any other.
func TestReserve(t *testing.T) {
	var all sender
	c := &counting{}
	handled, held := make(chan string, 100), make(chan struct{})
	d := serve(t, Lane{Parallel: 2}, func(ls []rouse.Lease) []Outcome {
		body := string(ls[0].Body)
		handled <- fmt.Sprint(body, " ", ls[0].Count)
		if body == "held" {
			<-held
		}
		return []Outcome{{Again: body == "again" && ls[0].Count == 1}}
	}, func(o *Config) {
		all = o.Queue.(sender)
		c.Queue, o.Queue = o.Queue, c
		next := o.Lane
		o.Lane = func(ctx context.Context, q string) Lane {
			switch q {
			case "q:paused":
				return Lane{}
			case "q:filling":
				return Lane{Parallel: 1, Batch: 5, Window: time.Hour}
			}
			return next(ctx, q)
		}
		o.Poll = time.Hour
	})
	for started := false; !started; {
		d.mu.Lock()
		started = d.ctx != nil
		d.mu.Unlock()
	}
	send := func(q string, bodies ...string) map[string]int {
		t.Helper()
		var ms []rouse.Message
		for _, b := range bodies {
			ms = append(ms, rouse.Message{Body: []byte(b)})
		}
		r := d.Reserve(t.Context(), []string{q, "q:paused", "q:filling"})
		leases, err := all.SendAll(t.Context(), map[string][]rouse.Message{q: ms}, r.Room, time.Minute)
		if err != nil {
			t.Error(err)
		}
		r.Begin(leases)
		if len(leases[q]) < len(ms) {
			d.Serve(q)
		}
		return r.Room
	}
	got := func() string {
		select {
		case h := <-handled:
			return h
		case <-time.After(time.Minute):
			t.Fatal("nothing was handled within a minute")
			return ""
		}
	}
	rest := func(q string) {
		t.Helper()
		for there := true; there; {
			d.mu.Lock()
			there = d.lanes[q] != nil
			d.mu.Unlock()
		}
		if all, err := d.Queue.Stats(t.Context(), q); err != nil || len(all) != 0 {
			t.Errorf("left in %s: %v %v", q, all, err)
		}
	}
	if room := send("q:a", "held"); len(room) != 1 || room["q:a"] != 2 {
		t.Errorf("there is room for %v", room)
	}
	if h := got(); h != "held 1" {
		t.Errorf("%s", h)
	}
	if room := send("q:a", "second"); len(room) != 0 {
		t.Errorf("of a lane at work there is room for %v", room)
	}
	if h := got(); h != "second 1" {
		t.Errorf("%s", h)
	}
	close(held)
	rest("q:a")
	c.mu.Lock()
	c.most = 0
	c.mu.Unlock()
	send("q:b", "one")
	if h := got(); h != "one 1" {
		t.Errorf("%s", h)
	}
	rest("q:b")
	c.mu.Lock()
	if c.most != 0 {
		t.Error("what is leased already was received")
	}
	c.mu.Unlock()
	send("q:c", "again", "x", "more", "than", "fit")
	seen := map[string]bool{}
	for range 6 {
		seen[got()] = true
	}
	for _, want := range []string{"again 1", "again 2", "x 1", "more 1", "than 1", "fit 1"} {
		if !seen[want] {
			t.Errorf("%s was not handled; %v were", want, seen)
		}
	}
	rest("q:c")
	r := d.Reserve(t.Context(), []string{"q:d"}) // and nothing is sent
	r.Begin(nil)
	rest("q:d")
}
