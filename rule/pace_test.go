package rule

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

// A replay delivers as many a second as it is told, in the order in which the
// events came, also where there are more than it reads at once.
func TestAReplayKeepsItsRate(t *testing.T) {
	inCalendar(t, func(t *testing.T, c *calendar) {
		c.button("red")
		const few, many = 20, replayAtOnce + 20
		emit := func(from, to int) {
			var es []rouse.Event
			for i := from; i < to; i++ {
				es = append(es, rouse.Event{ID: fmt.Sprint(i), Type: "pressed", Data: []byte("{}")})
			}
			c.must(c.Emit(t.Context(), ref("red"), es, nil))
		}
		emit(0, few)
		c.at(time.Minute)
		emit(few, many)
		c.at(2 * time.Minute)
		c.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, To: event.Target{Function: "f"}})
		for _, p := range []struct {
			rate  float64
			apart time.Duration
			n     int
		}{{20, 50 * time.Millisecond, many}, {0.5, 2 * time.Second, few}, {0, 20 * time.Millisecond, few}} {
			c.fired.Store(&[]firing{})
			began := time.Now()
			all := event.Replay{Rule: ref("r"), Since: time.Unix(1, 0), Rate: p.rate}
			if p.n == few {
				all.Until = time.Date(2000, 1, 1, 0, 0, 30, 0, time.UTC)
			}
			if got, err := c.Replay(t.Context(), all); got != p.n || err != nil {
				t.Fatalf("%d are replayed, want %d: %v", got, p.n, err)
			}
			time.Sleep(p.apart * time.Duration(p.n+1))
			fired := *c.fired.Load()
			if len(fired) != p.n {
				t.Fatalf("at a rate of %v, %d came, want %d", p.rate, len(fired), p.n)
			}
			for i, f := range fired {
				due := began.Add(p.apart * time.Duration(i))
				if late := f.at.Sub(due); f.id != fmt.Sprint(i) || late < 0 || late > 2*time.Millisecond {
					t.Fatalf("at a rate of %v, %s came %v after event %d was due", p.rate, f.id, late, i)
				}
			}
		}
	})
}

// No more than "parallel" are delivered at once, and as many as that are: to a
// rule on a trigger, on a queue, and on a shard of a stream, by key.
func TestParallelBoundsDeliveries(t *testing.T) {
	inCalendar(t, func(t *testing.T, c *calendar) {
		c.button("red")
		_, err := c.queues.Create(t.Context(), data.DefaultQueue(ref("q")))
		c.must(err)
		c.stream("s", 1)
		const parallel, n = 3, 20
		var mu sync.Mutex
		now, most := map[string]int{}, map[string]int{}
		c.does(func(in rouse.Invocation) error {
			f := in.Function.Name
			mu.Lock()
			now[f]++
			most[f] = max(most[f], now[f])
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now[f]--
			mu.Unlock()
			return nil
		})
		for f, on := range map[string]event.On{"trigger": {Trigger: "red"}, "queue": {Queue: "q"}, "stream": {Stream: "s"}} {
			c.rule(event.Rule{Ref: ref(f), On: on, To: event.Target{Function: f}, Parallel: parallel})
		}
		c.at(time.Second)
		for i := range n {
			c.press("red", "{}")
			_, err := c.queues.Send(t.Context(), ref("q"), []data.Message{{Body: []byte("0")}})
			c.must(err)
			_, err = c.Data.Streams.Append(t.Context(), ref("s"), []data.Record{{Key: fmt.Sprint(i), Data: []byte("0")}})
			c.must(err)
		}
		c.at(time.Minute)
		ran := map[string]int{}
		for _, in := range c.ran {
			ran[in.Function.Name]++
		}
		for _, f := range []string{"trigger", "queue", "stream"} {
			if ran[f] != n || most[f] != parallel {
				t.Errorf("of a %s %d ran, want %d; %d of them at once, want %d", f, ran[f], n, most[f], parallel)
			}
		}
	})
}
