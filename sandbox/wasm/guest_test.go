package wasm

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rouse-run/rouse"
)

// guest builds testdata/guest once, as a command or as a reactor, and returns
// the module.
var guest = struct{ command, reactor func() ([]byte, error) }{
	sync.OnceValues(func() ([]byte, error) { return build() }),
	sync.OnceValues(func() ([]byte, error) { return build("-buildmode=c-shared") }),
}

func build(flags ...string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", append(append([]string{"build", "-o", out}, flags...), "./testdata/guest")...)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// A part is a section of a module made by hand.
type part struct {
	id   byte
	body []byte
}

// assemble makes a module that imports what imports say, has one page of memory
// and one function, exported as name, whose code is body.
func assemble(name string, body []byte, more ...part) []byte {
	parts := map[byte][]byte{
		secType:     {2, 0x60, 0, 0, 0x60, 1, 0x7f, 0},
		secFunction: {1, 0},
		secMemory:   {1, 0, 1},
		secExport:   append(appendSized([]byte{1}, []byte(name)), 0, 0),
		secCode:     appendSized([]byte{1}, append([]byte{0}, append(body, 0x0b)...)),
	}
	for _, p := range more {
		parts[p.id] = p.body
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, id := range order {
		if b := parts[byte(id)]; b != nil {
			out = appendSized(append(out, byte(id)), b)
		}
	}
	return out
}

// importing is an import section with one function of no parameters.
func importing(from, name string) part {
	b := appendSized(appendSized([]byte{1}, []byte(from)), []byte(name))
	return part{secImport, append(b, 0, 0)}
}

func deployed(t testing.TB, module []byte, f rouse.Function) rouse.Spec {
	t.Helper()
	dir := t.TempDir()
	for name, b := range map[string][]byte{"main.wasm": module, "data.txt": []byte("some data")} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f.Ref = rouse.Ref{Namespace: "default", Name: "guest"}
	f.Code = rouse.DigestOf(module)
	f.Runtime = "wasm"
	if f.Handler == "" {
		f.Handler = "main.wasm"
	}
	return rouse.Spec{Function: f, Code: dir, Program: rouse.Program{Mode: rouse.ModeOnce}}
}
