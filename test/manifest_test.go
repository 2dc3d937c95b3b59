package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
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
		{"keep: 48h", "keep: 24h", "change stream clicks", "keep: 172800000 -> 86400000"},
		{"visibility: 1m", "visibility: 2m", "change queue jobs", "visibility"},
		{"versioned: true", "", "change bucket photos", "versioned"},
		{"timeout: 5s", "timeout: 6s", "change function serve", "Timeout"},
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

// A step that fails takes those before it back.
func TestApplyThatFails(t *testing.T) {
	f := newShop(t, start(t, ""))
	if err := f.plan(false).Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	before, err := f.s.Function(t.Context(), "serve", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, word string }{
		{"0 3 * * *", "every full moon", "cron"},
		{"/audit/: {to: audit, public: true}", "/v1/audit/: audit", "server's own"}, // the last of all
	} {
		broken := strings.NewReplacer("keep: 48h", "keep: 1h", "buckets:  {photos: {versioned: true}}", "buckets:  {photos: {versioned: true}, films: {}}",
			"timeout: 5s", "timeout: 9s", "correct horse", "battery staple", "attempts: 5", "attempts: 7", `{id}": serve`, `{id}": audit`, c.old, c.new).Replace(shop)
		f.write("rouse.yaml", broken)
		f.write("serve/main.py", "def main(event):\n    return 'new'\n")
		if err := f.plan(false).Apply(t.Context(), nil); rouse.KindOf(err) != rouse.Invalid || !strings.Contains(fmt.Sprint(err), c.word) {
			t.Fatalf("%v", err)
		}
		f.write("rouse.yaml", shop)
		f.write("serve/main.py", "def main(event):\n    return 1\n")
		if p := f.plan(true); len(p.Steps) != 0 {
			t.Errorf("%s: it is not as it was: %+v", c.word, p.Steps)
		}
	}
	after, err := f.s.Function(t.Context(), "serve", "")
	if err != nil || after.Code != before.Code || after.Limits != before.Limits {
		t.Errorf("the function was %+v and is %+v, %v", before, after, err)
	}
	if a := f.s.call("serve", nil); string(a.Result) != "1" {
		t.Errorf("it answers %s", a.Result)
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
