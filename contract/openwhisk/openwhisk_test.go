package openwhisk_test

import (
	"context"
	"encoding/json"
	"errors"
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
	"github.com/rouse-run/rouse/contract/openwhisk"
	"github.com/rouse-run/rouse/sandbox/process"
)

// drivers are one per tier, the same for all tests: a zygote takes its time.
var drivers = map[string]*process.Driver{}

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("skipped: sandboxes of namespaces need root")
		return
	}
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // else each program of a sandbox ends a second later
	for _, tier := range []string{process.Namespaces, process.Landlock} {
		dir, err := os.MkdirTemp("", "rouse-openwhisk-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		drivers[tier], err = process.New(context.Background(), process.Config{
			Dir: dir, Name: "rouse-test-" + filepath.Base(dir) + "-" + tier, Isolation: tier,
			Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
			Shims: map[string]process.Shim{
				native.Name:    {Python: native.Python, Node: native.Node},
				openwhisk.Name: {Python: openwhisk.Python, Node: openwhisk.Node},
			},
			Client: process.Client{Python: native.ClientPython, Node: native.ClientNode},
		})
		if err != nil {
			panic(err)
		}
	}
	code := m.Run()
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

// A house is a booted action and what it printed.
type house struct {
	rouse.Instance
	sandbox rouse.Sandbox
	mu      sync.Mutex
	heard   func()       // guarded by mu; called for each line
	lines   []rouse.Line // guarded by mu
}

func (h *house) log(l rouse.Line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, l)
	if h.heard != nil {
		h.heard()
	}
}

// printed returns what was, and forgets it.
func (h *house) printed() string {
	if h.sandbox != nil {
		h.sandbox.Drain()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for _, l := range h.lines {
		fmt.Fprintf(&b, "%s: %s\n", l.Stream, l.Text)
	}
	h.lines = nil
	return b.String()
}

// files are the code of an action by path.
type files map[string]string

func (f files) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range f {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(content, "#!") || strings.HasPrefix(content, "\x7fELF") {
			mode = 0o755
		}
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// An action is what a test has run.
type action struct {
	driver   *process.Driver // nil is that of namespaces
	contract rouse.Contract  // nil is ours
	note     *openwhisk.Note
	function rouse.Function
	files    files
	access   *rouse.Access
	hurried  bool // it must be ready before it prints
}

func python(code string) action {
	return action{function: rouse.Function{Runtime: "python3"}, files: files{"__main__.py": code}}
}

func node(code string) action {
	return action{function: rouse.Function{Runtime: "nodejs"}, files: files{"index.js": code}}
}

// program is an action of a kind whose code is a program.
func program(kind, exec string) action {
	return action{function: rouse.Function{Runtime: "python3"}, files: files{"exec": exec}, note: &openwhisk.Note{Kind: kind}}
}

func (a action) try(t testing.TB) (*house, error) {
	t.Helper()
	if a.note == nil {
		return a.tryWithNote(t, "")
	}
	note, err := json.Marshal(a.note)
	if err != nil {
		t.Fatal(err)
	}
	return a.tryWithNote(t, string(note))
}

// tryWithNote boots with a note of any form; "" is none.
func (a action) tryWithNote(t testing.TB, note string) (*house, error) {
	t.Helper()
	f := a.function
	f.Ref = rouse.Ref{Namespace: "guest", Name: "hello"}
	f.Version, f.Contract = 1, openwhisk.Name
	l := &f.Limits
	l.Memory, l.Tmp, l.Processes = max(l.Memory, 128<<20), max(l.Tmp, 16<<20), max(l.Processes, 64)
	l.Concurrency, l.Answer = max(l.Concurrency, 1), max(l.Answer, 6<<20)
	if l.Timeout == 0 {
		l.Timeout = rouse.Duration(30 * time.Second)
	}
	if note != "" {
		f.Notes = rouse.Notes{openwhisk.Name: json.RawMessage(note)}
	}
	d, c := a.driver, a.contract
	if d == nil {
		d = drivers[process.Namespaces]
	}
	if c == nil {
		c = openwhisk.Contract{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(f.Limits.Timeout))
	defer cancel()
	h := &house{}
	if a.hurried {
		h.heard = cancel
	}
	s, err := d.Open(ctx, rouse.Spec{Function: f, Code: a.files.write(t), Program: c.Program(f), Log: h.log, Access: a.access})
	if err != nil {
		return h, err
	}
	h.sandbox = s
	t.Cleanup(func() { _ = s.Close() })
	h.Instance, err = c.Boot(ctx, f, s, h.log)
	return h, err
}

func (a action) boot(t testing.TB) *house {
	t.Helper()
	h, err := a.try(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, h.printed())
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// send answers one invocation.
func (h *house) send(t testing.TB, in rouse.Invocation) rouse.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	a, err := h.Answer(ctx, in)
	if err != nil {
		t.Fatalf("%v\n%s", err, h.printed())
	}
	return a
}

// ask answers one event with these arguments.
func (h *house) ask(t testing.TB, arguments string) rouse.Answer {
	t.Helper()
	return h.send(t, rouse.Invocation{ID: "id", Event: rouse.Event{Data: []byte(arguments)}})
}

// expect is ask, and the result that must come.
func (h *house) expect(t testing.TB, arguments, want string) {
	t.Helper()
	if a := h.ask(t, arguments); a.Status != rouse.StatusAnswered || string(a.Result) != want || a.Failure != nil {
		t.Errorf("%s: answered %v %s %+v, not %s\n%s", arguments, a.Status, a.Result, a.Failure, want, h.printed())
	}
}

// fails is ask, and the failure that must come: "" leaves its part open.
func (h *house) fails(t testing.TB, arguments string, status rouse.Status, kind, message, result string) rouse.Answer {
	t.Helper()
	a := h.ask(t, arguments)
	if a.Status != status || a.Failure == nil || a.Failure.Type != kind || message != "" && a.Failure.Message != message || string(a.Result) != result {
		t.Errorf("%s: answered %v %s %+v, not %v %s %q %s\n%s", arguments, a.Status, a.Result, a.Failure, status, kind, message, result, h.printed())
	}
	return a
}

const (
	application = "ApplicationError"
	developer   = "DeveloperError"
)

func TestHello(t *testing.T) {
	tiers(t, func(t *testing.T, d *process.Driver) {
		for name, a := range map[string]action{
			"python": python("def main(args):\n    print('to', args.get('name'))\n    return {'greeting': 'Hello ' + args.get('name', 'stranger')}\n"),
			"node":   node("function main (args) {\n  console.log('to', args.name)\n  return { greeting: 'Hello ' + (args.name || 'stranger') }\n}\n"),
		} {
			t.Run(name, func(t *testing.T) {
				a.driver = d
				h := a.boot(t)
				h.expect(t, `{"name":"ada"}`, `{"greeting":"Hello ada"}`)
				h.expect(t, `{"name":"Zoë"}`, `{"greeting":"Hello Zoë"}`)
				if got, want := h.printed(), "stdout: to ada\nstdout: to Zoë\n"; got != want {
					t.Errorf("printed %q, not %q", got, want)
				}
			})
		}
	})
}

// Time is the platform's: what is not ready in its time is ended, and what does
// not answer in time is left to who asked.
func TestTimeRunsOut(t *testing.T) {
	loops := map[string]string{"python": "print('on')\nwhile True: pass\n", "node": "console.log('on'); for (;;);"}
	for language, make := range both() {
		for _, concurrency := range []int{1, 2} {
			a := make(loops[language])
			a.hurried, a.function.Limits.Concurrency = true, concurrency
			h, err := a.try(t)
			if boot, ok := errors.AsType[*rouse.BootError](err); !ok || boot.Status != rouse.StatusTimedOut || boot.Type != "Timeout" {
				t.Errorf("%s: %v", language, err)
			}
			<-h.sandbox.Done()
		}
	}
	h := python("def main(args):\n    print('on')\n    while True: pass\n").boot(t)
	ctx, cancel := context.WithCancel(t.Context())
	h.mu.Lock()
	h.heard = cancel
	h.mu.Unlock()
	if a, err := h.Answer(ctx, rouse.Invocation{ID: "id"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v %v", a, err)
	}
}
