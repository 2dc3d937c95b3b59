package process_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/native"
	"github.com/rouse-run/rouse/sandbox/process"
)

// drivers are one per tier, the same for all tests: a zygote takes its time.
var drivers = map[string]*process.Driver{}

// quick keeps the race detector from waiting at the end of a process.
const quick = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if os.Getenv(insideVariable) != "" {
		os.Exit(inside(m))
	}
	if os.Geteuid() != 0 {
		fmt.Println("skipped: sandboxes of namespaces need root")
		return
	}
	// Else every probe of the doctor takes a second under the race detector.
	_ = os.Setenv("GORACE", quick)
	code := 1
	for _, tier := range []string{process.Namespaces, process.Landlock} {
		dir, err := os.MkdirTemp("", "rouse-process-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		drivers[tier], err = open(dir, tier)
		if err != nil {
			panic(err)
		}
	}
	code = m.Run()
	for _, d := range drivers {
		if err := d.Close(); err != nil {
			fmt.Println("close:", err)
			code = 1
		}
	}
	if code != 0 {
		os.Exit(code)
	}
}

// open opens a driver that keeps its files in dir.
func open(dir, isolation string) (*process.Driver, error) {
	return process.New(context.Background(), process.Config{
		Dir: dir, Name: "rouse-test-" + filepath.Base(dir) + "-" + isolation, Isolation: isolation,
		Log:    slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Shims:  map[string]process.Shim{native.Name: {Python: native.Python, Node: native.Node}},
		Client: process.Client{Python: native.ClientPython, Node: native.ClientNode},
	})
}

// each runs a test once per tier.
func each(t *testing.T, f func(*testing.T, *process.Driver)) {
	t.Helper()
	for _, tier := range []string{process.Namespaces, process.Landlock} {
		t.Run(tier, func(t *testing.T) { f(t, drivers[tier]) })
	}
}

// A house is a booted function and what it printed.
type house struct {
	rouse.Instance
	sandbox rouse.Sandbox
	mu      sync.Mutex
	lines   []rouse.Line
}

func (h *house) log(l rouse.Line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, l)
}

func (h *house) printed() string {
	if h.sandbox == nil {
		return ""
	}
	h.sandbox.Drain()
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for _, l := range h.lines {
		fmt.Fprintf(&b, "%s: %s\n", l.Stream, l.Text)
	}
	return b.String()
}

// function fills in what a test leaves open.
func function(f rouse.Function) rouse.Function {
	f.Ref = rouse.Ref{Namespace: "default", Name: "test"}
	f.Version = 1
	if f.Contract == "" {
		f.Contract = native.Name
	}
	l := &f.Limits
	l.Memory, l.Tmp, l.Processes = max(l.Memory, 128<<20), max(l.Tmp, 16<<20), max(l.Processes, 64)
	l.Concurrency, l.Answer = max(l.Concurrency, 1), max(l.Answer, 1<<20)
	if l.Timeout == 0 {
		l.Timeout = rouse.Duration(time.Minute)
	}
	return f
}

func code(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// try boots a function with the native contract.
func try(t testing.TB, d *process.Driver, f rouse.Function, files map[string]string) (*house, error) {
	t.Helper()
	return tryWith(t, d, f, files, nil)
}

// tryWith boots a function that may use what access serves.
func tryWith(t testing.TB, d *process.Driver, f rouse.Function, files map[string]string, access *rouse.Access) (*house, error) {
	t.Helper()
	return tryIn(t, d, f, code(t, files), access)
}

// tryIn is tryWith of code that is in a folder already.
func tryIn(t testing.TB, d *process.Driver, f rouse.Function, dir string, access *rouse.Access) (*house, error) {
	t.Helper()
	f = function(f)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(f.Limits.Timeout))
	defer cancel()
	h := &house{}
	var c native.Contract
	s, err := d.Open(ctx, rouse.Spec{Function: f, Code: dir, Program: c.Program(f), Log: h.log, Access: access})
	if err != nil {
		return h, err
	}
	h.sandbox = s
	t.Cleanup(func() { _ = s.Close() })
	h.Instance, err = c.Boot(ctx, f, s, h.log)
	return h, err
}

func boot(t testing.TB, d *process.Driver, f rouse.Function, files map[string]string) *house {
	t.Helper()
	h, err := try(t, d, f, files)
	if err != nil {
		t.Fatalf("%v\n%s", err, h.printed())
	}
	return h
}

// ask answers one event whose data is v in JSON.
func (h *house) ask(t testing.TB, v any) rouse.Answer {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := h.Answer(ctx, rouse.Invocation{ID: "id", Event: rouse.Event{Data: data}})
	if err != nil {
		t.Fatalf("%v\n%s", err, h.printed())
	}
	return a
}

// expect is ask, and the result that must come.
func (h *house) expect(t testing.TB, v any, want string) {
	t.Helper()
	a := h.ask(t, v)
	if a.Status != rouse.StatusAnswered || string(a.Result) != want {
		t.Errorf("answered %v %s %v, not %s\n%s", a.Status, a.Result, a.Failure, want, h.printed())
	}
}

var hello = map[string]map[string]string{
	"python3": {"main.py": "# coding: utf-8\nfrom __future__ import print_function\ndef main(event, context):\n    print('to', event['name'])\n    return {'hello': event['name']}\n"},
	"nodejs":  {"main.js": "exports.main = (event, context) => { console.log('to', event.name); return { hello: event.name } }\n"},
}

func TestHello(t *testing.T) { each(t, testHello) }

func testHello(t *testing.T, d *process.Driver) {
	for _, rt := range d.Runtimes() {
		files := hello[map[string]string{"python": "python3", "node": "nodejs"}[rt.Family]]
		if files == nil {
			continue
		}
		t.Run(rt.Name, func(t *testing.T) {
			h := boot(t, d, rouse.Function{Runtime: rt.Name, Handler: "main.main"}, files)
			for _, name := range []string{"ada", "grace", "Zoë"} {
				h.expect(t, map[string]string{"name": name}, `{"hello":"`+name+`"}`)
			}
			if got, want := h.printed(), "stdout: to ada\nstdout: to grace\nstdout: to Zoë\n"; got != want {
				t.Errorf("printed %q, not %q", got, want)
			}
		})
	}
}

// What a child makes lies together, not in gaps between what it shares: each page
// that it writes to is one more of its own.
func TestPythonObjectsOfAChildLieTogether(t *testing.T) {
	each(t, func(t *testing.T, d *process.Driver) {
		for _, rt := range d.Runtimes() {
			if rt.Family != "python" || rt.Name == "python2.7" {
				continue
			}
			t.Run(rt.Name, func(t *testing.T) {
				h := boot(t, d, rouse.Function{Runtime: rt.Name, Handler: "main.main"}, map[string]string{"main.py": `
import sys

def main(event, context):
    pages = set()
    for size in range(64, 513, 16):
        things = [bytes(size - sys.getsizeof(b'')) for _ in range(12)]
        pages.update(id(thing) >> 12 for thing in things)
    return len(pages) if len(pages) > 48 else 'together'
`})
				h.expect(t, nil, `"together"`)
			})
		}
	})
}

// What a zygote has made its children share: none of them counts references to it.
func TestPythonCountsNoReferencesToWhatIsShared(t *testing.T) {
	each(t, func(t *testing.T, d *process.Driver) {
		for _, rt := range d.Runtimes() {
			if rt.Family != "python" || rt.Name != "python3.12" && rt.Name != "python3.13" {
				continue
			}
			t.Run(rt.Name, func(t *testing.T) {
				h := boot(t, d, rouse.Function{Runtime: rt.Name, Handler: "main.main"}, map[string]string{"main.py": `
import json, sys

def main(event, context):
    shared = [json, json.loads, json.loads.__code__, json.JSONDecoder]
    own = [context, main, [], sys.modules["main"]]
    return [sys.getrefcount(x) == sys.getrefcount(None) for x in shared], [sys.getrefcount(x) < 100 for x in own]
`})
				h.expect(t, nil, `[[true,true,true,true],[true,true,true,true]]`)
			})
		}
	})
}
