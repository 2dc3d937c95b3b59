package rule

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/queue"
	"github.com/rouse-run/rouse/store/sqlite"
	"github.com/rouse-run/rouse/trigger/schedule"
)

// A calendar is a world with schedules, in a bubble of synctest: the time is
// 2000-01-01T00:00:00Z at first, and passes only where all wait.
type calendar struct {
	*world
	shift atomic.Int64 // of the clock on the wall
	fired atomic.Pointer[[]firing]
}

// A firing is an event that came to a function.
type firing struct {
	function, id string
	at           time.Time
	data         string
}

// Now is what the clock on the wall shows.
func (c *calendar) Now() time.Time { return time.Now().Add(time.Duration(c.shift.Load())).Round(0) }

// Emit, EmitMany and State are those of the engine that runs now.
func (c *calendar) Emit(ctx context.Context, r rouse.Ref, es []rouse.Event, state []byte) error {
	return c.Engine.Emit(ctx, r, es, state)
}

func (c *calendar) EmitMany(ctx context.Context, all []event.Emission) []error {
	return c.Engine.EmitMany(ctx, all)
}

func (c *calendar) State(ctx context.Context, r rouse.Ref) ([]byte, error) {
	return c.Engine.State(ctx, r)
}

func inCalendar(t *testing.T, f func(t *testing.T, c *calendar)) {
	synctest.Test(t, func(t *testing.T) {
		c := &calendar{}
		c.world = &world{t: t, dir: t.TempDir(), news: make(chan struct{}, 1), now: c.Now, poll: 10 * time.Second}
		c.fired.Store(&[]firing{})
		c.sources = []event.Source{schedule.New(schedule.Config{Emitter: c, Now: c.Now}), button{}}
		c.does(func(in rouse.Invocation) error {
			var ce struct {
				Data struct{ Data json.RawMessage }
			}
			if err := json.Unmarshal(in.Event.Data, &ce); err != nil {
				t.Error(err)
			}
			for {
				old := c.fired.Load()
				all := append(slices.Clone(*old), firing{in.Function.Name, in.Cause, c.Now(), string(ce.Data.Data)})
				if c.fired.CompareAndSwap(old, &all) {
					return nil
				}
			}
		})
		c.start()
		defer func() { c.stop() }()
		f(t, c)
	})
}

// at sleeps until so long after the beginning.
func (c *calendar) at(d time.Duration) {
	time.Sleep(time.Until(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d)))
	synctest.Wait()
}

func (c *calendar) schedule(name, config string) {
	c.t.Helper()
	if _, err := c.SetTrigger(c.t.Context(), event.Trigger{Ref: ref(name), Kind: "schedule", Config: json.RawMessage(config)}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *calendar) on(trigger, function string) {
	c.t.Helper()
	c.rule(event.Rule{Ref: ref("to-" + function), On: event.On{Trigger: trigger}, To: event.Target{Function: function}})
}

func (c *calendar) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// want says what came to a function: for what time each, and that it was then.
func (c *calendar) want(function string, dues ...string) {
	c.t.Helper()
	synctest.Wait()
	var got []string
	for _, f := range *c.fired.Load() {
		_, due, _ := strings.Cut(f.id, "/")
		if f.function != function {
			continue
		}
		if got = append(got, due); f.at.Format(time.RFC3339Nano) != due {
			c.t.Errorf("%s came to %s at %v", f.id, function, f.at)
		}
	}
	if !slices.Equal(got, dues) {
		c.t.Errorf("to %s came %q, want %q", function, got, dues)
	}
}

const eachMinute = `{"cron": "* * * * *"}`

const (
	dueFirst  = "2000-01-01T00:01:00Z"
	dueSecond = "2000-01-01T00:02:00Z"
)

// A schedule fires at the very moment that it is due, not before and not twice,
// however near that was when it was made.
func TestSchedulesFireWhenTheyAreDue(t *testing.T) {
	inCalendar(t, func(t *testing.T, c *calendar) {
		c.schedule("minute", eachMinute)
		c.on("minute", "m")
		c.on("minute", "other")
		c.schedule("near", `{"at": "2000-01-01T00:00:01Z"}`)
		c.on("near", "near")
		c.schedule("nearer", `{"at": "2000-01-01T00:00:00.2Z"}`)
		c.on("nearer", "nearer")
		c.schedule("second", `{"every": "1s", "times": 5}`)
		c.on("second", "s")
		c.schedule("often", `{"every": "400ms", "times": 3}`)
		c.on("often", "o")
		for i := range 50 {
			c.schedule(fmt.Sprint("many", i), eachMinute)
			c.on(fmt.Sprint("many", i), fmt.Sprint("f", i))
		}
		c.at(2*time.Minute + time.Second)
		c.want("m", dueFirst, dueSecond)
		c.want("other", dueFirst, dueSecond)
		c.want("near", "2000-01-01T00:00:01Z")
		c.want("nearer", "2000-01-01T00:00:00.2Z")
		c.want("s", "2000-01-01T00:00:01Z", "2000-01-01T00:00:02Z", "2000-01-01T00:00:03Z", "2000-01-01T00:00:04Z", "2000-01-01T00:00:05Z")
		c.want("o", "2000-01-01T00:00:00.4Z", "2000-01-01T00:00:00.8Z", "2000-01-01T00:00:01.2Z")
		for i := range 50 {
			c.want(fmt.Sprint("f", i), dueFirst, dueSecond)
		}
	})
}

// What is stored ahead is seen by nobody before it happens.
func TestNobodySeesTheFuture(t *testing.T) {
	inCalendar(t, func(t *testing.T, c *calendar) {
		c.schedule("a", eachMinute)
		c.on("a", "f")
		c.at(58 * time.Second)
		if coming, err := c.Inbox.Coming(t.Context(), ref("a")); !coming || err != nil {
			t.Fatalf("it is not stored ahead: %v", err)
		}
		seen := func() (n int) {
			t.Helper()
			if _, err := c.Find(t.Context(), ns, "a/"+dueFirst); err == nil {
				n++
			} else if rouse.KindOf(err) != rouse.NotFound {
				t.Error(err)
			}
			if s, err := c.Status(t.Context(), ref("to-f")); err != nil || s.Waiting != 0 {
				t.Errorf("%+v %v", s, err)
			}
			m, err := c.Replay(t.Context(), event.Replay{Rule: ref("to-f"), Since: time.Date(2000, 1, 1, 0, 0, 59, 0, time.UTC), Until: time.Now().Add(time.Hour)})
			c.must(err)
			return n + m
		}
		if n := seen(); n != 0 {
			t.Errorf("it is seen %d times", n)
		}
		c.want("f")
		c.at(time.Minute + time.Second)
		c.want("f", dueFirst)
		if n := seen(); n != 2 {
			t.Errorf("when it has happened it is seen %d times", n)
		}
	})
}

// What becomes of a schedule while its firing is stored ahead decides about it.
func TestASchedulesFiringIsWithdrawn(t *testing.T) {
	inCalendar(t, func(t *testing.T, c *calendar) {
		for _, name := range []string{"paused", "again", "data", "rhythm", "gone", "counted"} {
			config := eachMinute
			if name == "counted" {
				config = `{"cron": "* * * * *", "times": 1}`
			}
			c.schedule(name, config)
			c.on(name, name)
		}
		c.at(58 * time.Second)
		c.schedule("paused", `{"cron": "* * * * *", "paused": true}`)
		c.schedule("again", `{"cron": "* * * * *", "paused": true}`)
		c.schedule("data", `{"cron": "* * * * *", "data": "new"}`)
		c.schedule("rhythm", `{"cron": "30 * * * * *"}`)
		c.must(c.RemoveRule(t.Context(), ref("to-gone")))
		c.must(c.RemoveTrigger(t.Context(), ref("gone")))
		c.schedule("counted", `{"cron": "* * * * *", "times": 1, "paused": true}`)
		c.at(59 * time.Second)
		c.schedule("again", eachMinute)
		c.at(90*time.Second + time.Millisecond)
		c.schedule("counted", `{"cron": "* * * * *", "times": 1}`)
		c.want("paused")
		c.want("again", dueFirst)
		c.want("data", dueFirst)
		c.want("rhythm", "2000-01-01T00:01:30Z")
		c.want("gone")
		c.at(2*time.Minute + time.Second)
		c.want("counted", dueSecond) // what was withdrawn does not count
		for _, f := range *c.fired.Load() {
			if want := map[bool]string{true: `"new"`}[f.function == "data"]; f.data != want {
				t.Errorf("%s has the data %s, want %s", f.id, f.data, want)
			}
		}
	})
}

// A firing goes to the rules that there are when it is due.
func TestRulesAreThoseOfTheMoment(t *testing.T) {
	inCalendar(t, func(t *testing.T, c *calendar) {
		for _, name := range []string{"a", "b"} {
			c.schedule(name, eachMinute)
		}
		for _, f := range []string{"stays", "goes", "moves", "changes", "pauses"} {
			c.on("a", f)
		}
		c.at(58 * time.Second)
		c.must(c.RemoveRule(t.Context(), ref("to-goes")))
		c.on("a", "new")
		c.rule(event.Rule{Ref: ref("to-moves"), On: event.On{Trigger: "b"}, To: event.Target{Function: "moves"}})
		c.rule(event.Rule{Ref: ref("to-changes"), On: event.On{Trigger: "a"}, When: json.RawMessage(`{"no": [1]}`), To: event.Target{Function: "changes"}})
		c.must(c.Pause(t.Context(), ref("to-pauses"), ""))
		c.at(59 * time.Second)
		c.must(c.RemoveRule(t.Context(), ref("to-new")))
		c.on("a", "new") // another one of that name
		c.at(time.Minute + time.Second)
		c.want("stays", dueFirst)
		c.want("goes")
		c.want("new", dueFirst)
		c.want("moves", dueFirst)
		c.want("changes")
		c.want("pauses")
		for _, f := range *c.fired.Load() {
			if want := map[bool]string{true: "b/", false: "a/"}[f.function == "moves"]; !strings.HasPrefix(f.id, want) {
				t.Errorf("%s came to %s", f.id, f.function)
			}
		}
		c.must(c.Resume(t.Context(), ref("to-pauses"))) // it waited there
		c.at(time.Minute + 30*time.Second)
		if n := len(slices.DeleteFunc(slices.Clone(*c.fired.Load()), func(f firing) bool { return f.function != "pauses" })); n != 1 {
			t.Errorf("when the rule went on it got %d", n)
		}
	})
}

// A server that is killed while firings are stored ahead, and one that is then
// started before or after they are due, neither loses nor doubles them.
func TestAheadOfARestart(t *testing.T) {
	for _, down := range []time.Duration{500 * time.Millisecond, 10 * time.Second, 10 * time.Minute} {
		t.Run(down.String(), func(t *testing.T) {
			inCalendar(t, func(t *testing.T, c *calendar) {
				c.schedule("a", eachMinute)
				c.on("a", "f")
				c.schedule("skips", `{"cron": "* * * * *", "missed": "skip"}`)
				c.on("skips", "s")
				c.schedule("withdrawn", eachMinute)
				c.on("withdrawn", "w")
				c.at(58 * time.Second)
				c.schedule("withdrawn", `{"cron": "0 0 * * *"}`)
				c.kill()
				time.Sleep(down)
				c.restart()
				began := c.Now()
				c.at(max(time.Minute+50*time.Second, 59*time.Second+down))
				n := map[string]int{}
				for _, f := range *c.fired.Load() {
					n[f.id]++
					_, text, _ := strings.Cut(f.id, "/")
					due, err := time.Parse(time.RFC3339, text)
					c.must(err)
					if late := f.at.Sub(later(due, began)); late < 0 || late > 10*time.Millisecond {
						t.Errorf("%s came at %v", f.id, f.at)
					}
				}
				want := map[string]int{"a/" + dueFirst: 1, "skips/" + dueFirst: 1}
				if down > time.Minute { // the newest that was missed, for all
					want = map[string]int{"a/" + dueFirst: 1, "a/2000-01-01T00:10:00Z": 1, "skips/2000-01-01T00:10:00Z": 1}
				}
				if !maps.Equal(n, want) {
					t.Errorf("%v, want %v", n, want)
				}
			})
		})
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// kill ends the server so that what it holds stays as it is: what it wrote is
// copied while it runs.
func (c *calendar) kill() {
	c.t.Helper()
	synctest.Wait()
	dir := c.t.TempDir()
	names, err := filepath.Glob(filepath.Join(c.dir, "*"))
	c.must(err)
	for _, name := range names {
		from, err := os.Open(name)
		c.must(err)
		to, err := os.Create(filepath.Join(dir, filepath.Base(name)))
		c.must(err)
		_, err = io.Copy(to, from)
		c.must(err)
		c.must(from.Close())
		c.must(to.Close())
	}
	c.stop()
	c.dir = dir
}

// restart starts the server as a node does.
func (c *calendar) restart() {
	c.t.Helper()
	store, err := sqlite.Open(c.t.Context(), sqlite.Config{Dir: c.dir})
	c.must(err)
	keys, err := store.Keys(c.t.Context(), "queue")
	c.must(err)
	queues := queue.New(queue.Config{Keys: keys, Now: c.Now})
	_, err = queues.Recover(c.t.Context(), 30*time.Second)
	c.must(err)
	c.must(queues.Close())
	c.must(store.Close())
	c.start()
}

// A clock that is put forward brings what is stored ahead at once, and one that
// is put back has it wait, and not come twice.
func TestAClockThatIsSetWhileSomethingIsAhead(t *testing.T) {
	inCalendar(t, func(t *testing.T, c *calendar) {
		c.schedule("a", eachMinute)
		c.on("a", "f")
		c.at(58 * time.Second)
		c.shift.Store(int64(-30 * time.Second)) // it is 00:00:28
		c.at(80 * time.Second)
		c.want("f")
		c.at(91 * time.Second) // 00:01:01
		c.want("f", dueFirst)
		c.shift.Store(int64(-45 * time.Second)) // 00:00:46: it is before what came
		time.Sleep(2 * time.Second)
		c.schedule("a", `{"cron": "* * * * *", "data": 1}`)
		time.Sleep(43 * time.Second) // 00:01:31
		c.want("f", dueFirst)
		time.Sleep(26500 * time.Millisecond) // 00:01:57.5
		if coming, err := c.Inbox.Coming(t.Context(), ref("a")); !coming || err != nil {
			t.Fatalf("it is not stored ahead: %v", err)
		}
		c.shift.Store(int64(time.Hour))
		time.Sleep(2 * time.Second)
		n := map[string]int{}
		for _, f := range *c.fired.Load() {
			n[f.id]++
		}
		if len(n) != 3 || n["a/"+dueFirst] != 1 || n["a/"+dueSecond] != 1 { // and the newest that was passed over
			t.Errorf("%v", n)
		}
	})
}

// A rule whose queue is not served at once gets it by way of the queue.
func TestAheadOfABusyRule(t *testing.T) {
	inCalendar(t, func(t *testing.T, c *calendar) {
		c.schedule("a", `{"every": "10s", "times": 4}`)
		c.rule(event.Rule{Ref: ref("one"), On: event.On{Trigger: "a"}, To: event.Target{Function: "f"}, Parallel: 1})
		c.rule(event.Rule{Ref: ref("batch"), On: event.On{Trigger: "a"}, To: event.Target{Function: "g"}, Batch: &event.Batch{Size: 2, Window: rouse.Duration(5 * time.Second)}})
		count := c.do
		c.does(func(in rouse.Invocation) error {
			if in.Function.Name == "f" {
				time.Sleep(25 * time.Second)
				return count(in)
			}
			return nil
		})
		c.at(3 * time.Minute)
		var got []string
		for _, f := range *c.fired.Load() {
			got = append(got, fmt.Sprint(f.id, " at ", f.at.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Round(time.Second)))
		}
		if want := []string{"a/2000-01-01T00:00:10Z at 35s", "a/2000-01-01T00:00:20Z at 1m0s", "a/2000-01-01T00:00:30Z at 1m25s", "a/2000-01-01T00:00:40Z at 1m50s"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		batches := 0
		for _, in := range c.ran {
			if in.Function.Name == "g" {
				batches++
			}
		}
		if batches != 4 {
			t.Errorf("%d batches", batches)
		}
	})
}

// What was read before it was withdrawn, and comes to rules after that, does not
// count; nor is what is due while it is withdrawn delivered before that is clear.
func TestForthcoming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f forthcoming
		a := ref("a")
		want := func(number uint64, deliver, known bool) {
			t.Helper()
			if d, k := f.begin(a, number); d != deliver || k != known {
				t.Errorf("%d is to be delivered: %v, known: %v", number, d, k)
			}
		}
		want(1, false, false)
		if !f.announce(a, 1) {
			t.Error("it was not withdrawn")
		}
		begun, end := make(chan struct{}), make(chan []uint64)
		go func() {
			if err := f.withdraw(a, func(uint64) ([]uint64, error) {
				close(begun)
				return <-end, nil
			}); err != nil {
				t.Error(err)
			}
		}()
		<-begun
		over := make(chan struct{})
		go func() {
			defer close(over)
			want(1, false, true)
		}()
		synctest.Wait()
		select {
		case <-over:
			t.Error("it was not waited for")
		default:
		}
		end <- []uint64{1, 2}
		<-over
		if f.announce(a, 2) {
			t.Error("what was withdrawn is announced")
		}
		want(2, false, true)
		if !f.announce(a, 3) {
			t.Error("the next one is not announced")
		}
		want(3, true, true)
		but := uint64(0)
		if err := f.withdraw(a, func(b uint64) ([]uint64, error) { but = b; return nil, nil }); err != nil || but != 3 {
			t.Errorf("what is being delivered is withdrawn: %d %v", but, err)
		}
		want(3, true, true)
		f.forget(a)
		want(3, false, false)
	})
}

// However a schedule, and the other rules on it, are changed, and whenever the
// server is killed: each of its firings comes to a rule that stays as it is once,
// on time, and as the schedule is then.
func TestNoChangeLosesOrDoublesAFiring(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inCalendar(t, func(t *testing.T, c *calendar) {
				dice := rand.New(rand.NewPCG(seed, 1))
				sets := map[time.Time]int{}
				set := func(n int) {
					if !c.Now().Before(time.Date(2000, 1, 1, 0, 0, 41, 0, time.UTC)) {
						return // one that would never fire is refused
					}
					sets[c.Now()] = n
					c.schedule("a", fmt.Sprintf(`{"every": "1s", "from": "2000-01-01T00:00:02Z", "until": "2000-01-01T00:00:42Z", "data": %d}`, n))
				}
				set(0)
				c.on("a", "stays")
				changes := []func(n int){
					set, set,
					func(int) { c.on("a", "other") },
					func(n int) {
						c.rule(event.Rule{Ref: ref("to-other"), On: event.On{Trigger: "a"}, To: event.Target{Function: fmt.Sprint("other", n)}})
					},
					func(int) {
						if err := c.RemoveRule(t.Context(), ref("to-other")); err != nil && rouse.KindOf(err) != rouse.NotFound {
							t.Error(err)
						}
					},
					func(int) {
						c.kill()
						c.restart()
					},
				}
				for n := 1; c.Now().Before(time.Date(2000, 1, 1, 0, 0, 41, 0, time.UTC)); n++ {
					time.Sleep(time.Duration(dice.IntN(500)) * time.Millisecond)
					changes[dice.IntN(len(changes))](n)
				}
				time.Sleep(10 * time.Second)
				came := map[string]int{}
				for _, f := range *c.fired.Load() {
					_, text, _ := strings.Cut(f.id, "/")
					due, err := time.Parse(time.RFC3339, text)
					c.must(err)
					if late := f.at.Sub(due); late < 0 || late > 10*time.Millisecond {
						t.Errorf("%s came to %s at %v", f.id, f.function, f.at)
					}
					last := slices.MaxFunc(slices.Collect(maps.Keys(sets)), func(a, b time.Time) int {
						if a.After(due) || b.After(due) {
							return b.Compare(a)
						}
						return a.Compare(b)
					})
					if !last.Equal(due) && f.data != fmt.Sprint(sets[last]) {
						t.Errorf("%s has the data %s, but it was %d since %v", f.id, f.data, sets[last], last)
					}
					if came[f.function+" "+text]++; came[f.function+" "+text] > 1 {
						t.Errorf("%s came to %s twice", f.id, f.function)
					}
				}
				for i := range 40 {
					due := time.Date(2000, 1, 1, 0, 0, 2+i, 0, time.UTC).Format(time.RFC3339)
					if came["stays "+due] == 0 {
						t.Errorf("what was due at %s did not come", due)
					}
				}
			})
		})
	}
}
