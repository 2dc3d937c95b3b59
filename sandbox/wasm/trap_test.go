package wasm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

func TestTrapEndsTheSandbox(t *testing.T) {
	nothing := []byte{0x0b}
	for name, c := range map[string]struct {
		module []byte
		says   string
	}{
		"unreachable":       {assemble("_start", []byte{0x00}), "unreachable"},
		"reactor":           {assemble("handle", []byte{0x00}), "unreachable"},
		"division by zero":  {assemble("_start", []byte{0x41, 1, 0x41, 0, 0x6d, 0x1a}), "divide by zero"},
		"out of bounds":     {assemble("_start", []byte{0x41, 0x7f, 0x28, 2, 0, 0x1a}), "out of bounds"},
		"endless recursion": {assemble("_start", []byte{0x10, 0}), "stack overflow"},
		"data out of bounds": {assemble("_start", nothing[:0],
			part{secData, []byte{1, 0, 0x41, 0xff, 0xff, 3, 0x0b, 2, 'a', 'b'}}), "out of bounds"},
	} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			s := deployed(t, c.module, rouse.Function{})
			s.Log = func(l rouse.Line) { lines = append(lines, l.Stream.String()+" "+l.Text) }
			b := open(t, newDriver(t), s)
			code, _ := run(t, b, "")
			if code != codeTrap || !ended(b) || b.Exit().Code != codeTrap || !strings.Contains(b.Exit().Signal, c.says) {
				t.Errorf("code %d, ended %v, %+v", code, ended(b), b.Exit())
			}
			if !strings.Contains(strings.Join(lines, "\n"), c.says) || !strings.HasPrefix(lines[0], "platform ") {
				t.Errorf("log %q, want %q", lines, c.says)
			}
			b.Close()
			if held := b.Usage().Memory; held != 0 {
				t.Errorf("%d bytes are still held", held)
			}
		})
	}
}

func TestGrowingBeyondTheLimit(t *testing.T) {
	// if memory.grow(10) < 0 { unreachable }
	grow := []byte{0x41, 10, 0x40, 0, 0x41, 0, 0x48, 0x04, 0x40, 0x00, 0x0b}
	for limit, status := range map[int64]rouse.Status{5 * pageSize: rouse.StatusOutOfMemory, 11 * pageSize: rouse.StatusAnswered} {
		b := open(t, newDriver(t), deployed(t, assemble("_start", grow), rouse.Function{Limits: rouse.Limits{Memory: limit}}))
		run(t, b, "")
		got := rouse.StatusAnswered
		if ended(b) {
			got, _ = b.Exit().Failure()
		}
		if got != status {
			t.Errorf("limit %d: %v, want %v", limit, got, status)
		}
	}
}

func TestWhatCantBeRunIsRefusedAhead(t *testing.T) {
	good := assemble("_start", nil)
	for name, c := range map[string]struct {
		module  []byte
		handler string
		status  rouse.Status
		kind    string
		says    string
	}{
		"empty":            {nil, "", rouse.StatusFailed, "InvalidModule", "not a WebAssembly module"},
		"no module":        {[]byte("#!/bin/sh\necho hello"), "", rouse.StatusFailed, "InvalidModule", "not a WebAssembly module"},
		"component":        {[]byte("\x00asm\x0d\x00\x01\x00"), "", rouse.StatusFailed, "InvalidModule", "component"},
		"truncated":        {good[:len(good)-3], "", rouse.StatusFailed, "InvalidModule", "ends in the middle"},
		"invalid code":     {assemble("_start", []byte{0x6a}), "", rouse.StatusFailed, "InvalidModule", "can't be compiled"},
		"no file":          {good, "other.wasm", rouse.StatusFailed, "MissingHandler", "no file other.wasm"},
		"outside":          {good, "../main.wasm", rouse.StatusFailed, "MissingHandler", "no file in the bundle"},
		"no function":      {assemble("run", nil), "", rouse.StatusFailed, "MissingHandler", "it exports run"},
		"no such function": {assemble("run", nil), "main.wasm:walk", rouse.StatusFailed, "MissingHandler", "nor walk"},
		"parameters":       {assemble("handle", nil, part{secFunction, []byte{1, 1}}), "", rouse.StatusFailed, "MissingHandler", "parameters"},
		"foreign import":   {assemble("_start", nil, importing("env", "fly")), "", rouse.StatusFailed, "MissingImport", "env.fly"},
		"unknown import":   {assemble("_start", nil, importing(wasi, "fly")), "", rouse.StatusFailed, "MissingImport", "fly"},
		"large memory":     {assemble("_start", nil, part{secMemory, []byte{1, 0, 0x80, 0x80, 1}}), "", rouse.StatusOutOfMemory, "OutOfMemory", "1024 MB"},
		"large table":      {assemble("_start", nil, part{secTable, []byte{1, 0x70, 0, 0xff, 0xff, 0xff, 0x7f}}), "", rouse.StatusFailed, "InvalidModule", "table"},
		"the meter's own":  {assemble("_start", []byte{0x41, 0, 0x24, 0}), "", rouse.StatusFailed, "InvalidModule", "global"},
		"threads":          {assemble("_start", nil, part{secMemory, []byte{1, 3, 1, 1}}), "", rouse.StatusFailed, "InvalidModule", "shared"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t)
			s := deployed(t, c.module, rouse.Function{Handler: c.handler, Limits: rouse.Limits{Memory: 128 << 20}})
			for what, do := range map[string]func() error{
				"prepare": func() error { return d.Prepare(t.Context(), s) },
				"open":    func() error { _, err := d.Open(t.Context(), s); return err },
			} {
				boot, ok := errors.AsType[*rouse.BootError](do())
				if !ok {
					t.Fatalf("%s: no boot error", what)
				}
				if boot.Status != c.status || boot.Type != c.kind || !strings.Contains(boot.Message, c.says) {
					t.Errorf("%s: got %v %v, want %v %s: %q", what, boot.Status, boot, c.status, c.kind, c.says)
				}
			}
		})
	}
}

func TestNamedFunctionIsCalled(t *testing.T) {
	b := open(t, newDriver(t), deployed(t, assemble("walk", []byte{0x00}), rouse.Function{Handler: "main.wasm:walk"}))
	if code, _ := run(t, b, ""); code != codeTrap {
		t.Errorf("code %d", code)
	}
}

func TestBootOfAReactor(t *testing.T) {
	// _initialize is the start function here: it traps, or never returns.
	for name, c := range map[string]struct {
		body   []byte
		status rouse.Status
	}{
		"trap": {[]byte{0x00}, rouse.StatusCrashed},
		"loop": {[]byte{0x03, 0x40, 0x0c, 0, 0x0b}, rouse.StatusTimedOut},
	} {
		t.Run(name, func(t *testing.T) {
			exports := append(appendSized([]byte{2}, []byte("_initialize")), 0, 0)
			exports = append(appendSized(exports, []byte("handle")), 0, 0)
			d := newDriver(t)
			s := deployed(t, assemble("", c.body, part{secExport, exports}), rouse.Function{})
			if err := d.Prepare(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			if c.status == rouse.StatusTimedOut {
				go cancel()
			}
			_, err := d.Open(ctx, s)
			cancel()
			if errors.Is(err, context.Canceled) {
				return // it ended before the module began
			}
			if boot, ok := errors.AsType[*rouse.BootError](err); !ok || boot.Status != c.status {
				t.Errorf("got %v, want %v", err, c.status)
			}
		})
	}
}

func TestOtherModesAreRefused(t *testing.T) {
	s := deployed(t, assemble("_start", nil), rouse.Function{})
	s.Program.Mode = rouse.ModeServe
	if _, err := newDriver(t).Open(t.Context(), s); rouse.KindOf(err) != rouse.Invalid {
		t.Errorf("got %v", err)
	}
}

func TestModulesAreKeptOnDisk(t *testing.T) {
	module, err := guest.command()
	if err != nil {
		t.Fatal(err)
	}
	s := deployed(t, module, rouse.Function{})
	for range 2 {
		d, err := New(Config{CacheDir: cache})
		if err != nil {
			t.Fatal(err)
		}
		b := open(t, d, s)
		if _, got := run(t, b, "echo hello"); got != "hello" {
			t.Errorf("got %q", got)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if _, err := b.Run(t.Context(), rouse.Input{Body: strings.NewReader("")}, &bytes.Buffer{}); err == nil {
			t.Error("ran after the driver was closed")
		}
		if _, err := d.Open(t.Context(), s); err == nil {
			t.Error("opened after the driver was closed")
		}
	}
}

func TestCacheIsTrimmed(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"old", "new/a", "new/b"} {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, make([]byte, 10), 0o644); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(1e9+i), 0)
		if err := os.Chtimes(full, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := trim(dir, 25); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "new", "*")); len(left) != 2 {
		t.Errorf("left %q", left)
	}
	if _, err := os.Stat(filepath.Join(dir, "old")); !os.IsNotExist(err) {
		t.Error("the oldest stayed")
	}
	if err := trim(filepath.Join(dir, "gone"), 0); err != nil {
		t.Error(err)
	}
}

func TestEvictedModulesRunOn(t *testing.T) {
	d := newDriver(t)
	var boxes []rouse.Sandbox
	for i := range 3 {
		// A custom section makes each as large as half of what is kept.
		junk := append(assemble("_start", nil), appendSized([]byte{0}, append([]byte{1, 'x', byte(i)}, make([]byte, kept/2)...))...)
		boxes = append(boxes, open(t, d, deployed(t, junk, rouse.Function{})))
	}
	boxes[2].Close()
	boxes[2] = open(t, d, deployed(t, assemble("_start", nil), rouse.Function{}))
	for _, b := range boxes {
		if code, _ := run(t, b, ""); code != 0 {
			t.Errorf("code %d", code)
		}
	}
	for _, b := range boxes {
		b.Close()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bytes > kept || len(d.modules) != d.order.Len() || len(d.sandboxes) != 0 {
		t.Errorf("%d bytes in %d modules, %d sandboxes", d.bytes, len(d.modules), len(d.sandboxes))
	}
}

func TestLinesAreBroken(t *testing.T) {
	var got []int
	p := &printer{log: func(l rouse.Line) { got = append(got, len(l.Text)) }}
	w := p.stream(rouse.Stdout)
	for _, s := range []string{"abc", "de\n\nf", strings.Repeat("x", 2*maxLine) + "\n", "end"} {
		if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	p.drain()
	p.drain()
	if want := []int{5, 0, maxLine, maxLine, 1, 3}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestReturnsKeepTheDepth calls functions that return in each way there is, more
// often than the stack is deep.
func TestReturnsKeepTheDepth(t *testing.T) {
	types := []byte{3, 0x60, 0, 0, 0x60, 0, 1, 0x7f, 0x60, 0, 2, 0x7f, 0x7e}
	nop := []byte{0x10, 0} // a call, so that depth is counted
	bodies := [][]byte{
		{0x0b},                                // 0: nothing
		append(slices.Clone(nop), 0x0f, 0x0b), // 1: return
		append(slices.Clone(nop), 0x02, 0x40, 0x03, 0x40, 0x0f, 0x0b, 0x0b, 0x0b), // 2: return from within
		append(slices.Clone(nop), 0x02, 0x40, 0x41, 1, 0x0d, 1, 0x0b, 0x00, 0x0b), // 3: br_if to the function
		append(slices.Clone(nop), 0x41, 7, 0x0b),                                  // 4: a result
		append(slices.Clone(nop), 0x02, 0x40, 0x41, 7, 0x0f, 0x0b, 0x00, 0x0b),    // 5: return a result
		append(slices.Clone(nop), 0x41, 7, 0x42, 8, 0x0f, 0x0b),                   // 6: return two
		append(slices.Clone(nop), 0x41, 7, 0x42, 8, 0x41, 0, 0x0e, 0, 0, 0x0b),    // 7: br_table two
	}
	main := []byte{0x03, 0x40} // loop
	for i := 1; i < len(bodies); i++ {
		main = append(main, 0x10, byte(i))
		for range []int{0, 0, 0, 0, 1, 1, 2, 2}[i] {
			main = append(main, 0x1a) // drop
		}
	}
	main = append(main, 0x23, 0, 0x41, 1, 0x6a, 0x24, 0, 0x23, 0, 0x41) // while ++n < 1,000,000
	main = append(appendS32(main, 1_000_000), 0x48, 0x0d, 0, 0x0b, 0x0b)
	functions, code := []byte{9, 0, 0, 0, 0, 1, 1, 2, 2, 0}, []byte{9}
	for _, b := range append(bodies, main) {
		code = appendSized(code, append([]byte{0}, b...))
	}
	module := assemble("", nil, part{secType, types}, part{secFunction, functions}, part{secCode, code},
		part{secGlobal, []byte{1, 0x7f, 1, 0x41, 0, 0x0b}}, part{secExport, append(appendSized([]byte{1}, []byte("_start")), 0, 8)})
	b := open(t, newDriver(t), deployed(t, module, rouse.Function{}))
	if code, _ := run(t, b, ""); code != 0 {
		t.Errorf("code %d, %+v", code, b.Exit())
	}
}

func FuzzMeter(f *testing.F) {
	f.Add(assemble("_start", []byte{0x03, 0x40, 0x0c, 0, 0x0b}))
	f.Add(assemble("_start", nil, importing(wasi, "sched_yield"), part{secStart, []byte{0}},
		part{secTable, []byte{1, 0x70, 0, 1}}, part{secElement, []byte{1, 0, 0x41, 0, 0x0b, 1, 0}},
		part{secGlobal, []byte{1, 0x70, 0, 0xd2, 0, 0x0b}}, part{secData, []byte{1, 1, 2, 'a', 'b'}}, part{secDataCount, []byte{1}}))
	f.Add(assemble("_start", []byte{0x41, 0, 0x41, 0, 0x41, 1, 0xfc, 11, 0, 0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 10, 0, 0}))
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, module []byte) {
		d := newDriver(t)
		plain, err := d.runtime.CompileModule(t.Context(), module)
		if err == nil {
			plain.Close(t.Context())
		}
		with, merr := meter(module)
		if merr != nil {
			return // stricter than the compiler; what it takes must be right
		}
		if metered, cerr := d.runtime.CompileModule(t.Context(), with.code); err == nil && cerr != nil {
			t.Errorf("a good module is not one with a meter: %v", cerr)
		} else if cerr == nil {
			metered.Close(t.Context())
		}
	})
}
