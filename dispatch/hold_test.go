package dispatch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
)

// What is held is handled when it is due, in the order of that, and keeps no lane
// at work until then. Where there is a lane it goes by way of the queue.
func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var mu sync.Mutex
		var got []string
		var all sender
		d := serve(t, Lane{Parallel: 1}, func(ls []rouse.Lease) []Outcome {
			mu.Lock()
			got = append(got, fmt.Sprintf("%s %d at %v", ls[0].Body, ls[0].Count, time.Since(began)))
			mu.Unlock()
			if string(ls[0].Body) == "slow" {
				time.Sleep(7 * time.Second)
			}
			return []Outcome{{}}
		}, func(c *Config) {
			all, c.Poll = c.Queue.(sender), 10*time.Second
			next := c.Lane
			c.Lane = func(ctx context.Context, q string) Lane {
				switch q {
				case "q:paused":
					return Lane{}
				case "q:filling":
					return Lane{Parallel: 1, Batch: 5, Window: time.Hour}
				}
				return next(ctx, q)
			}
		})
		synctest.Wait() // it runs
		for q, want := range map[string]int{"q:a": 1, "q:paused": 0, "q:filling": 0} {
			if room := d.Room(t.Context(), q); room != want {
				t.Errorf("there is room for %d in %s, want %d", room, q, want)
			}
		}
		hold := func(q string, after time.Duration, bodies ...string) {
			t.Helper()
			var ms []rouse.Message
			for _, b := range bodies {
				ms = append(ms, rouse.Message{Body: []byte(b)})
			}
			leases, err := all.SendAll(t.Context(), map[string][]rouse.Message{q: ms}, map[string]int{q: len(ms)}, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range leases[q] {
				d.Hold(q, l, began.Add(after))
			}
		}
		lanes := func() int {
			synctest.Wait()
			d.mu.Lock()
			defer d.mu.Unlock()
			return len(d.lanes)
		}
		hold("q:a", 3*time.Second, "slow")
		hold("q:b", 2*time.Second, "early")
		hold("q:a", 5*time.Second, "busy")            // its lane is at work then
		hold("q:a", 25*time.Second, "last")           // and at rest
		hold("q:c", 4*time.Second, "one", "two many") // there is room for one at a time
		if n := lanes(); n != 0 {
			t.Errorf("%d lanes are at work before anything is due", n)
		}
		time.Sleep(2 * time.Second)
		hold("q:b", 2500*time.Millisecond, "sooner") // than what it waits for
		time.Sleep(12 * time.Second)
		if n := lanes(); n != 0 {
			t.Errorf("%d lanes are at work though all that is left is held", n)
		}
		time.Sleep(12 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(got[3:5]) // these two come after one another
		want := []string{"early 1 at 2s", "sooner 1 at 2.5s", "slow 1 at 3s", "one 1 at 4s", "two many 2 at 4s", "busy 2 at 10s", "last 1 at 25s"}
		if !slices.Equal(got, want) {
			t.Errorf("handled are\n%q, want\n%q", got, want)
		}
		if s, err := d.Queue.Stats(t.Context(), "q:"); err != nil || len(s) != 0 {
			t.Errorf("left are %v %v", s, err)
		}
	})
}

// What is due begins before what is finished is deleted, but that does not wait
// for long.
func TestWhatIsDueComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all sender
		lanes := make(chan struct{})
		d := serve(t, Lane{Parallel: 1}, func(ls []rouse.Lease) []Outcome { return []Outcome{{}} }, func(c *Config) {
			all, c.Poll = c.Queue.(sender), time.Hour
			next := c.Lane
			c.Lane = func(ctx context.Context, q string) Lane {
				if q == "q:b" {
					<-lanes
				}
				return next(ctx, q)
			}
		})
		synctest.Wait()
		left := func(queues ...string) {
			t.Helper()
			synctest.Wait()
			s, err := d.Queue.Stats(t.Context(), "q:")
			if got := slices.Sorted(maps.Keys(s)); err != nil || !slices.Equal(got, queues) {
				t.Errorf("at %v something is left in %q, want %q: %v", time.Now().Format("05.000"), got, queues, err)
			}
		}
		for _, q := range []string{"q:a", "q:b"} {
			leases, err := all.SendAll(t.Context(), map[string][]rouse.Message{q: {{}}}, map[string]int{q: 1}, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			d.Hold(q, leases[q][0], time.Now().Add(time.Second))
		}
		time.Sleep(time.Second + patience - time.Millisecond)
		left("q:a", "q:b")
		time.Sleep(2 * time.Millisecond)
		left("q:b")
		lanes <- struct{}{}
		left()
	})
}

// A looking is a queue whose Stats call seen when they have been read.
type looking struct {
	rouse.Queue
	seen func()
}

func (l looking) Stats(ctx context.Context, prefix string) (map[string]rouse.QueueStats, error) {
	all, err := l.Queue.Stats(ctx, prefix)
	l.seen()
	return all, err
}

// What comes to be held while a lane looks at its queue is not taken for one of
// those that wait in it.
func TestWhatIsHeldWhileALaneLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all sender
		var d *Dispatcher
		hold := func(body string, after time.Duration) {
			leases, err := all.SendAll(t.Context(), map[string][]rouse.Message{"q:a": {{Body: []byte(body)}}}, map[string]int{"q:a": 1}, time.Minute)
			if err != nil {
				t.Error(err)
				return
			}
			d.Hold("q:a", leases["q:a"][0], time.Now().Add(after))
		}
		sent, looked := false, make(chan struct{})
		var once sync.Once
		handled := make(chan string, 10)
		d = serve(t, Lane{Parallel: 1}, func(ls []rouse.Lease) []Outcome {
			handled <- string(ls[0].Body)
			return []Outcome{{}}
		}, func(c *Config) {
			all, c.Poll = c.Queue.(sender), time.Hour
			c.DeleteAll = func(ctx context.Context, rs map[string][]rouse.Receipt) (map[string][]bool, error) {
				oks, err := d.deleteEach(ctx, rs)
				if !sent {
					sent = true
					d.send(t, 0, 1)
					<-looked
				}
				return oks, err
			}
			c.Queue = looking{c.Queue, func() {
				if sent {
					once.Do(func() {
						hold("later", 10*time.Second)
						close(looked)
					})
				}
			}}
		})
		synctest.Wait()
		hold("first", 0)
		began := time.Now()
		for _, want := range []string{"first", "0"} {
			if got := <-handled; got != want || time.Since(began) > time.Second {
				t.Fatalf("%s was handled after %v, want %s at once", got, time.Since(began), want)
			}
		}
		if got := <-handled; got != "later" || time.Since(began) != 10*time.Second {
			t.Errorf("%s was handled after %v", got, time.Since(began))
		}
	})
}

// What was held of a queue that was emptied is not counted as if it were there.
func TestDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all sender
		var purge func(context.Context, string) error
		handled := make(chan string, 10)
		d := serve(t, Lane{Parallel: 1}, func(ls []rouse.Lease) []Outcome {
			handled <- string(ls[0].Body)
			return []Outcome{{Again: ls[0].Count == 1, After: time.Second}}
		}, func(c *Config) {
			all, c.Poll = c.Queue.(sender), time.Hour
			purge = c.Queue.(interface {
				PurgePlain(context.Context, string) error
			}).PurgePlain
		})
		synctest.Wait()
		leases, err := all.SendAll(t.Context(), map[string][]rouse.Message{"q:a": {{}, {}}, "q:b": {{Body: []byte("other")}}}, map[string]int{"q:a": 2, "q:b": 1}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for q, ls := range leases {
			for _, l := range ls {
				d.Hold(q, l, time.Now().Add(10*time.Second))
			}
		}
		d.Drop("q:a")
		if err := purge(t.Context(), "q:a"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		d.send(t, 0, 1)
		for _, want := range []string{"0 0s", "0 1s", "other 10s", "other 11s"} {
			if got := fmt.Sprint(<-handled, " ", time.Since(began).Truncate(100*time.Millisecond)); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	})
}
