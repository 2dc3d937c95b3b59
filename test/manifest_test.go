package test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/manifest"
)

const shop = `
functions:
  serve: {code: ./serve, memory: 128MB, timeout: 5s, env: {CITY: Turin}, allow: ["table:orders rw"]}
  audit: {code: audit.py}
tables:   {orders: {key: id, sort: {name: at, type: number}, changes: 24h, indexes: {by-city: {key: city}}}}
queues:   {jobs: {visibility: 1m, dead-letter: jobs-dead}, jobs-dead: {keep: 7d}}
streams:  {clicks: {shards: 2, keep: 48h}}
buckets:  {photos: {versioned: true}}
triggers:
  nightly: {schedule: {cron: "0 3 * * *", zone: Europe/Berlin}}
  door:    {webhook: {secret: "correct horse"}}
rules:
  - {on: nightly, to: audit}
  - {on: {table: orders}, batch: {size: 10, window: 1s}, to: audit, retry: {attempts: 5, backoff: 2s, age: 1h}}
  - {on: {queue: jobs}, to: serve, when: {city: [Turin, {prefix: A}]}, input: {what: "${what}"}}
  - {on: {function: serve, outcome: failure}, to: {queue: jobs-dead}, budget: 10}
routes:
  "GET /orders/{id}": serve
  /audit/: {to: audit, public: true}
`

// A shopFolder is a folder with a manifest and its code.
type shopFolder struct {
	s   *server
	dir string
}

func newShop(t *testing.T, s *server) *shopFolder {
	f := &shopFolder{s, t.TempDir()}
	f.write("rouse.yaml", shop)
	f.write("serve/main.py", "def main(event):\n    return 1\n")
	f.write("audit.py", "def main(event):\n    return 2\n")
	return f
}

func (f *shopFolder) write(name, text string) {
	f.s.t.Helper()
	name = filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		f.s.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		f.s.t.Fatal(err)
	}
}

func (f *shopFolder) plan(prune bool) *manifest.Plan {
	t := f.s.t
	t.Helper()
	m, err := manifest.Load(filepath.Join(f.dir, "rouse.yaml"), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Plan(t.Context(), f.s.Client, prune)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// steps are what a plan does, as "create stream clicks".
func steps(p *manifest.Plan) (out []string) {
	for _, s := range p.Steps {
		out = append(out, fmt.Sprintf("%s %s %s", s.Action, s.Kind, s.Name))
	}
	return out
}

// What is applied is so, and applied again changes nothing; each change is seen,
// alone.
func TestApply(t *testing.T) {
	f := newShop(t, start(t, ""))
	p := f.plan(false)
	if len(p.Steps) != 15 || p.Same != 0 {
		t.Fatalf("%v, %d the same", steps(p), p.Same)
	}
	if err := p.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if p := f.plan(true); len(p.Steps) != 0 || p.Same != 15 {
		t.Errorf("after it was applied there is to do: %+v", p.Steps)
	}
	for _, c := range []struct{ old, new, step, detail string }{
		{"keep: 48h", "keep: 24h", "change stream clicks", "keep: 2d -> 24h"},
		{"visibility: 1m", "visibility: 2m", "change queue jobs", "visibility"},
		{"versioned: true", "", "change bucket photos", "versioned"},
		{"timeout: 5s", "timeout: 6s", "change function serve", "timeout: 5s -> 6s"},
		{"CITY: Turin", "CITY: Rome", "change function serve", "env.CITY"},
		{`["table:orders rw"]`, `["table:orders r"]`, "change function serve", "allow"},
		{"0 3 * * *", "0 4 * * *", "change trigger nightly", "config.cron"},
		{"correct horse", "battery staple", "change trigger door", "config.secret: *** -> ***"},
		{"attempts: 5", "attempts: 6", "change rule orders-to-audit", "retry.attempts"},
		{"prefix: A", "prefix: B", "change rule jobs-to-serve", "when"},
		{"{to: audit, public: true}", "audit", "change route /audit/", "public: true -> none"},
		{"{id}\": serve", "{id}\": {to: serve, qualifier: \"1\"}", "change route GET /orders/{id}", "qualifier"},
		{", budget: 10", "", "change rule serve-failure-to-jobs-dead", "budget"},
		{"changes: 24h, indexes: {by-city: {key: city}}", "changes: 24h", "change table orders", "indexes"},
	} {
		if !strings.Contains(shop, c.old) {
			t.Fatalf("%q is not in the manifest", c.old)
		}
		f.write("rouse.yaml", strings.Replace(shop, c.old, c.new, 1))
		p := f.plan(true)
		if got := steps(p); !slices.Equal(got, []string{c.step}) || !strings.Contains(strings.Join(p.Steps[0].Details, "\n"), c.detail) {
			t.Errorf("%s -> %s: %v %+v", c.old, c.new, got, p.Steps)
			continue
		}
		if strings.Contains(fmt.Sprint(p.Steps), "battery") || strings.Contains(fmt.Sprint(p.Steps), "horse") {
			t.Errorf("a secret is shown: %v", p.Steps)
		}
		if err := p.Apply(t.Context(), nil); err != nil {
			t.Errorf("%s -> %s: %v", c.old, c.new, err)
		}
		if p := f.plan(true); len(p.Steps) != 0 {
			t.Errorf("%s -> %s is not applied: %+v", c.old, c.new, p.Steps)
		}
		f.write("rouse.yaml", shop)
		if err := f.plan(true).Apply(t.Context(), nil); err != nil {
			t.Errorf("back to %s: %v", c.old, err)
		}
	}
	f.write("audit.py", "def main(event):\n    return 3\n")
	if got := steps(f.plan(false)); !slices.Equal(got, []string{"change function audit"}) {
		t.Errorf("changed code: %v", got)
	}
}

// A step that fails takes those before it back: here the last of all, as
// somebody else comes between.
func TestApplyThatFails(t *testing.T) {
	f := newShop(t, start(t, ""))
	if err := f.plan(false).Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	before, err := f.s.Function(t.Context(), "serve", "")
	if err != nil {
		t.Fatal(err)
	}
	f.write("rouse.yaml", strings.NewReplacer("keep: 48h", "keep: 1h", "buckets:  {photos: {versioned: true}}", "buckets:  {photos: {versioned: true}, films: {}}",
		"timeout: 5s", "timeout: 9s", "correct horse", "battery staple", "attempts: 5", "attempts: 7", `{id}": serve`, `{id}": audit`,
		"/audit/: {to: audit, public: true}", "/audit/: {to: audit, public: true}\n  POST /z/{id}/x: audit").Replace(shop))
	f.write("serve/main.py", "def main(event):\n    return 'new'\n")
	p := f.plan(false)
	if _, err := f.s.SetRoute(t.Context(), "/z/b/{y}", wire.RouteOptions{To: "audit"}); err != nil {
		t.Fatal(err)
	}
	var back []string
	err = p.Apply(t.Context(), func(r manifest.Report) {
		if r.Back {
			back = append(back, fmt.Sprintf("%s %s %s", r.Action, r.Kind, r.Name))
		}
	})
	if rouse.KindOf(err) != rouse.Conflict || !strings.Contains(fmt.Sprint(err), "neither is the more special") {
		t.Fatalf("%v", err)
	}
	if len(back) != len(p.Steps)-1 {
		t.Errorf("of %v these were taken back: %v", steps(p), back)
	}
	if err := f.s.RemoveRoute(t.Context(), "/z/b/{y}"); err != nil {
		t.Fatal(err)
	}
	f.write("rouse.yaml", shop)
	f.write("serve/main.py", "def main(event):\n    return 1\n")
	if p := f.plan(true); len(p.Steps) != 0 {
		t.Errorf("it is not as it was: %+v", p.Steps)
	}
	after, err := f.s.Function(t.Context(), "serve", "")
	if err != nil || after.Code != before.Code || after.Limits != before.Limits {
		t.Errorf("the function was %+v and is %+v, %v", before, after, err)
	}
	if a := f.s.call("serve", nil); string(a.Result) != "1" {
		t.Errorf("it answers %s", a.Result)
	}
}

// refused plans what can't be done, and returns why.
func (f *shopFolder) refused(prune bool) error {
	t := f.s.t
	t.Helper()
	m, err := manifest.Load(filepath.Join(f.dir, "rouse.yaml"), os.LookupEnv)
	if err != nil {
		return err
	}
	p, err := m.Plan(t.Context(), f.s.Client, prune)
	if err == nil {
		t.Errorf("it is planned: %v", steps(p))
	}
	return err
}

// What apply would refuse is refused before anything is done, all of it at once.
func TestWhatCanNotBeIsRefusedFirst(t *testing.T) {
	f := newShop(t, start(t, ""))
	for text, says := range map[string]string{
		"triggers: {a: {schedule: {every: 1s, cron: '* * * * *'}}, b: {schedule: {corn: x}}, c: {nope: {}}}": "trigger a: cron: one of cron, every and at is wanted\ntrigger b: corn: there is no such field\ntrigger c: kind is \"nope\"",
		"triggers: {a: {schedule: {cron: '61 * * * *'}}}":                                                    "trigger a: cron: ",
		"tables: {t: {}}":                                           "table t: key: ",
		"streams: {s: {shards: 9999}}":                              "stream s: shards: ",
		"queues: {q: {dead-letter: none}}":                          "queue q: deadLetter: there is no queue none",
		"queues: {q: {dead-letter: q}}":                             "queue q: deadLetter: a queue can't be its own",
		"functions: {serve: {code: ./serve, memory: 1MB}}":          "function serve: memory is 1 MB",
		"functions: {serve: {code: ./serve, allow: [all]}}":         "function serve: ",
		"triggers: {t: {manual: {}}}\nrules: [{on: t, to: nosuch}]": "rule t-to-nosuch: to",
		"triggers: {t: {manual: {}}}\nqueues: {q: {}}\nrules: [{on: t, to: queue:q, when: {a: []}}]":                             "rule t-to-q: when.a: ",
		"streams: {s: {}}\nqueues: {q: {}}\nrules: [{on: queue:q, to: stream:s}, {on: stream:s, to: queue:q}]":                   "go round for ever",
		"queues: {q: {}}\nstreams: {s: {}}\nrules: [{name: a, on: queue:q, to: stream:s}, {name: b, on: queue:q, to: stream:s}]": "rule b takes from q",
		"tables: {t: {key: id}}\nqueues: {q: {}}\nrules: [{on: table:t, to: queue:q}]":                                           "rule t-to-q: on.table: t keeps no changes",
		"routes: {/v1/x: nosuch}": "the server's own",
		"functions: {audit: {code: audit.py}}\nroutes: {'/{a}/b': audit, '/a/{b}': audit}": "neither is the more special",
	} {
		f.write("rouse.yaml", text)
		err := f.refused(false)
		for _, line := range strings.Split(says, "\n") {
			if !strings.Contains(fmt.Sprint(err), line) {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	for _, kind := range []string{"functions", "streams", "queues", "tables", "triggers", "rules", "routes"} {
		var page map[string]any
		if err := f.s.Do(t.Context(), http.MethodGet, []string{kind}, nil, nil, &page); err != nil || len(page[kind].([]any)) != 0 {
			t.Errorf("%s: %v %v", kind, page, err)
		}
	}
}

// What was applied is so, however it is written: nothing is to do again, and what
// is left out again is seen.
func TestEachKindOfTriggerIsApplied(t *testing.T) {
	f := newShop(t, start(t, ""))
	all := map[string]string{
		"every":   "schedule: {every: 1s, from: 2100-01-01}",
		"cron":    `schedule: {cron: "0 0 * * 7", data: {a: [1, 0, null, ""]}, paused: true}`,
		"files":   "files: {path: /nonexistent/, settle: 2s, match: ['*.csv']}",
		"web":     "web: {methods: [get], respond: {body: {ok: true}}}",
		"webhook": "webhook: {secret: correct horse}",
		"github":  "github: {secret: correct horse, events: [push]}",
		"events":  "events: {}",
		"manual":  "manual: {}",
		"broker":  "mqtt: {broker: 'tcp://127.0.0.1:1', topics: [a], user: u, password: correct horse}",
		"listen":  "mqtt: {listen: '127.0.0.1:48131', topics: [a], users: {u: correct horse, v: battery staple}}",
	}
	text := "triggers:\n"
	for name, config := range all {
		text += "  " + name + ": {" + config + "}\n"
	}
	f.write("rouse.yaml", text)
	if err := f.plan(false).Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if p := f.plan(true); len(p.Steps) != 0 || p.Same != len(all) {
		t.Errorf("there is to do: %+v", p.Steps)
	}
	for _, c := range []struct{ old, new, detail string }{
		{"every: 1s", "every: 2s", "config.every: 1s -> 2s"},
		{", paused: true", "", "config.paused: true -> none"},
		{"settle: 2s, ", "", "config.settle: 2s -> 0s"},
		{"[get]", "[get, put]", "config.methods"},
		{"v: battery staple", "w: battery staple", "config.users.w: none -> ***"},
		{"v: battery staple", "v: another secret", "config.users.v: *** -> ***"},
	} {
		f.write("rouse.yaml", strings.Replace(text, c.old, c.new, 1))
		if p := f.plan(true); len(p.Steps) != 1 || !strings.Contains(strings.Join(p.Steps[0].Details, "\n"), c.detail) {
			t.Errorf("%s -> %s: %+v", c.old, c.new, p.Steps)
		}
	}
}

// The kinds that people are told of are those of the server, and how a trigger
// does is seen.
func TestTriggersAreTold(t *testing.T) {
	s := start(t, "")
	var names []string
	for _, k := range manifest.TriggerKinds() {
		names = append(names, k.Name)
	}
	if _, err := s.SetTrigger(t.Context(), "t", wire.TriggerOptions{Kind: "nope"}); !strings.HasSuffix(fmt.Sprint(err), "there are "+strings.Join(names, ", ")) {
		t.Errorf("%v, and %v are told of", err, names)
	}
	if _, err := s.SetTrigger(t.Context(), "t", wire.TriggerOptions{Kind: "files", Config: fmt.Appendf(nil, `{"path": %q}`, filepath.Join(s.data, "in"))}); !strings.Contains(fmt.Sprint(err), "keeps its data") {
		t.Errorf("the server's own folder is watched: %v", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	soon := func(name, kind, config string, want event.State, says string) {
		t.Helper()
		if _, err := s.SetTrigger(t.Context(), name, wire.TriggerOptions{Kind: kind, Config: json.RawMessage(config)}); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(20 * time.Second); ; {
			got, err := s.Trigger(t.Context(), name)
			if err != nil || got.Status == nil {
				t.Fatalf("%+v %v", got, err)
			}
			if h := got.Status; h.State == want && strings.Contains(h.Error, says) {
				return
			} else if time.Now().After(end) {
				t.Fatalf("%s is %+v, want %s", name, h, want)
			}
		}
	}
	soon("listens", "mqtt", fmt.Sprintf(`{"listen": %q, "topics": ["a"]}`, taken.Addr()), event.Failing, "in use")
	soon("asks", "mqtt", `{"broker": "tcp://127.0.0.1:1", "topics": ["a"]}`, event.Failing, "refused")
	soon("nowhere", "files", `{"path": "/nonexistent"}`, event.Failing, "no such file")
	soon("past", "schedule", `{"at": "2020-01-01"}`, event.Done, "")
	soon("often", "schedule", `{"every": "1h"}`, event.Running, "")
	soon("rests", "schedule", `{"every": "1h", "paused": true}`, event.Paused, "")
	soon("door", "web", `{}`, event.Running, "")
	if got, err := s.Trigger(t.Context(), "often"); err != nil || got.Status.Next.IsZero() {
		t.Errorf("%+v %v", got.Status, err)
	}
	page, err := s.Triggers(t.Context(), "", 0)
	if err != nil || len(page.Triggers) != 7 || page.Triggers[0].Status == nil || page.Triggers[0].Status.State != event.Failing {
		t.Errorf("%+v %v", page, err)
	}
}

// What something that stays uses is not removed, nor is anything else then.
func TestPruneIsCheckedFirst(t *testing.T) {
	f := newShop(t, start(t, ""))
	f.write("rouse.yaml", `
streams: {s: {}}
queues: {q: {}, jobs: {dead-letter: jobs-dead}, jobs-dead: {}}
buckets: {photos: {}}
functions: {audit: {code: audit.py}}
triggers: {aaa: {github: {secret: correct horse}}, tt: {manual: {}}}
rules: [{on: aaa, to: queue:q}, {on: tt, to: queue:q}, {name: r, on: stream:s, to: queue:q}]
routes: {/audit: audit}
`)
	if err := f.plan(false).Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := f.s.PutObject(t.Context(), "photos", "cat", client.ObjectPut{}, strings.NewReader("meow")); err != nil {
		t.Fatal(err)
	}
	want := f.plan(true).Same
	for text, says := range map[string]string{
		"queues: {q: {}}\nrules: [{name: tt-to-q, on: tt, to: {queue: q}}]": "remove trigger tt: rule tt-to-q listens to it: remove that rule as well, or put tt under triggers: in the manifest",
		"rules: [{name: r, on: {stream: s}, to: {queue: q}}]":               "remove stream s: rule r listens to it: remove that rule as well, or put s under streams: in the manifest\nremove queue q: rule r delivers to it: remove that rule as well, or put q",
		"routes: {/audit: audit}":                                           "remove function audit: route /audit leads to it: remove that route as well, or put audit",
		"queues: {jobs: {dead-letter: jobs-dead}}":                          "remove queue jobs-dead: queue jobs sends its dead letters to it: remove that queue as well, or put jobs-dead",
		"{}": "remove bucket photos: it holds objects, such as \"cat\": remove them first, or put photos under buckets: in the manifest",
	} {
		f.write("rouse.yaml", text)
		err := f.refused(true)
		for _, line := range strings.Split(says, "\n") {
			if rouse.KindOf(err) != rouse.Conflict || !strings.Contains(fmt.Sprint(err), line) {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	f.write("rouse.yaml", "{}")
	if _, err := f.s.DeleteObject(t.Context(), "photos", "cat", ""); err != nil {
		t.Fatal(err)
	}
	p := f.plan(true)
	if len(p.Steps) != want {
		t.Errorf("%d were there, and to do is %v", want, steps(p))
	}
	// Somebody comes between: rules, routes and triggers without secrets are put
	// back, and nothing else is gone yet.
	if _, err := f.s.SetRule(t.Context(), "late", event.Rule{On: event.On{Trigger: "tt"}, To: event.Target{Queue: "q"}}); err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(t.Context(), nil); rouse.KindOf(err) != rouse.Conflict || !strings.Contains(fmt.Sprint(err), "remove trigger tt: remove trigger default/tt: rule late listens to it") {
		t.Errorf("%v", err)
	}
	if p := f.plan(true); len(p.Steps) != want+1 {
		t.Errorf("there is left %v", steps(p))
	}
	if err := f.plan(true).Apply(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// Several who apply the same at once do not come into each other's way, and one
// whose own part fails takes back only that.
func TestApplyTogether(t *testing.T) {
	f := newShop(t, start(t, ""))
	var plans []*manifest.Plan
	for range 4 {
		plans = append(plans, f.plan(false))
	}
	errs := make([]error, len(plans))
	var all sync.WaitGroup
	for i, p := range plans {
		all.Go(func() { errs[i] = p.Apply(t.Context(), nil) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if p := f.plan(true); len(p.Steps) != 0 {
		t.Errorf("there is to do: %+v", p.Steps)
	}
	// One plans to make what is there by the time it does, and fails.
	f.write("rouse.yaml", "{}")
	if err := f.plan(true).Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	f.write("rouse.yaml", shop)
	first := f.plan(false)
	f.write("rouse.yaml", strings.Replace(shop, "/audit/: {to: audit, public: true}", "/audit/: {to: audit, public: true}\n  POST /z/{id}/x: audit", 1))
	second := f.plan(false)
	if err := first.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := f.s.SetRoute(t.Context(), "/z/b/{y}", wire.RouteOptions{To: "audit"}); err != nil {
		t.Fatal(err)
	}
	if err := second.Apply(t.Context(), nil); rouse.KindOf(err) != rouse.Conflict {
		t.Fatalf("%v", err)
	}
	f.write("rouse.yaml", shop)
	if p := f.plan(false); len(p.Steps) != 0 {
		t.Errorf("there is to do: %+v", p.Steps)
	}
}

// apply applies the folder's manifest as people do, in a namespace, "" for the
// default one; extra goes with it.
func (f *shopFolder) apply(ns string, extra ...string) *exec.Cmd {
	args := append([]string{"apply", filepath.Join(f.dir, "rouse.yaml"), "--data", f.s.data, "--server", f.s.addr}, extra...)
	if ns != "" {
		args = append(args, "-n", ns)
	}
	return exec.CommandContext(f.s.t.Context(), binary, args...)
}

// Commands that apply the same manifest at once all do so, one after the other.
func TestApplyByManyAtOnce(t *testing.T) {
	f := newShop(t, start(t, ""))
	f.write("rouse.yaml", `
functions: {audit: {code: audit.py}}
streams: {s: {}}
queues: {q: {}}
tables: {t: {key: id}}
triggers: {fa: {manual: {}}, fb: {events: {}}, fc: {web: {}}, fd: {schedule: {every: 1h}}, fi: {files: {path: /nonexistent}}}
rules: [{on: fa, to: audit}, {on: fb, to: queue:q}, {on: fi, to: stream:s}]
`)
	for round := range 5 {
		ns := fmt.Sprintf("n%d", round)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if out, err := f.apply(ns, "--yes").CombinedOutput(); err != nil {
					t.Errorf("round %d: %v: %s", round, err, out)
				}
			})
		}
		all.Wait()
		if out, err := f.apply(ns, "--yes", "--prune").CombinedOutput(); !strings.Contains(string(out), "nothing to do: all 12 are as they should be") {
			t.Errorf("round %d: %v: %s", round, err, out)
		}
	}
}

// Who applies waits while another has its turn, says so, and does nothing until
// then; one that was killed is not waited for.
func TestApplyWaitsForItsTurn(t *testing.T) {
	f := newShop(t, start(t, ""))
	f.write("rouse.yaml", "queues: {q: {}}")
	ctx, kill := context.WithCancel(t.Context())
	if _, err := f.s.Turn(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if out, err := f.apply("another", "--yes").CombinedOutput(); err != nil {
		t.Errorf("in another namespace: %v: %s", err, out)
	}
	waits := f.apply("", "--yes")
	says, err := waits.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := waits.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(says)
	if !lines.Scan() || !strings.Contains(lines.Text(), "somebody else applies a manifest in this namespace") {
		t.Errorf("it says %q", lines.Text())
	}
	if _, err := f.s.Queue(t.Context(), "q"); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("while it waits: %v", err)
	}
	kill()
	for lines.Scan() {
	}
	if err := waits.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := f.s.Queue(t.Context(), "q"); err != nil {
		t.Error(err)
	}
}

// With prune, what the manifest does not have goes, and only then.
func TestApplyPrunes(t *testing.T) {
	f := newShop(t, start(t, ""))
	if err := f.plan(false).Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	f.write("rouse.yaml", "functions: {audit: {code: audit.py}}\n")
	if p := f.plan(false); len(p.Steps) != 0 {
		t.Errorf("without prune: %v", steps(p))
	}
	p := f.plan(true)
	if len(p.Steps) != 14 {
		t.Errorf("%v", steps(p))
	}
	if err := p.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"streams", "queues", "tables", "buckets", "triggers", "rules"} {
		var page map[string]any
		if err := f.s.Do(t.Context(), http.MethodGet, []string{kind}, nil, nil, &page); err != nil || len(page[kind].([]any)) != 0 {
			t.Errorf("%s: %v %v", kind, page, err)
		}
	}
	if _, err := f.s.Function(t.Context(), "serve", ""); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("serve: %v", err)
	}
}
