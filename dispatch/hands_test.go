package dispatch

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
)

// What is held, handled or not yet deleted while its lease ends, as the clock is
// put forward, is handled once all the same, and gone then.
func TestLeasesThatEndTooSoon(t *testing.T) {
	for _, test := range []string{"handled", "held", "given up"} {
		t.Run(test, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { tooSoon(t, test) }) })
	}
}

func tooSoon(t *testing.T, what string) {
	var shift atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(shift.Load())).Round(0) }
	var mu sync.Mutex
	var got []string
	var all sender
	work, more := make(chan struct{}), make(chan struct{}, 10)
	d := serveAt(t, now, Lane{Parallel: 2}, func(ls []rouse.Lease) []Outcome {
		mu.Lock()
		got = append(got, string(ls[0].Body))
		mu.Unlock()
		if string(ls[0].Body) == "0" {
			<-work
		} else {
			more <- struct{}{}
		}
		if what == "given up" {
			return []Outcome{{Bury: "enough"}}
		}
		return []Outcome{{}}
	}, func(c *Config) { all = c.Queue.(sender) })
	if what == "held" {
		leases, err := all.SendAll(t.Context(), map[string][]rouse.Message{"q:a": {{Body: []byte("0")}}}, map[string]int{"q:a": 1}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		d.Hold("q:a", leases["q:a"][0], now().Add(2*time.Hour))
	} else {
		d.send(t, 0, 1)
	}
	synctest.Wait()
	shift.Store(int64(time.Hour))
	for i := range 3 { // they are received, and with them what seems to be left
		d.send(t, 1+i, 1)
		<-more
		synctest.Wait()
	}
	shift.Store(int64(2 * time.Hour))
	time.Sleep(2 * time.Second)
	close(work)
	time.Sleep(time.Second)
	mu.Lock()
	defer mu.Unlock()
	if slices.Sort(got); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
		t.Errorf("handled are %q", got)
	}
	want := rouse.QueueStats{Next: -1}
	if what == "given up" {
		want.Dead = 4
	}
	if s, err := d.Queue.Stats(t.Context(), "q:a"); err != nil || s["q:a"].Visible+s["q:a"].Leased != 0 || s["q:a"].Dead != want.Dead {
		t.Errorf("left are %+v %v", s, err)
	}
	if d.hands.mu.Lock(); len(d.hands.all)+len(d.hands.groups) != 0 {
		t.Errorf("in hand are %v", d.hands.all)
	}
	d.hands.mu.Unlock()
}

// A message that comes at the moment when what was held is deleted does not wait
// to be looked for.
func TestAMessageBesidesWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all sender
		var d *Dispatcher
		handled := make(chan string, 10)
		d = serve(t, Lane{Parallel: 1}, func(ls []rouse.Lease) []Outcome {
			handled <- string(ls[0].Body)
			return []Outcome{{}}
		}, func(c *Config) {
			all, c.Poll = c.Queue.(sender), time.Hour
			c.DeleteAll = func(ctx context.Context, rs map[string][]rouse.Receipt) (map[string][]bool, error) {
				oks, err := d.deleteEach(ctx, rs)
				if len(handled) == 0 {
					d.send(t, 0, 1)
				}
				return oks, err
			}
		})
		synctest.Wait()
		for range 100 {
			leases, err := all.SendAll(t.Context(), map[string][]rouse.Message{"q:a": {{}}}, map[string]int{"q:a": 1}, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			d.Hold("q:a", leases["q:a"][0], time.Now())
			began := time.Now()
			<-handled
			if <-handled; time.Since(began) > time.Second {
				t.Fatalf("a message waited %v", time.Since(began))
			}
			synctest.Wait()
		}
	})
}

func BenchmarkHands(b *testing.B) {
	h := newHands()
	ls := make([]rouse.Lease, 100)
	for i := range b.N {
		for j := range ls {
			ls[j].ID = int64(i*100 + j)
		}
		h.take("q:a", ls, nil)
		for j := range ls {
			h.valid("q:a", ls[j].ID)
			h.leave("q:a", ls[j].ID)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*100), "ns/message")
}
