package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/rouse-run/rouse"
)

// cache is where all tests keep compiled modules: compiling takes most of their time.
var cache string

func TestMain(m *testing.M) {
	var err error
	if cache, err = os.MkdirTemp("", "wasm-cache"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(cache)
	os.Exit(code)
}

func newDriver(t testing.TB) *Driver {
	t.Helper()
	d, err := New(Config{CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func open(t testing.TB, d *Driver, s rouse.Spec) rouse.Sandbox {
	t.Helper()
	b, err := d.Open(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func run(t testing.TB, b rouse.Sandbox, in string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code, err := b.Run(context.Background(), rouse.Input{Body: strings.NewReader(in)}, &out)
	if err != nil {
		t.Fatal(err)
	}
	return code, out.String()
}

// both runs f with the guest as a command and as a reactor.
func both(t *testing.T, f func(t *testing.T, module []byte)) {
	for name, build := range map[string]func() ([]byte, error){"command": guest.command, "reactor": guest.reactor} {
		t.Run(name, func(t *testing.T) {
			module, err := build()
			if err != nil {
				t.Fatal(err)
			}
			f(t, module)
		})
	}
}

func ended(b rouse.Sandbox) bool {
	select {
	case <-b.Done():
		return true
	default:
		return false
	}
}

func TestGuestSeesWhatItMay(t *testing.T) {
	both(t, func(t *testing.T, module []byte) {
		var mu sync.Mutex
		var lines []string
		s := deployed(t, module, rouse.Function{Env: map[string]string{"NAME": "ada"}})
		s.Log = func(l rouse.Line) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, l.Stream.String()+" "+l.Text)
		}
		d := newDriver(t)
		b := open(t, d, s)
		if err := os.WriteFile(filepath.Join(filepath.Dir(s.Code), "secret"), []byte("secret"), 0o644); err != nil {
			t.Fatal(err)
		}
		for in, want := range map[string]string{
			"echo hello\nworld":   "hello\nworld",
			"env NAME":            "main.wasm ada",
			"env HOME":            "main.wasm ",
			"read /fn/data.txt":   "some data false",
			"read /fn/../secret":  " true",
			"read ../secret":      " true",
			"read /etc/passwd":    " true",
			"write /fn/new.txt":   "true true true",
			"write /tmp/new.txt":  "true true true",
			"files":               fmt.Sprint(maxFiles - 1), // its /fn is open
			"log to standard err": "",
		} {
			// A fresh one each: files that the guest leaves open count on.
			b := open(t, d, s)
			if code, got := run(t, b, in); code != 0 || got != want {
				t.Errorf("%s: %d, %q, want %q", in, code, got, want)
			}
		}
		b.Drain()
		if got := strings.Join(lines, "|"); got != "stderr to standard err|stderr no end" {
			t.Errorf("log: %q", got)
		}
		_, first := run(t, b, "random")
		if _, second := run(t, b, "random"); first == second {
			t.Error("the same random bytes twice")
		}
		if u := b.Usage(); u.Peak < 1<<20 {
			t.Errorf("usage %+v", u)
		}
	})
}

func TestReactorStaysAndCommandDoesNot(t *testing.T) {
	both(t, func(t *testing.T, module []byte) {
		b := open(t, newDriver(t), deployed(t, module, rouse.Function{}))
		run(t, b, "calls")
		_, got := run(t, b, "calls")
		want := "1"
		if !b.(*sandbox).command {
			want = "2"
		}
		if got != want {
			t.Errorf("call %s, want %s", got, want)
		}
	})
}

func TestExitCode(t *testing.T) {
	both(t, func(t *testing.T, module []byte) {
		b := open(t, newDriver(t), deployed(t, module, rouse.Function{}))
		code, _ := run(t, b, "exit 3")
		if code != 3 {
			t.Errorf("code %d", code)
		}
		if reactor := !b.(*sandbox).command; ended(b) != reactor || reactor && b.Exit().Code != 3 {
			t.Errorf("ended %v with %+v", ended(b), b.Exit())
		}
		if _, err := b.Run(t.Context(), rouse.Input{Body: strings.NewReader("echo x")}, &bytes.Buffer{}); (err != nil) != ended(b) {
			t.Errorf("run again: %v", err)
		}
	})
}

func TestOutOfMemory(t *testing.T) {
	both(t, func(t *testing.T, module []byte) {
		b := open(t, newDriver(t), deployed(t, module, rouse.Function{Limits: rouse.Limits{Memory: 32 << 20}}))
		var out bytes.Buffer
		if code, err := b.Run(t.Context(), rouse.Input{Body: strings.NewReader("grow")}, &out); code == 0 || err != nil {
			t.Errorf("code %d, %v", code, err)
		}
		if status, _ := b.Exit().Failure(); status != rouse.StatusOutOfMemory || !ended(b) {
			t.Errorf("%v, ended %v", status, ended(b))
		}
		if u := b.Usage(); u.Peak > 32<<20 || u.Peak < 16<<20 || u.OOM != 1 {
			t.Errorf("usage %+v", u)
		}
		b.Close()
		if u := b.Usage(); u.Memory != 0 {
			t.Errorf("%d bytes are still held", u.Memory)
		}
	})
}

func TestHugeOutput(t *testing.T) {
	both(t, func(t *testing.T, module []byte) {
		b := open(t, newDriver(t), deployed(t, module, rouse.Function{}))
		if code, out := run(t, b, "huge"); code != 0 || len(out) != 64<<20 {
			t.Errorf("code %d, %d bytes", code, len(out))
		}
		if code, err := b.Run(t.Context(), rouse.Input{Body: strings.NewReader("huge")}, full{}); err != errFull {
			t.Errorf("into a writer that takes nothing: code %d, %v", code, err)
		}
	})
}

type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestEndlessCodeIsEnded runs code that never returns. The context ends while
// it runs; a garbage collection, which waits for all code to be interrupted,
// comes before. That the test ends is what it shows.
func TestEndlessCodeIsEnded(t *testing.T) {
	fib := []byte{0x10, 0, 0x10, 0}                                                              // calls itself twice
	deep := append([]byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0, 0x23, 0, 0x41, 40, 0x4a, 0x04, 0x40}, // if ++depth > 40 {
		0x23, 0, 0x41, 1, 0x6b, 0x24, 0, 0x0f, 0x0b) // depth--; return }
	deep = append(append(deep, fib...), 0x23, 0, 0x41, 1, 0x6b, 0x24, 0) // depth--
	counter := part{secGlobal, []byte{1, 0x7f, 1, 0x41, 0, 0x0b}}
	for name, module := range map[string][]byte{
		"loop":           assemble("_start", []byte{0x03, 0x40, 0x0c, 0, 0x0b}),
		"reactor's loop": assemble("handle", []byte{0x03, 0x40, 0x0c, 0, 0x0b}),
		"recursion":      assemble("_start", deep, counter),
		// loop { memory.fill(0, 0, 60,000) }
		"bulk": assemble("_start", []byte{0x03, 0x40, 0x41, 0, 0x41, 0, 0x41, 0xe0, 0xd4, 3, 0xfc, 11, 0, 0x0c, 0, 0x0b}),
		// loop { memory.grow(0) }
		"growing by nothing": assemble("_start", []byte{0x03, 0x40, 0x41, 0, 0x40, 0, 0x1a, 0x0c, 0, 0x0b}),
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, newDriver(t), deployed(t, module, rouse.Function{}))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for range 3 {
					runtime.GC()
				}
				cancel()
			}()
			if _, err := b.Run(ctx, rouse.Input{Body: strings.NewReader("")}, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if reactor := !b.(*sandbox).command; ended(b) != reactor {
				t.Errorf("ended: %v", ended(b))
			}
		})
	}
	both(t, func(t *testing.T, module []byte) {
		d := newDriver(t)
		for _, what := range []string{"spin", "sleep"} {
			b := open(t, d, deployed(t, module, rouse.Function{}))
			ctx, cancel := context.WithCancel(t.Context())
			in := &endOfInput{text: what, end: func() { go func() { runtime.GC(); cancel() }() }}
			if _, err := b.Run(ctx, rouse.Input{Body: in}, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v", what, err)
			}
			cancel()
		}
		b := open(t, d, deployed(t, module, rouse.Function{}))
		in := &endOfInput{text: "spin", end: func() { go b.Close() }}
		if _, err := b.Run(t.Context(), rouse.Input{Body: in}, &bytes.Buffer{}); !errors.Is(err, context.Canceled) {
			t.Errorf("closed while it ran: %v", err)
		}
		<-b.Done()
	})
}

// endOfInput calls end when all was read.
type endOfInput struct {
	text string
	end  func()
}

func (e *endOfInput) Read(b []byte) (int, error) {
	n := copy(b, e.text)
	e.text = e.text[n:]
	if n == 0 {
		e.end()
		return 0, io.EOF
	}
	return n, nil
}
