package wasm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

// laborious is a module of one function with n locals that all live through n
// branches, which is more than linear work for a compiler. As text, for one:
//
//	(func (export "handle") (local i32)
//	  (local.set 0 (i32.load (i32.const 0)))
//	  (block (br_if 0 (local.get 0)) (local.set 0 (i32.add (local.get 0) (local.get 0))))
//	  (drop (i32.add (i32.const 0) (local.get 0))))
func laborious(n int) []byte {
	var code []byte
	put := func(b ...byte) { code = append(code, b...) }
	local := func(op byte, i int) { code = binary.AppendUvarint(append(code, op), uint64(i%n)) }
	const get, set, add = 0x20, 0x21, 0x6a
	code = append(binary.AppendUvarint([]byte{1}, uint64(n)), 0x7f)
	for i := range n {
		put(0x41, byte(i&0x3f), 0x28, 2, 0)
		local(set, i)
	}
	for i := range n {
		put(0x02, 0x40)
		local(get, i)
		put(0x0d, 0)
		local(get, 7*i)
		local(get, 13*i)
		put(add)
		local(set, 3*i)
		put(0x0b)
	}
	put(0x41, 0)
	for i := range n {
		local(get, i)
		put(add)
	}
	put(0x1a, 0x0b)
	return assemble("handle", nil, part{secCode, appendSized([]byte{1}, code)})
}

func TestACompilationIsBounded(t *testing.T) {
	d, err := New(Config{}) // of its own: nothing is known there
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for what, c := range map[string]struct {
		time   time.Duration
		memory int64
		says   string
	}{
		"time":   {time.Second, 8 << 30, "more than 1s of processor time"},
		"memory": {time.Minute, 160 << 20, "more than 160 MB of memory"},
	} {
		t.Run(what, func(t *testing.T) {
			d.compiler.time, d.compiler.memory = c.time, c.memory
			err := d.Prepare(t.Context(), deployed(t, laborious(3000), rouse.Function{}))
			boot, ok := errors.AsType[*rouse.BootError](err)
			if !ok || boot.Status != rouse.StatusFailed || boot.Type != "InvalidModule" || !strings.Contains(boot.Message, c.says) {
				t.Errorf("%v; want what says %q", err, c.says)
			}
		})
	}
}

func TestWhatWasCompiledOnceNeedsNoCompiler(t *testing.T) {
	dir := t.TempDir()
	for _, first := range []bool{true, false} {
		d, err := New(Config{CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if !first {
			d.compiler.memory = 0 // with which none can start
		}
		b := open(t, d, deployed(t, laborious(200), rouse.Function{}))
		if code, got := run(t, b, ""); code != 0 || got != "" {
			t.Errorf("%d, %q", code, got)
		}
		_ = b.Close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A server that is killed leaves no compiler at work.
func TestACompilerEndsWithTheServer(t *testing.T) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{compilerName, t.TempDir(), "60", "8000000000"}
	cmd.Stdin, cmd.ExtraFiles = bytes.NewReader(laborious(4000)), []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	_ = ours.Close()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
}

func TestHeadKeepsTheFirst(t *testing.T) {
	h := &head{most: 5}
	for _, s := range []string{"abc", "", "defg", "h"} {
		if n, err := io.WriteString(h, s); n != len(s) || err != nil {
			t.Errorf("%q: %d, %v", s, n, err)
		}
	}
	if h.kept.String() != "abcde" {
		t.Errorf("%q", h.kept.String())
	}
}

// Between the look for a module and the turn to compile it somebody else may have
// compiled it.
func TestAModuleIsHeldOnce(t *testing.T) {
	d := newDriver(t)
	s := deployed(t, laborious(3), rouse.Function{})
	file, _ := entry(s.Function.Handler)
	for range 2 {
		if err := d.compile(t.Context(), moduleKey{s.Function.Code, file}, s.Code); err != nil {
			t.Fatal(err)
		}
	}
	if d.order.Len() != 1 || len(d.modules) != 1 {
		t.Errorf("%d modules are held for %d", d.order.Len(), len(d.modules))
	}
}
