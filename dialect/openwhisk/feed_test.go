package openwhisk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/auth"
	"github.com/rouse-run/rouse/blob/file"
	"github.com/rouse-run/rouse/bundle"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/invoke"
	"github.com/rouse-run/rouse/meta"
	"github.com/rouse-run/rouse/queue"
	"github.com/rouse-run/rouse/registry"
	engine "github.com/rouse-run/rouse/rule"
	"github.com/rouse-run/rouse/rule/inbox"
	"github.com/rouse-run/rouse/store/sqlite"
	"github.com/rouse-run/rouse/stream"
	"github.com/rouse-run/rouse/trigger/manual"
	"github.com/rouse-run/rouse/trigger/schedule"
	"github.com/rouse-run/rouse/trigger/webhook"
)

// A probe is an action that keeps what it is given, and when.
type probe struct {
	mu  sync.Mutex
	ran map[string][]string // guarded by mu; by the action's name

	gate chan struct{} // where not nil, actions end when it can be received from
}

// Handle implements rouse.Handler.
func (p *probe) Handle(_ context.Context, f rouse.Function, in rouse.Invocation, _ func(rouse.Line)) (rouse.Answer, error) {
	if p.gate != nil {
		<-p.gate
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ran[f.Name] = append(p.ran[f.Name], fmt.Sprintf("%s %s", time.Now().UTC().Format(time.TimeOnly), in.Event.Data))
	return rouse.Answer{Status: rouse.StatusAnswered, Result: []byte("{}"), Size: 2}, nil
}

// seen returns what an action was given since the last call.
func (p *probe) seen(name string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	ran := p.ran[name]
	delete(p.ran, name)
	return ran
}

// A platform is a Door over a real store, real rules and real sources of events;
// it has no sandboxes: its only action is a probe.
type platform struct {
	*Door
	probe
	t     testing.TB
	rules *engine.Engine
	keys  map[rouse.Namespace]rouse.AccessKey
	stop  func()
}

func newPlatform(t testing.TB) *platform {
	t.Helper()
	p := &platform{t: t, probe: probe{ran: map[string][]string{}}, keys: map[rouse.Namespace]rouse.AccessKey{}}
	ctx, dir := t.Context(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	store, err := sqlite.Open(ctx, sqlite.Config{Dir: dir})
	must(err)
	keys := func(name string) rouse.Keys {
		k, err := store.Keys(ctx, name)
		must(err)
		return k
	}
	blobs, err := file.Open(filepath.Join(dir, "blobs"))
	must(err)
	cache, err := bundle.OpenCache(bundle.CacheConfig{Dir: filepath.Join(dir, "code"), Blobs: blobs})
	must(err)
	tokens, err := auth.Open(dir)
	must(err)
	documents := meta.New(keys("meta"))
	subjects, err := auth.NewSubjects(ctx, documents, tokens)
	must(err)
	logger := slog.New(slog.DiscardHandler)
	p.Door = New(Config{URL: "https://rouse.example.com/"})
	handlers := p.Handlers()
	handlers["probe"] = &p.probe
	functions := registry.New(registry.Config{Meta: documents, Blobs: blobs, Cache: cache, Contracts: Contracts(), Handlers: handlers, Log: logger})
	recorder := invoke.NewRecorder(store.Records(), 0, logger)
	invoker := invoke.New(invoke.Config{Registry: functions, Handlers: handlers, Recorder: recorder, Log: logger})
	queues, streams := queue.New(queue.Config{Keys: keys("queue")}), stream.New(stream.Config{Keys: keys("stream")})
	dispatcher := invoke.NewDispatcher(invoke.DispatcherConfig{Queue: queues.Plain(), Registry: functions, Invoker: invoker, Settle: recorder.Settle, Log: logger})
	p.rules = engine.New(engine.Config{Meta: documents, Keys: keys("rule"), Queue: queues.Plain(), SendAll: queues.SendAll, Inbox: inbox.New(inbox.Config{Keys: keys("event")}),
		Data: data.Services{Streams: streams}, Registry: functions, Invoker: invoker, Settle: recorder.Settle, Log: logger})
	p.rules.Use(schedule.New(schedule.Config{Emitter: p.rules}), manual.Source{}, webhook.NewGitHub(webhook.Config{Emitter: p.rules}))
	must(p.rules.Load(ctx))
	p.Use(Services{Services: rouse.Services{Registry: functions, Invoker: invoker, Acceptor: dispatcher, Records: recorder, Tail: recorder, Authenticator: tokens,
		Node: func() rouse.Node { return rouse.Node{} }}, Direct: invoker, Meta: documents, Blobs: blobs, Subjects: subjects, Rules: p.rules, Control: p.rules, Streams: streams})
	for _, ns := range []rouse.Namespace{rouse.DefaultNamespace, "guest"} {
		s, err := subjects.SetSubject(ctx, rouse.Subject{Namespace: ns}, false)
		must(err)
		p.keys[ns] = s.Key
	}
	running, cancel := context.WithCancel(context.Background())
	var runs sync.WaitGroup
	for _, run := range []func(context.Context) error{p.rules.Run, dispatcher.Run, recorder.Run} {
		runs.Go(func() {
			if err := run(running); err != nil {
				t.Error(err)
			}
		})
	}
	p.stop = func() {
		cancel()
		runs.Wait()
		if err := errors.Join(streams.Close(), queues.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	}
	return p
}

// bubble runs a test where the time is 2000-01-01T00:00:00Z at first and passes
// when all wait.
func bubble(t *testing.T, f func(t *testing.T, p *platform)) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer p.stop()
		f(t, p)
	})
}

// ask asks the Door as the owner of a namespace does.
func (p *platform) ask(ns rouse.Namespace, method, path string, body any) (int, string) {
	p.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(p.t.Context(), method, "/api/v1/namespaces/"+path, bytes.NewReader(b))
	r.SetBasicAuth(p.keys[ns].ID, p.keys[ns].Secret)
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func (p *platform) must(ns rouse.Namespace, method, path string, body any) string {
	p.t.Helper()
	status, said := p.ask(ns, method, path, body)
	if status/100 != 2 {
		p.t.Fatalf("%s %s: %d %s", method, path, status, said)
	}
	return said
}

type fields = map[string]any

// feed tells a feed of the system of a trigger's life.
func (p *platform) feed(feed, trigger, life string, given fields) (int, string) {
	p.t.Helper()
	given["lifecycleEvent"], given["triggerName"], given["authKey"] = life, "/_/"+trigger, "unused"
	return p.ask(rouse.DefaultNamespace, "POST", "whisk.system/actions/"+feed+"?blocking=true&result=true", given)
}

// fed makes a trigger that a feed makes fire, and a rule from it to a probe.
func (p *platform) fed(trigger, feed string, given fields) {
	p.t.Helper()
	p.must(rouse.DefaultNamespace, "PUT", "_/triggers/"+trigger, fields{"annotations": []fields{{"key": "feed", "value": "/whisk.system/" + feed}}})
	if status, said := p.feed(feed, trigger, "CREATE", given); status != 200 || said != `{"status":"success"}` {
		p.t.Fatalf("%s: %d %s", trigger, status, said)
	}
	p.lead(trigger)
}

// lead makes a rule from a trigger to a probe of its name.
func (p *platform) lead(trigger string) {
	p.t.Helper()
	p.probes("probe-" + trigger)
	p.must(rouse.DefaultNamespace, "PUT", "_/rules/rule-"+trigger, fields{"trigger": "/_/" + trigger, "action": "/_/probe-" + trigger})
}

// probes makes a probe of a name.
func (p *platform) probes(name string) {
	p.t.Helper()
	f := rouse.Function{Ref: rouse.Ref{Namespace: rouse.DefaultNamespace, Name: name}, Contract: "probe", Runtime: "probe", Handler: "probe"}
	if _, err := p.Registry.Deploy(p.t.Context(), f, nil, nil); err != nil {
		p.t.Fatal(err)
	}
}

// want compares what the action of a trigger was given since the last call.
func (p *platform) want(trigger, what string, ran ...string) {
	p.t.Helper()
	synctest.Wait()
	if got := p.seen("probe-" + trigger); !slices.Equal(got, ran) {
		p.t.Errorf("%s, %s: the action ran %q, want %q", trigger, what, got, ran)
	}
}

func TestAlarmsFire(t *testing.T) {
	cases := map[string]struct {
		feed  string
		given fields
		ran   []string
	}{
		"cron":    {"alarms/alarm", fields{"cron": "*/2 * * * *", "trigger_payload": fields{"name": "Odin"}}, []string{`00:02:00 {"name":"Odin"}`, `00:04:00 {"name":"Odin"}`}},
		"seconds": {"alarms/alarm", fields{"cron": "30 */3 * * * *", "trigger_payload": "Thor"}, []string{`00:00:30 {"payload":"Thor"}`, `00:03:30 {"payload":"Thor"}`}},
		"none":    {"alarms/alarm", fields{"cron": "4 * * * *"}, []string{`00:04:00 {"payload":""}`}}, // as the package has it bound
		"zone":    {"alarms/alarm", fields{"cron": "3 1 * * *", "timezone": "Europe/Berlin", "trigger_payload": []int{1}}, []string{`00:03:00 {"payload":[1]}`}},
		"times":   {"alarms/alarm", fields{"cron": "* * * * *", "maxTriggers": 2, "strict": true, "trigger_payload": fields{}}, []string{`00:01:00 {}`, `00:02:00 {}`}},
		"endless": {"alarms/alarm", fields{"cron": "4 * * * *", "maxTriggers": -1, "trigger_payload": fields{}}, []string{`00:04:00 {}`}},
		"dates":   {"alarms/alarm", fields{"cron": "* * * * *", "startDate": "2000-01-01T00:02:30Z", "stopDate": 946684800000 + 4*60000, "trigger_payload": fields{}}, []string{`00:03:00 {}`}},
		"minutes": {"alarms/interval", fields{"minutes": 2, "trigger_payload": fields{}}, []string{`00:00:30 {}`, `00:02:30 {}`, `00:04:30 {}`}},
		"from":    {"alarms/interval", fields{"minutes": "2", "startDate": "2000-01-01T00:01:00.000Z", "stopDate": "2000-01-01T00:05:00Z", "trigger_payload": fields{}}, []string{`00:01:00 {}`, `00:03:00 {}`}},
		"once":    {"alarms/once", fields{"date": 946684800000 + 90000, "trigger_payload": fields{"a": 1}}, []string{`00:01:30 {"a":1}`}},
	}
	bubble(t, func(t *testing.T, p *platform) {
		for name, c := range cases {
			p.fed(name, c.feed, c.given)
		}
		time.Sleep(4*time.Minute + 59*time.Second)
		for name, c := range cases {
			p.want(name, "until it was deleted", c.ran...)
			if status, said := p.feed(c.feed, name, "DELETE", fields{}); status != 200 {
				t.Errorf("%d %s", status, said)
			}
			p.must(rouse.DefaultNamespace, "DELETE", "_/triggers/"+name, nil)
		}
		time.Sleep(4 * time.Minute)
		for name := range cases {
			p.want(name, "after the end")
		}
	})
}

// Sunday is the seventh day of a week as well as the first.
func TestAnAlarmOnSundays(t *testing.T) {
	bubble(t, func(t *testing.T, p *platform) { // it is Saturday
		p.fed("sunday", "alarms/alarm", fields{"cron": "0 0 * * 7"})
		trigger, err := p.Rules.Trigger(t.Context(), rouse.Ref{Namespace: rouse.DefaultNamespace, Name: "sunday"})
		if err != nil {
			t.Fatal(err)
		}
		at, known, err := p.Control.Next(t.Context(), trigger)
		if want := time.Date(2000, 1, 2, 0, 0, 0, 0, time.UTC); err != nil || !known || !at.Equal(want) {
			t.Errorf("it fires at %v, %v %v, not %v", at, known, err, want)
		}
	})
}

func TestTheLifeOfAnAlarm(t *testing.T) {
	bubble(t, func(t *testing.T, p *platform) {
		const feed = "alarms/alarm"
		read := func(want string) {
			t.Helper()
			if status, said := p.feed(feed, "t", "READ", fields{}); status != 200 || said != want {
				t.Errorf("%d %s, want %s", status, said, want)
			}
		}
		do := func(life string, given fields) {
			t.Helper()
			if status, said := p.feed(feed, "t", life, given); status != 200 {
				t.Errorf("%s: %d %s", life, status, said)
			}
		}
		const config = `{"config":{"cron":"* * * * *","maxTriggers":3,"name":"t","namespace":"default","payload":{"a":1},"timezone":"UTC"},`
		p.fed("t", feed, fields{"cron": "* * * * *", "maxTriggers": 3, "timezone": "UTC", "trigger_payload": fields{"a": 1}})
		read(config + `"status":{"active":true,"dateChanged":946684800000,"dateChangedISO":"2000-01-01T00:00:00Z"}}`)
		time.Sleep(time.Minute)
		p.want("t", "before", `00:01:00 {"a":1}`)
		do("PAUSE", fields{})
		read(config + `"status":{"active":false,"dateChanged":946684860000,"dateChangedISO":"2000-01-01T00:01:00Z","reason":{"kind":"USER","message":"Paused by the lifecycle event PAUSE"}}}`)
		time.Sleep(4*time.Minute + 30*time.Second)
		p.want("t", "paused")
		do("UNPAUSE", fields{})
		time.Sleep(time.Minute)
		p.want("t", "unpaused, and nothing is made up for", `00:06:00 {"a":1}`)
		// The trigger's own parameters stand behind the payload; what a client fires has its own.
		p.must(rouse.DefaultNamespace, "POST", "_/triggers/t", fields{"b": 2})
		synctest.Wait()
		if ran := p.seen("probe-t"); len(ran) != 1 || !strings.Contains(ran[0], `"b":2`) || strings.Contains(ran[0], `"a":1`) {
			t.Errorf("fired by hand it ran %q", ran)
		}
		do("UPDATE", fields{"trigger_payload": "new", "cron": "*/10 * * * *", "startDate": "2000-01-01T00:15:00Z"})
		read(`{"config":{"cron":"*/10 * * * *","maxTriggers":3,"name":"t","namespace":"default","payload":{"payload":"new"},"startDate":"2000-01-01T00:15:00Z","timezone":"UTC"},` +
			`"status":{"active":true,"dateChanged":946685190000,"dateChangedISO":"2000-01-01T00:06:30Z"}}`)
		time.Sleep(14 * time.Minute)
		p.want("t", "changed", `00:20:00 {"payload":"new"}`)
		do("DELETE", fields{})
		time.Sleep(11 * time.Minute)
		p.want("t", "deleted")
		do("DELETE", fields{}) // again
		for life, want := range map[string]string{"READ": "is fed by no feed", "UPDATE": "is fed by no feed", "RESUME": "is fed by no feed"} {
			if status, said := p.feed(feed, "t", life, fields{}); status != 502 || !strings.Contains(said, want) {
				t.Errorf("%s of what is deleted: %d %s", life, status, said)
			}
		}
		p.must(rouse.DefaultNamespace, "POST", "_/triggers/t", fields{})
		synctest.Wait()
		if ran := p.seen("probe-t"); len(ran) != 1 {
			t.Errorf("a trigger that is no feed's any more ran %q", ran)
		}
	})
}

// An alarm that fires no more says why.
func TestAlarmsThatHaveEnded(t *testing.T) {
	bubble(t, func(t *testing.T, p *platform) {
		ends := map[string]struct {
			feed  string
			given fields
			why   string
		}{
			"times":    {"alarms/alarm", fields{"cron": "* * * * *", "maxTriggers": 2, "trigger_payload": fields{}}, "Automatically disabled after reaching max triggers"},
			"counted":  {"alarms/interval", fields{"minutes": 1, "maxTriggers": 3, "trigger_payload": fields{}}, "Automatically disabled after reaching max triggers"},
			"cron":     {"alarms/alarm", fields{"cron": "*/2 * * * *", "stopDate": "2000-01-01T00:03:59Z", "trigger_payload": fields{}}, "Automatically disabled after firing last scheduled cron trigger"},
			"interval": {"alarms/interval", fields{"minutes": 2, "startDate": "2000-01-01T00:01:00Z", "stopDate": "2000-01-01T00:02:59Z", "trigger_payload": fields{}}, "Automatically disabled after firing last scheduled interval trigger"},
			"once":     {"alarms/once", fields{"date": "2000-01-01T00:02:00Z", "trigger_payload": fields{}}, "Automatically disabled after firing once"},
			"endless":  {"alarms/alarm", fields{"cron": "* * * * *", "trigger_payload": fields{}}, ""},
			"paused":   {"alarms/alarm", fields{"cron": "* * * * *", "maxTriggers": 9, "trigger_payload": fields{}}, ""},
		}
		read := func(name string) (s struct {
			Active bool
			Reason struct{ Kind, Message string }
		}) {
			t.Helper()
			var seen struct{ Status any }
			seen.Status = &s
			if status, said := p.feed(ends[name].feed, name, "READ", fields{}); status != 200 || json.Unmarshal([]byte(said), &seen) != nil {
				t.Fatalf("%d %s", status, said)
			}
			return s
		}
		for name, c := range ends {
			p.fed(name, c.feed, c.given)
		}
		p.feed("alarms/alarm", "paused", "PAUSE", fields{})
		time.Sleep(61 * time.Second)
		for name := range ends {
			if s := read(name); s.Active != (name != "interval" && name != "paused") {
				t.Errorf("%s before its end: %+v", name, s)
			}
		}
		time.Sleep(2 * time.Minute)
		for name, c := range ends {
			switch s := read(name); {
			case name == "paused":
				if s.Active || s.Reason.Kind != "USER" {
					t.Errorf("%s: %+v", name, s)
				}
			case s.Active != (c.why == "") || s.Reason.Message != c.why || c.why != "" && s.Reason.Kind != "AUTO":
				t.Errorf("%s: %+v", name, s)
			}
		}
	})
}

func TestATriggerIsDeletedAfterItFired(t *testing.T) {
	for deletion, rules := range map[string]int{"false": 1, "true": 1, "rules": 0} {
		t.Run(deletion, func(t *testing.T) {
			bubble(t, func(t *testing.T, p *platform) {
				p.fed("t", "alarms/once", fields{"date": "2000-01-01T00:01:00Z", "deleteAfterFire": deletion, "trigger_payload": fields{}})
				time.Sleep(30 * time.Second)
				p.must(rouse.DefaultNamespace, "GET", "_/triggers/t", nil)
				if status, said := p.feed("alarms/once", "t", "EXPIRE", fields{}); status != 502 {
					t.Errorf("it can be ended before: %d %s", status, said)
				}
				time.Sleep(time.Minute)
				p.want("t", "at the date", "00:01:00 {}")
				want := 404
				if deletion == "false" {
					want = 200
				}
				if status, said := p.ask(rouse.DefaultNamespace, "GET", "_/triggers/t", nil); status != want {
					t.Errorf("%d %s", status, said)
				}
				var list []item
				if err := json.Unmarshal([]byte(p.must(rouse.DefaultNamespace, "GET", "_/rules", nil)), &list); err != nil || len(list) != rules {
					t.Errorf("%v rules are left, %v", list, err)
				}
				_, said := p.feed("alarms/once", "t", "READ", fields{})
				if deletion == "false" != strings.Contains(said, `"active":false`) {
					t.Errorf("read is %s", said)
				}
			})
		})
	}
	t.Run("without a rule", func(t *testing.T) {
		bubble(t, func(t *testing.T, p *platform) {
			p.fed("t", "alarms/once", fields{"date": "2000-01-01T00:01:00Z", "deleteAfterFire": true})
			p.must(rouse.DefaultNamespace, "DELETE", "_/rules/rule-t", nil)
			time.Sleep(2 * time.Minute)
			p.want("t", "without a rule")
			if status, said := p.ask(rouse.DefaultNamespace, "GET", "_/triggers/t", nil); status != 404 {
				t.Errorf("%d %s", status, said)
			}
		})
	})
}

func TestWhatAlarmsRefuse(t *testing.T) {
	bubble(t, func(t *testing.T, p *platform) {
		p.must(rouse.DefaultNamespace, "PUT", "_/triggers/t", fields{})
		const date = "2000-01-02T00:00:00Z"
		for _, c := range []struct {
			feed  string
			given fields
			text  string
		}{
			{"alarm", fields{}, "alarms trigger feed is missing the cron parameter"},
			{"alarm", fields{"cron": "x"}, "cron pattern 'x' is not valid"},
			{"alarm", fields{"cron": "* * *"}, "cron pattern '* * *' is not valid"},
			{"alarm", fields{"cron": "* * * * *", "timezone": "Nowhere"}, "Invalid timezone."},
			{"alarm", fields{"cron": "* * * * *", "startDate": "x"}, "startDate parameter 'x' is not a valid Date"},
			{"alarm", fields{"cron": "* * * * *", "startDate": "1999-01-01"}, "startDate parameter '1999-01-01' must be in the future"},
			{"alarm", fields{"cron": "* * * * *", "stopDate": 1}, "stopDate parameter '1' must be in the future"},
			{"alarm", fields{"cron": "* * * * *", "startDate": date, "stopDate": date}, "stopDate parameter '" + date + "' must be greater than the startDate parameter '" + date + "'"},
			{"alarm", fields{"cron": "* * * * *", "stopDate": date, "maxTriggers": 1}, "maxTriggers is not allowed when the stopDate parameter is specified"},
			{"alarm", fields{"cron": "0 12 * * *", "stopDate": "2000-01-01T11:59:00Z"}, "the first scheduled trigger fire is not until after the stop date"},
			{"alarm", fields{"cron": "0 12 * * *", "startDate": "2000-01-01T12:01:00Z", "stopDate": date}, "the first scheduled trigger fire is not until after the stop date"},
			{"alarm", fields{"cron": "0 12 * * *", "timezone": "Asia/Tokyo", "stopDate": "2000-01-01T02:59:00Z"}, "the first scheduled trigger fire is not until after the stop date"},
			{"alarm", fields{"cron": "x", "stopDate": date}, "cron pattern 'x' is not valid"},
			{"alarm", fields{"cron": "* * * * *", "maxTriggers": "x"}, "the maxTriggers parameter must be an integer"},
			{"interval", fields{}, "interval trigger feed is missing the minutes parameter"},
			{"interval", fields{"minutes": 1.5}, "the minutes parameter must be an integer"},
			{"interval", fields{"minutes": "soon"}, "the minutes parameter must be an integer"},
			{"interval", fields{"minutes": -1}, "the minutes parameter must be an integer greater than zero"},
			{"interval", fields{"minutes": 1, "stopDate": date, "maxTriggers": 1}, "maxTriggers is not supported for the interval trigger feed"},
			{"once", fields{}, "alarms once trigger feed is missing the date parameter"},
			{"once", fields{"date": "1999-12-31"}, "date parameter '1999-12-31' must be in the future"},
			{"once", fields{"date": date, "deleteAfterFire": "x"}, "deleteAfterFire parameter must be one of [false, true, rules]."},
		} {
			status, said := p.feed("alarms/"+c.feed, "t", "CREATE", c.given)
			var e struct{ Error string }
			if err := json.Unmarshal([]byte(said), &e); status != 502 || e.Error != c.text || err != nil {
				t.Errorf("%v: %d %s", c.given, status, said)
			}
			if _, _, there, err := p.feeds.get(t.Context(), rouse.DefaultNamespace, "t"); there || err != nil {
				t.Fatalf("%v: something is kept of it, %v", c.given, err)
			}
		}
		if tr, err := p.Rules.Trigger(t.Context(), rouse.Ref{Namespace: rouse.DefaultNamespace, Name: "t"}); tr.Kind != kindManual || err != nil {
			t.Errorf("%+v %v", tr, err)
		}
		cron := func() fields { return fields{"cron": "* * * * *"} }
		if status, said := p.feed("alarms/alarm", "none", "CREATE", cron()); status != 502 || !strings.Contains(said, "trigger /default/none does not exist") {
			t.Errorf("no trigger: %d %s", status, said)
		}
		for name, want := range map[string]string{"/guest/t": "not authorized", "": textNoTriggerName, "/_/a/b": "not authorized", "/_/\\": "illegal"} {
			given := cron()
			given["triggerName"] = name
			if status, said := p.ask(rouse.DefaultNamespace, "POST", "whisk.system/actions/alarms/alarm?blocking=true", given); status != 502 || !strings.Contains(said, want) {
				t.Errorf("%q: %d %s", name, status, said)
			}
		}
		// One that is there stays as it is.
		p.fed("u", "alarms/alarm", fields{"cron": "1 * * * *", "startDate": "2000-01-03", "stopDate": "2000-01-04"})
		for life, c := range map[string]struct {
			given fields
			text  string
		}{
			"UPDATE": {fields{}, textNothingNew}, "DANCE": {fields{}, textNoLifecycle}, "EXPIRE": {fields{}, textNoLifecycle},
		} {
			if status, said := p.feed("alarms/alarm", "u", life, c.given); status != 502 || !strings.Contains(said, c.text) {
				t.Errorf("%s: %d %s", life, status, said)
			}
		}
		for _, given := range []fields{{"cron": "x"}, {"timezone": "Nowhere"}, {"startDate": "2000-01-05"}, {"stopDate": "2000-01-02"}} {
			if status, said := p.feed("alarms/alarm", "u", "UPDATE", given); status != 502 {
				t.Errorf("%v: %d %s", given, status, said)
			}
		}
		if _, said := p.feed("alarms/alarm", "u", "READ", fields{}); !strings.Contains(said, `"cron":"1 * * * *"`) || !strings.Contains(said, `"stopDate":"2000-01-04"`) {
			t.Errorf("%s", said)
		}
		if status, said := p.feed("github/webhook", "u", "DELETE", fields{}); status != 502 || !strings.Contains(said, "another feed") {
			t.Errorf("%d %s", status, said)
		}
	})
}

// Events of native triggers come to actions with the trigger's parameters.
func TestWhatActionsGetOfEvents(t *testing.T) {
	bubble(t, func(t *testing.T, p *platform) {
		ref := rouse.Ref{Namespace: rouse.DefaultNamespace, Name: "t"}
		p.must(rouse.DefaultNamespace, "PUT", "_/triggers/t", fields{"parameters": []fields{{"key": "a", "value": 1}, {"key": "b", "value": 1}}})
		for _, c := range []struct{ event, want string }{
			{`{"type": "trigger.fired", "data": {"b": 2}}`, `{"b": 2}`},
			{`{"type": "object.created", "data": {"b": 2}}`, `{"a":1,"b":2}`},
			{`{"type": "object.created", "data": [2]}`, `{"a":1,"b":1,"payload":[2]}`},
			{`{"type": "schedule.fired", "data": {"data": {"c": 3}}}`, `{"a":1,"b":1,"data":{"c":3}}`},
			{`{"type": "x"}`, `{"a":1,"b":1}`},
			{`{"type": "github.push", "id": "d", "signature": "sha256=00", "useragent": "GitHub-Hookshot/1", "data": {"ref": "r", "__ow_headers": "mine"}}`,
				`{"__ow_headers":{"content-type":"application/json","user-agent":"GitHub-Hookshot/1","x-github-delivery":"d","x-github-event":"push","x-hub-signature-256":"sha256=00"},"a":1,"b":1,"ref":"r"}`},
		} {
			var o occurrence
			if err := json.Unmarshal([]byte(c.event), &o); err != nil {
				t.Fatal(err)
			}
			if got, err := p.payload(t.Context(), ref.Namespace, ref.Name, []occurrence{o}); string(got) != c.want || err != nil {
				t.Errorf("%s: %s %v", c.event, got, err)
			}
		}
	})
}
