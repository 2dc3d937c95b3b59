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

// driver is one for all tests: a zygote takes its time.
var driver *process.Driver

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("skipped: sandboxes of namespaces need root")
		return
	}
	dir, err := os.MkdirTemp("", "rouse-process-")
	if err != nil {
		panic(err)
	}
	driver, err = process.New(context.Background(), process.Config{
		Dir: dir, Name: fmt.Sprintf("rouse-test-%d", os.Getpid()), Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Shims: map[string]process.Shim{native.Name: {Python: native.Python, Node: native.Node}},
	})
	if err != nil {
		panic(err)
	}
	code := m.Run()
	if err := driver.Close(); err != nil {
		fmt.Println("close:", err)
		code = 1
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
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
		l.Timeout = rouse.Duration(20 * time.Second)
	}
	return f
}

func code(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// try boots a function with the native contract.
func try(t testing.TB, f rouse.Function, files map[string]string) (*house, error) {
	t.Helper()
	f = function(f)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(f.Limits.Timeout))
	defer cancel()
	h := &house{}
	var c native.Contract
	s, err := driver.Open(ctx, rouse.Spec{Function: f, Code: code(t, files), Program: c.Program(f), Log: h.log})
	if err != nil {
		return h, err
	}
	h.sandbox = s
	t.Cleanup(func() { _ = s.Close() })
	h.Instance, err = c.Boot(ctx, f, s, h.log)
	return h, err
}

func boot(t testing.TB, f rouse.Function, files map[string]string) *house {
	t.Helper()
	h, err := try(t, f, files)
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
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
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

func TestHello(t *testing.T) {
	for _, rt := range driver.Runtimes() {
		files := hello[map[string]string{"python": "python3", "node": "nodejs"}[rt.Family]]
		if files == nil {
			continue
		}
		t.Run(rt.Name, func(t *testing.T) {
			h := boot(t, rouse.Function{Runtime: rt.Name, Handler: "main.main"}, files)
			for _, name := range []string{"ada", "grace", "Zoë"} {
				h.expect(t, map[string]string{"name": name}, `{"hello":"`+name+`"}`)
			}
			if got, want := h.printed(), "stdout: to ada\nstdout: to grace\nstdout: to Zoë\n"; got != want {
				t.Errorf("printed %q, not %q", got, want)
			}
		})
	}
}
