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
	if f.Streams["clicks"].Shards != 4 || len(f.Queues) != 2 || f.Triggers["hook"]["github"].(map[string]any)["secret"] != "open sesame" {
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
		"functoins: {}":                                             "functoins",
		"functions: {a: {cod: x}}":                                  "cod",
		"functions: {a: {}}":                                        "functions.a: code is missing",
		"functions: {a: {code: x, memory: lots}}":                   `"lots" is no size`,
		"functions: {a: {code: x, timeout: soon}}":                  `"soon" is no duration`,
		"functions: {a b: {code: x}}":                               "a b",
		"triggers: {t: {}}":                                         "triggers.t",
		"triggers: {t: {a: {}, b: {}}}":                             "triggers.t",
		"rules: [{on: {steam: x}, to: f}]":                          `unknown field "steam"; there are bucket, function, outcome, queue, stream, table, trigger`,
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

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("rules: [{on: {stream: }, to: [a]}]")
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
