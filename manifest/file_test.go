package manifest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

const example = `
functions:
  resize: {code: ./resize, runtime: python3, memory: 256MB, timeout: 30s, allow: ["bucket:photos rw", "table:seen rw"]}
  count: {code: count.py}
tables:   {seen: {key: name}, orders: {key: {name: id, type: number}, sort: at, changes: 7d}}
queues:   {jobs: {visibility: 30s}, jobs-dead: {}}
streams:  {clicks: {shards: 4, keep: 24h}}
buckets:  {photos: {}}
triggers:
  inbox:   {files: {path: /srv/in}}
  nightly: {schedule: {cron: "0 3 * * *", zone: Europe/Berlin}}
  hook:    {github: {secret: "${GITHUB_SECRET}", events: [push, delete]}}
rules:
  - {on: inbox, when: {name: [{suffix: .jpg}]}, to: resize, retry: {attempts: 5}, dead-letter: jobs-dead}
  - {on: {stream: clicks}, batch: {size: 100, window: 1s}, to: count}
  - {on: {function: resize, outcome: failure}, to: {queue: jobs-dead}, input: {file: "${path}", home: "$${HOME}"}}
  - {on: inbox, to: resize}
  - {on: inbox, to: resize}
`

func env(name string) (string, bool) {
	v, ok := map[string]string{"GITHUB_SECRET": "open sesame"}[name]
	return v, ok
}

func TestExample(t *testing.T) {
	f, err := parse("rouse.yaml", "/", []byte(example), env)
	if err != nil {
		t.Fatal(err)
	}
	r := f.Functions["resize"]
	if r.Code != "./resize" || r.Memory != 256<<20 || r.Timeout != Span(30*time.Second) || len(r.Allow) != 2 {
		t.Errorf("%+v", r)
	}
	if o := f.Tables["orders"]; o.Key != (Attribute{"id", "number"}) || o.Sort.Name != "at" || o.Changes != Span(7*24*time.Hour) || f.Tables["seen"].Key.Name != "name" {
		t.Errorf("%+v", f.Tables)
	}
	if *f.Streams["clicks"].Shards != 4 || len(f.Queues) != 2 || f.Triggers["hook"]["github"].(map[string]any)["secret"] != "open sesame" {
		t.Errorf("%+v", f)
	}
	var got []event.Rule
	for i := range f.Rules {
		e, err := f.Rules[i].rule()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if e := got[0]; e.Name != "inbox-to-resize" || e.On.Trigger != "inbox" || e.To.Function != "resize" || e.DeadLetter.Queue != "jobs-dead" || e.Retry.Attempts != 5 || string(e.When) != `{"name":[{"suffix":".jpg"}]}` {
		t.Errorf("%+v", e)
	}
	if e := got[1]; e.On.Stream != "clicks" || e.Batch.Size != 100 || e.Batch.Window != rouse.Duration(time.Second) || e.Batch.Bytes != 6<<20 {
		t.Errorf("%+v", e)
	}
	if e := got[2]; e.Name != "resize-failure-to-jobs-dead" || e.On.Outcome != "failure" || e.To.Queue != "jobs-dead" || string(e.Input) != `{"file":"${path}","home":"${HOME}"}` {
		t.Errorf("%+v %s", e, e.Input)
	}
	if got[4].Name != "inbox-to-resize-3" {
		t.Errorf("%s", got[4].Name)
	}
}

func TestBadManifests(t *testing.T) {
	for text, says := range map[string]string{
		"functoins: {}":                           "functoins",
		"functions: {a: {cod: x}}":                "cod",
		"functions: {a: {}}":                      "functions.a: code is missing",
		"functions: {a: {code: x, memory: lots}}": `line 1: functions.a.memory: "lots" is no size`,
		"functions: {a: {code: x}}\nrules:\n  - {on: t, to: a, retry: {attempts: x}}": `line 3: rules[0].retry.attempts: it is "x", and a whole number is wanted`,
		"streams: {s: {shards: 0}}":                                 "streams.s.shards: it is 0",
		"streams: {s: {shards: -1}}":                                "streams.s.shards: it is -1",
		"rules: [{on: stone:x, to: f}]":                             `rules[0].on: "stone:x" is neither`,
		"rules: [on, to]":                                           "rules[0]: it is \"on\", and an object is wanted",
		"functions: [a]":                                            "functions: it is a list, and an object is wanted",
		"functions: {a: {code: [x]}}":                               "functions.a.code: it is a list, and a text is wanted",
		"functions: {a: {code: x, egress: maybe}}":                  "functions.a.egress: it is \"maybe\", and true or false is wanted",
		"buckets: {b: *x}":                                          "there is no anchor &x",
		"triggers: {t: {schedule: {every: .inf}}}":                  "JSON has no such number",
		"buckets: {a: {}}\n---\nbuckets: {b: {}}":                   "2 documents",
		"buckets: {a: {}, a: {}}":                                   "already defined",
		"functions: {a: {code: x, timeout: soon}}":                  `"soon" is no duration`,
		"functions: {a b: {code: x}}":                               "a b",
		"triggers: {t: {}}":                                         "triggers.t",
		"triggers: {t: {a: {}, b: {}}}":                             "triggers.t",
		"rules: [{on: {steam: x}, to: f}]":                          `rules[0].on.steam: there is no such field; there are bucket, function, outcome, queue, stream, table, trigger`,
		"rules: [{on: a, to: f, name: x}, {on: a, to: f, name: x}]": "another rule",
		"env: ${NOT_SET}":                                           "NOT_SET",
		"rules: {":                                                  "rouse.yaml",
	} {
		_, err := parse("rouse.yaml", "/", []byte(text), env)
		if rouse.KindOf(err) != rouse.Invalid || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What is read is read once: ten times as much takes ten times as long. Ten
// thousand rules are read here, and a thousand took eight seconds once.
func TestManyRules(t *testing.T) {
	var text strings.Builder
	text.WriteString("rules:\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "  - {name: r%d, on: {stream: s}, when: {a: [{prefix: b}]}, to: f, dead-letter: d, retry: {attempts: 5, backoff: 2s}}\n", i)
	}
	f, err := parse("rouse.yaml", "/", []byte(text.String()), env)
	if err != nil || len(f.Rules) != 10_000 || f.Rules[9999].DeadLetter.Queue != "d" {
		t.Errorf("%d, %v", len(f.Rules), err)
	}
}

// Anchors, aliases and merged objects are what they stand for, and texts what is
// written, though it looks like a number.
func TestWhatYAMLHas(t *testing.T) {
	f, err := parse("rouse.yaml", "/", []byte(`
functions:
  a: &common {code: a.py, memory: 256MB, env: {VERSION: 1.10, PORT: 8080, ON: true, EMPTY: "", TEXT: "07"}}
  b: {<<: *common, code: b.py, timeout: 1m}
  c:
    code: |
      long
    env: {<<: [{A: first}, {A: second, B: x}]}
rules:
  - {on: &on "stream:clicks", to: "f:prod", input: {n: [1, 1.5, -2, "1", true, null, ~, "a: b"]}}
  - {on: *on, to: "queue:jobs", failure: "https://example.com/x", dead-letter: stream:lost}
`), env)
	if err != nil {
		t.Fatal(err)
	}
	if e := f.Functions["b"].Env; e["VERSION"] != "1.10" || e["PORT"] != "8080" || e["ON"] != "true" || e["TEXT"] != "07" || len(e) != 5 {
		t.Errorf("%v", e)
	}
	if b := f.Functions["b"]; b.Code != "b.py" || b.Memory != 256<<20 || b.Timeout != Span(time.Minute) {
		t.Errorf("%+v", b)
	}
	if c := f.Functions["c"]; c.Code != "long\n" || c.Env["A"] != "first" || c.Env["B"] != "x" {
		t.Errorf("%+v", c)
	}
	first, err := f.Rules[0].rule()
	if err != nil || first.On.Stream != "clicks" || first.To != (event.Target{Function: "f", Qualifier: "prod"}) || first.Name != "clicks-to-f" || string(first.Input) != `{"n":[1,1.5,-2,"1",true,null,null,"a: b"]}` {
		t.Errorf("%+v %s %v", first, first.Input, err)
	}
	second, err := f.Rules[1].rule()
	if err != nil || second.On.Stream != "clicks" || second.To.Queue != "jobs" || second.Failure.Webhook != "https://example.com/x" || second.DeadLetter.Stream != "lost" {
		t.Errorf("%+v %v", second, err)
	}
}

// Aliases of aliases do not make much of little.
func TestALaughIsBounded(t *testing.T) {
	text := "buckets: {}\ntriggers:\n  t0: &a0 {manual: {x: [1, 1, 1, 1, 1, 1, 1, 1]}}\n"
	for i := 1; i < 12; i++ {
		text += fmt.Sprintf("  t%d: &a%d {manual: {x: [%s]}}\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	if _, err := parse("rouse.yaml", "/", []byte(text), env); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("%v", err)
	}
	if _, err := parse("rouse.yaml", "/", []byte("triggers: {t: &a {manual: {x: *a}}}"), env); err == nil || !strings.Contains(err.Error(), "nested too deeply") {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("rules: [{on: {stream: }, to: [a]}]")
	f.Add("functions: {a: &a {<<: *a, code: !!str 1}}")
	f.Add("triggers: {t: {manual: {<<: [{a: 1}, *x]}}}\n---\n")
	f.Add("? {a: b}\n: c")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := parse("rouse.yaml", "/", []byte(text), env)
		if err != nil {
			return
		}
		for i := range file.Rules {
			if _, err := file.Rules[i].rule(); err != nil {
				t.Log(err)
			}
		}
	})
}

var update = flag.Bool("update", false, "write docs/rouse.schema.json anew")

// The schema in the docs is that of this program.
func TestSchema(t *testing.T) {
	const name = "../docs/rouse.schema.json"
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what it should be: go test ./manifest -update (%v)", name, err)
	}
	for _, field := range []string{`"dead-letter"`, `"visibility"`, `"shards"`, `"memory"`} {
		if !bytes.Contains(want, []byte(field)) {
			t.Errorf("%s is missing", field)
		}
	}
}
