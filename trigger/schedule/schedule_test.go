package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/rule/inbox"
	"github.com/rouse-run/rouse/store/sqlite"
)

// A world is a Source over a real store, whose clock can be set. It is made in
// a bubble of synctest, where time passes when all wait.
type world struct {
	t     *testing.T
	inbox *inbox.Inbox
	close func()

	mu    sync.Mutex
	shift time.Duration // of the clock on the wall
	down  bool          // whether the store can't be reached
	tries int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := store.Keys(t.Context(), "event")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, close: func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}}
	w.inbox = inbox.New(inbox.Config{Keys: keys, Now: w.now})
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.shift).Round(0)
}

func (w *world) set(shift time.Duration, down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shift, w.down = shift, down
}

func (w *world) Emit(ctx context.Context, r rouse.Ref, es []rouse.Event, state []byte) error {
	return w.EmitMany(ctx, []event.Emission{{Trigger: r, Events: es, State: state}})[0]
}

func (w *world) EmitMany(ctx context.Context, all []event.Emission) []error {
	w.mu.Lock()
	down := w.down
	w.tries++
	w.mu.Unlock()
	if down {
		return slices.Repeat([]error{rouse.Errorf(rouse.Unavailable, "emit", "", "the store can't be reached")}, len(all))
	}
	return w.inbox.AddMany(ctx, all)
}

func (w *world) State(ctx context.Context, r rouse.Ref) ([]byte, error) { return w.inbox.State(ctx, r) }

func (w *world) source() *Source { return New(Config{Emitter: w, Now: w.now}) }

func (w *world) start(s *Source, name, config string) (stop func()) {
	w.t.Helper()
	raw, err := s.Check(json.RawMessage(config))
	if err != nil {
		w.t.Fatal(err)
	}
	stop, err = s.Start(event.Trigger{Ref: rouse.Ref{Namespace: "default", Name: name}, Kind: "schedule", Config: raw})
	if err != nil {
		w.t.Fatal(err)
	}
	return stop
}

// events returns all that happened, of one trigger.
func (w *world) events(name string) (es []rouse.Event) {
	w.t.Helper()
	for shard := range 8 {
		after := uint64(0)
		for {
			b, err := w.inbox.Read(w.t.Context(), data.FeedQuery{Ref: rouse.Ref{Namespace: "default", Name: inbox.Name}, Shard: fmt.Sprint(shard), After: after})
			if err != nil {
				w.t.Fatal(err)
			}
			if len(b.Entries) == 0 {
				break
			}
			for _, e := range b.Entries {
				if e.Key == name && !e.Due.After(w.now()) {
					es = append(es, e.Event)
				}
			}
			after = b.After
		}
	}
	return es
}

// dues returns what a trigger's events were due at, by their IDs.
func (w *world) dues(name string) (all []string) {
	w.t.Helper()
	for _, e := range w.events(name) {
		all = append(all, strings.TrimPrefix(e.ID, name+"/"))
	}
	return all
}

func (w *world) want(name string, dues ...string) {
	w.t.Helper()
	if got := w.dues(name); !slices.Equal(got, dues) {
		w.t.Errorf("%s fired for %q, want %q", name, got, dues)
	}
}

// bubble runs a test where the time is 2000-01-01T00:00:00Z at first.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f(t, w)
		w.close()
	})
}

func TestFiringsComeOnTime(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.source()
		stops := []func(){
			w.start(s, "cron", `{"cron": "*/20 * * * *", "data": {"for": ["me"]}}`),
			w.start(s, "seconds", `{"cron": "30 59 0 * * *"}`),
			w.start(s, "hourly", `{"cron": "@hourly"}`),
			w.start(s, "every", `{"every": "25m"}`),
			w.start(s, "once", `{"at": "2000-01-01T01:30:00+01:00"}`),
			w.start(s, "zone", `{"at": "2000-01-01T02:00:00", "zone": "Europe/Berlin"}`),
			w.start(s, "from", `{"every": "20m", "from": "2000-01-01T00:15:00Z", "until": "2000-01-01T00:55:00Z"}`),
			w.start(s, "times", `{"every": "10m", "times": 2}`),
			w.start(s, "gone", `{"at": "1999-12-31"}`),
			w.start(s, "skipped", `{"at": "1999-12-31", "missed": "skip"}`),
			w.start(s, "paused", `{"every": "1m", "paused": true}`),
		}
		time.Sleep(time.Hour + time.Second)
		for name, want := range map[string]event.State{"cron": event.Running, "once": event.Done, "from": event.Done, "times": event.Done, "gone": event.Done, "paused": event.Paused} {
			if h := s.Health(rouse.Ref{Namespace: "default", Name: name}); h.State != want || h.Error != "" {
				t.Errorf("%s: %+v, want %s", name, h, want)
			}
		}
		for _, stop := range stops {
			stop()
		}
		w.want("cron", "2000-01-01T00:20:00Z", "2000-01-01T00:40:00Z", "2000-01-01T01:00:00Z")
		w.want("seconds", "2000-01-01T00:59:30Z")
		w.want("hourly", "2000-01-01T01:00:00Z")
		w.want("every", "2000-01-01T00:25:00Z", "2000-01-01T00:50:00Z")
		w.want("once", "2000-01-01T00:30:00Z")
		w.want("zone", "2000-01-01T01:00:00Z")
		w.want("from", "2000-01-01T00:15:00Z", "2000-01-01T00:35:00Z")
		w.want("times", "2000-01-01T00:10:00Z", "2000-01-01T00:20:00Z")
		w.want("gone", "1999-12-31T00:00:00Z")
		w.want("skipped")
		e := w.events("cron")[0]
		if got := string(e.Data); got != `{"schedule":"cron","due":"2000-01-01T00:20:00Z","data":{"for":["me"]}}` {
			t.Errorf("data is %s", got)
		}
		if e.Type != "schedule.fired" || e.Source != "trigger:cron" || e.Subject != "cron" || !e.Time.Equal(time.Date(2000, 1, 1, 0, 20, 0, 0, time.UTC)) {
			t.Errorf("%+v", e)
		}
	})
}

func TestWhatIsMissedWhileDown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		configs := map[string]string{
			"default": `{"cron": "*/10 * * * *"}`, "skip": `{"cron": "*/10 * * * *", "missed": "skip"}`,
			"all": `{"cron": "*/10 * * * *", "missed": "all", "times": 4}`, "many": `{"every": "1s", "missed": "all"}`,
			"at": `{"at": "2000-01-01T00:15:00Z"}`,
		}
		run := func(d time.Duration) {
			s := w.source()
			var stops []func()
			for name, c := range configs {
				stops = append(stops, w.start(s, name, c))
			}
			time.Sleep(d)
			for _, stop := range stops {
				stop()
			}
		}
		run(10*time.Minute + 500*time.Millisecond)
		time.Sleep(25 * time.Minute)
		run(time.Second)
		run(5 * time.Minute)
		w.want("default", "2000-01-01T00:10:00Z", "2000-01-01T00:30:00Z", "2000-01-01T00:40:00Z")
		w.want("skip", "2000-01-01T00:10:00Z", "2000-01-01T00:40:00Z")
		w.want("all", "2000-01-01T00:10:00Z", "2000-01-01T00:20:00Z", "2000-01-01T00:30:00Z", "2000-01-01T00:40:00Z")
		w.want("at", "2000-01-01T00:15:00Z")
		if es := w.events("default"); !strings.Contains(string(es[1].Data), `"missed":1`) {
			t.Errorf("it does not say what was missed: %s", es[1].Data)
		}
		// 600 came while it ran and one was stored ahead, then the newest 1000 of 1500,
		// then 301 more and again one.
		if got := len(w.dues("many")); got != 600+1+1000+301 {
			t.Errorf("%d firings of many", got)
		}
	})
}

// What is due soon is stored ahead, one firing at a time, and seen by nobody.
func TestWhatIsDueSoonIsStoredAhead(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.source()
		coming := func(name string, want bool) {
			t.Helper()
			synctest.Wait()
			if got, err := w.inbox.Coming(t.Context(), rouse.Ref{Namespace: "default", Name: name}); err != nil || got != want {
				t.Errorf("%s at %v: stored ahead is %v, want %v: %v", name, w.now(), got, want, err)
			}
		}
		state := func(name string) (s state) {
			t.Helper()
			b, err := w.State(t.Context(), rouse.Ref{Namespace: "default", Name: name})
			if err != nil || json.Unmarshal(b, &s) != nil {
				t.Errorf("%q %v", b, err)
			}
			return s
		}
		stops := []func(){
			w.start(s, "minute", `{"cron": "* * * * *"}`), w.start(s, "second", `{"every": "1s"}`), w.start(s, "often", `{"every": "100ms"}`),
			w.start(s, "twice", `{"cron": "* * * * *", "times": 2}`),
		}
		time.Sleep(ahead + time.Second/2) // 00:00:03.5
		coming("minute", false)
		coming("second", true) // and only the next one
		coming("often", false)
		if got := state("second"); got.Fired != 4 || !got.Last.Equal(time.Date(2000, 1, 1, 0, 0, 4, 0, time.UTC)) {
			t.Errorf("%+v", got)
		}
		time.Sleep(time.Minute - 2*ahead - time.Second/2 - time.Millisecond) // 00:00:56.999
		coming("minute", false)
		time.Sleep(2 * time.Millisecond)
		coming("minute", true)
		w.want("minute")
		time.Sleep(ahead) // 00:01:00.001
		coming("minute", false)
		w.want("minute", "2000-01-01T00:01:00Z")
		stops[2]()
		time.Sleep(2 * time.Minute)
		w.want("twice", "2000-01-01T00:01:00Z", "2000-01-01T00:02:00Z")
		for _, stop := range stops {
			stop()
		}
		if n := len(w.dues("second")); n != 180 {
			t.Errorf("each second it fired %d times", n)
		}
		if n := len(w.dues("often")); n != 600 {
			t.Errorf("each tenth of a second it fired %d times", n)
		}
	})
}

// What is due while a trigger is paused never fires; the count of what fired
// before goes on.
func TestPausing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.source()
		run := func(config string, d time.Duration) {
			stop := w.start(s, "a", config)
			time.Sleep(d)
			stop()
		}
		const going, paused = `{"every": "10m", "times": 3, "missed": "all"}`, `{"every": "10m", "times": 3, "missed": "all", "paused": true}`
		run(going, 11*time.Minute) // 00:11
		run(paused, 10*time.Minute)
		run(paused, 10*time.Minute) // it may be started anew meanwhile: 00:31
		run(going, time.Minute)
		w.want("a", "2000-01-01T00:10:00Z")
		run(going, time.Hour)
		w.want("a", "2000-01-01T00:10:00Z", "2000-01-01T00:40:00Z", "2000-01-01T00:50:00Z")
		run(`{"cron": "* * * * *", "paused": true}`, time.Hour)
		w.want("a", "2000-01-01T00:10:00Z", "2000-01-01T00:40:00Z", "2000-01-01T00:50:00Z")
	})
}

func TestAClockThatIsSet(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.source()
		stop := w.start(s, "a", `{"cron": "*/10 * * * *"}`)
		time.Sleep(10*time.Minute + time.Second)
		w.set(-30*time.Minute, false) // it is 23:40 again
		time.Sleep(35 * time.Minute)  // 00:15
		w.want("a", "2000-01-01T00:10:00Z")
		stop()
		stop = w.start(s, "a", `{"cron": "*/10 * * * *"}`) // also where it starts anew before its last time
		time.Sleep(6 * time.Minute)                        // 00:21
		w.set(3*time.Hour, false)                          // 03:51, and what was passed over fires once
		time.Sleep(2 * time.Second)
		stop()
		w.want("a", "2000-01-01T00:10:00Z", "2000-01-01T00:20:00Z", "2000-01-01T03:50:00Z")
	})
}

func TestAStoreThatIsDownIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.source()
		stop := w.start(s, "a", `{"at": "2000-01-01T00:01:00Z"}`)
		other := w.start(s, "b", `{"at": "2000-01-01T00:01:00Z"}`)
		time.Sleep(time.Second)
		w.set(0, true)
		time.Sleep(5 * time.Minute)
		other() // returns though it is being tried
		w.want("a")
		w.set(0, false)
		time.Sleep(10 * time.Second)
		stop()
		w.want("a", "2000-01-01T00:01:00Z")
		w.want("b")
		again := w.start(s, "b", `{"at": "2000-01-01T00:01:00Z"}`)
		time.Sleep(time.Second)
		again()
		w.want("b", "2000-01-01T00:01:00Z")
	})
}

func TestANewRhythmBeginsAnew(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.source()
		w.start(s, "a", `{"cron": "0 * * * *"}`)()
		time.Sleep(3 * time.Hour)
		stop := w.start(s, "a", `{"cron": "*/30 * * * *"}`)
		time.Sleep(30*time.Minute + time.Second)
		stop()
		w.want("a", "2000-01-01T03:30:00Z")
		stop = w.start(s, "a", `{"cron": "*/30 * * * *", "data": 1}`) // is no new rhythm
		time.Sleep(30 * time.Minute)
		stop()
		w.want("a", "2000-01-01T03:30:00Z", "2000-01-01T04:00:00Z")
	})
}

// A trigger that was made and not started before the platform ended began when
// it was made.
func TestATriggerBeginsWhenItIsMade(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		created := time.Now()
		time.Sleep(time.Hour)
		stop, err := w.source().Start(event.Trigger{Ref: rouse.Ref{Namespace: "default", Name: "a"}, Config: json.RawMessage(`{"at": "2000-01-01T00:30:00Z"}`), Created: created})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		stop()
		w.want("a", "2000-01-01T00:30:00Z")
	})
}

func TestManyStopWhileTheyFire(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s := w.source()
		var wait sync.WaitGroup
		for i := range 50 {
			stop := w.start(s, fmt.Sprint(i), `{"every": "100ms"}`)
			wait.Go(func() {
				time.Sleep(time.Duration(i) * 20 * time.Millisecond)
				stop()
				stop()
			})
		}
		wait.Wait()
		for i := range 50 {
			n := len(w.dues(fmt.Sprint(i)))
			if want := i / 5; n < want-1 || n > want {
				t.Errorf("%d fired %d times within %d ms", i, n, i*20)
			}
		}
	}) // and the bubble sees that no goroutine is left
}

func TestDaylightSaving(t *testing.T) {
	for _, c := range []struct{ name, cron, zone, after, want string }{
		{"skipped", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z 2026-03-30T00:30:00Z"},
		{"skipped at its end", "0 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z 2026-03-30T01:00:00Z"},
		{"two skipped are one", "15,45 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z 2026-03-30T00:15:00Z"},
		{"doubled", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z 2026-10-26T01:30:00Z"},
		{"between the two", "30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-26T01:30:00Z"},
		{"after a doubled hour", "0 3 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-25T02:00:00Z"},
		{"hours", "0 1-4 * * *", "America/New_York", "2026-03-08T05:30:00Z", "2026-03-08T06:00:00Z 2026-03-08T07:00:00Z 2026-03-08T08:00:00Z"},
		{"every hour, doubled", "30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z 2026-10-25T01:30:00Z 2026-10-25T02:30:00Z"},
		{"every hour, skipped", "30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T00:30:00Z 2026-03-29T01:30:00Z"},
		{"half an hour skipped", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-03T15:30:00Z 2026-10-04T15:15:00Z"},
		{"half an hour doubled", "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", "2026-04-04T14:45:00Z 2026-04-05T15:15:00Z"},
		{"skipped midnight", "0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06T04:00:00Z 2026-09-07T03:00:00Z"},
		{"leap day", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z 2032-02-29T00:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			zone, err := time.LoadLocation(c.zone)
			if err != nil {
				t.Fatal(err)
			}
			r, err := readCron(c.cron, zone)
			if err != nil {
				t.Fatal(err)
			}
			at, _ := time.Parse(time.RFC3339, c.after)
			for want := range strings.FieldsSeq(c.want) {
				if at = r.after(at); at.UTC().Format(time.RFC3339) != want {
					t.Fatalf("%s, want %s", at.UTC().Format(time.RFC3339), want)
				}
			}
		})
	}
}

// Whatever the moment, the next firing is after it, and there is none between.
func TestNoFiringIsPassedOver(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := readCron("17 1-3,23 * * *", zone)
		if err != nil {
			t.Fatal(err)
		}
		var all []time.Time
		end := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		for at := r.after(end.AddDate(-1, 0, 0)); at.Before(end); at = r.after(at) {
			all = append(all, at)
		}
		if n := len(all); n < 4*365-2 || n > 4*365 {
			t.Errorf("%s: %d firings a year", name, n)
		}
		i := 0
		for at := all[0]; at.Before(all[len(all)-1]); at = at.Add(7 * time.Minute) {
			for !all[i].After(at) {
				i++
			}
			if got := r.after(at); !got.Equal(all[i]) {
				t.Fatalf("%s: after %v comes %v, and then %v", name, at, got, all[i])
			}
		}
	}
}

func TestLongAwayIsNotLongWork(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []string{`{"cron": "* * * * * *", "missed": "all"}`, `{"every": "1s", "missed": "all"}`, `{"cron": "@daily", "missed": "all"}`} {
		table, err := read(json.RawMessage(c))
		if err != nil {
			t.Fatal(err)
		}
		begun := now.AddDate(-5, 0, 0)
		fs, after, dropped := table.due(state{Begun: begun, Last: begun}, now)
		if len(fs) != maxMissed || !fs[len(fs)-1].due.Equal(now) || !after.Last.Equal(now) || dropped == 0 {
			t.Errorf("%s: %d firings up to %v, %d dropped", c, len(fs), after.Last, dropped)
		}
	}
}

func TestCheckNamesTheField(t *testing.T) {
	for config, field := range map[string]string{
		`{}`: "cron", `{"cron": "61 * * * *"}`: "cron", `{"cron": "* * *"}`: "cron", `{"cron": "0 0 30 2 *"}`: "cron",
		`{"cron": "TZ=UTC"}`: "cron", `{"cron": "@every 1s"}`: "cron", `{"cron": "* * * * *", "every": "1s"}`: "cron",
		`{"every": "1ms"}`: "every", `{"every": "soon"}`: "every", `{"every": -5}`: "every", `{"at": "noon"}`: "at",
		`{"every": "1s", "zone": "Mars/Base"}`: "zone", `{"every": "1s", "zone": "Local"}`: "zone", `{"every": "1s", "missed": "some"}`: "missed",
		`{"every": "1s", "times": -1}`: "times", `{"every": "1s", "times": "x"}`: "times", `{"every": "1s", "from": "x"}`: "from",
		`{"every": "1s", "from": "2026-01-02", "until": "2026-01-02"}`: "until", `{"evry": "1s"}`: "evry", `[]`: "", `{"Every": "1s"}`: "Every",
	} {
		_, err := New(Config{}).Check(json.RawMessage(config))
		e, ok := errors.AsType[*rouse.Error](err)
		if !ok || e.Kind != rouse.Invalid || e.On != field {
			t.Errorf("%s: %v", config, err)
		}
	}
	got, err := New(Config{}).Check(json.RawMessage(`{"every": "90s", "data": {"a": "<b>"}}`))
	if want := `{"every":90000,"zone":"UTC","missed":"once","data":{"a":"<b>"}}`; err != nil || string(got) != want {
		t.Errorf("%s %v", got, err)
	}
	if again, err := New(Config{}).Check(got); err != nil || string(again) != string(got) {
		t.Errorf("checked twice it is %s: %v", again, err)
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"cron": "0 3 * * *"}`, `{"cron":"TZ="}`, `{"cron": "@daily", "zone": "Asia/Tokyo"}`, `{"cron": "*/0 * * * *"}`, `{"every": 1e300}`, `{"at":"2026-01-01"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, config string) {
		once, err := New(Config{}).Check(json.RawMessage(config))
		if err != nil {
			return
		}
		if twice, err := New(Config{}).Check(once); err != nil || string(once) != string(twice) {
			t.Errorf("%s, and then %s: %v", once, twice, err)
		}
	})
}
