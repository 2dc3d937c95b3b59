package registry

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/blob/file"
	"github.com/rouse-run/rouse/bundle"
	"github.com/rouse-run/rouse/contract/http"
	"github.com/rouse-run/rouse/contract/native"
	"github.com/rouse-run/rouse/contract/stdio"
	"github.com/rouse-run/rouse/meta"
	"github.com/rouse-run/rouse/sandbox/wasm"
	"github.com/rouse-run/rouse/store/sqlite"
)

// interpreters are a Driver of runtimes that this host need not have.
type interpreters struct {
	rouse.Driver
	prepared func(rouse.Spec) error
}

func (interpreters) Runtimes() []rouse.Runtime {
	return []rouse.Runtime{
		{Name: "python3.12", Aliases: []string{"python3"}, Version: "3.12.1", Family: "python"},
		{Name: "python3.9", Version: "3.9.2", Family: "python"},
		{Name: "nodejs20", Aliases: []string{"nodejs"}, Version: "20.1.0", Family: "node"},
		{Name: "executable", Family: "executable"},
	}
}

func (i interpreters) Prepare(_ context.Context, s rouse.Spec) error {
	if i.prepared == nil {
		return nil
	}
	return i.prepared(s)
}

type place struct {
	*Registry
	blobs rouse.Blobs
	clock time.Time
}

func open(t testing.TB, change func(*Config)) *place {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	keys, err := store.Keys(t.Context(), "meta")
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := file.Open(filepath.Join(t.TempDir(), "blob"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := bundle.OpenCache(bundle.CacheConfig{Dir: t.TempDir(), Blobs: blobs})
	if err != nil {
		t.Fatal(err)
	}
	modules, err := wasm.New(wasm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { modules.Close() })
	p := &place{blobs: blobs, clock: time.Unix(1e9, 0)}
	cfg := Config{
		Meta: meta.New(keys), Blobs: blobs, Cache: cache, Memory: 1 << 30, Drivers: []rouse.Driver{interpreters{}, modules},
		Contracts: map[string]rouse.Contract{"native": native.Contract{}, "http": http.Contract{}, "stdio": stdio.Contract{}, "wasi": stdio.Contract{}},
		Now:       func() time.Time { return p.clock },
	}
	if change != nil {
		change(&cfg)
	}
	p.Registry = New(cfg)
	return p
}

// zipped packs files, given as name and content; what begins with #! can be run.
func zipped(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		h := &zip.FileHeader{Name: files[i]}
		h.SetMode(0o644)
		if strings.HasPrefix(files[i+1], "#!") {
			h.SetMode(0o755)
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, files[i+1])
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var hello = rouse.Ref{Namespace: "default", Name: "hello"}

func (p *place) deploy(t testing.TB, f rouse.Function, files ...string) (rouse.Function, error) {
	t.Helper()
	if f.Name == "" {
		f.Ref = hello
	}
	return p.Deploy(t.Context(), f, bytes.NewReader(zipped(t, files...)), nil)
}

func (p *place) mustDeploy(t testing.TB, f rouse.Function, files ...string) rouse.Function {
	t.Helper()
	got, err := p.deploy(t, f, files...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// empty is the smallest module that can be run: a _start that does nothing.
const empty = "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x07\x0a\x01\x06_start\x00\x00\x0a\x04\x01\x02\x00\x0b"

func TestDeployFillsIn(t *testing.T) {
	p := open(t, func(c *Config) { c.Defaults = rouse.Limits{Memory: 128 << 20} })
	for name, c := range map[string]struct {
		files                      []string
		f                          rouse.Function
		runtime, contract, handler string
	}{
		"main.py":           {[]string{"main.py", "", "other.py", ""}, rouse.Function{}, "python3", "native", "main.main"},
		"one python file":   {[]string{"shop.py", ""}, rouse.Function{}, "python3", "native", "shop.main"},
		"python by name":    {[]string{"a.py", "", "b.py", ""}, rouse.Function{Handler: "b.run", Runtime: "python3.9"}, "python3.9", "native", "b.run"},
		"python package":    {[]string{"a/b/__init__.py", ""}, rouse.Function{Handler: "a.b.run", Runtime: "python3"}, "python3", "native", "a.b.run"},
		"python server":     {[]string{"app.py", "", "lib.py", ""}, rouse.Function{Contract: "http"}, "python3", "http", "app.py"},
		"python module":     {[]string{"app/__main__.py", ""}, rouse.Function{Runtime: "python3", Contract: "http", Handler: "app"}, "python3", "http", "app"},
		"python in folders": {[]string{"app/h.py", "", "x.txt", ""}, rouse.Function{Handler: "app.h.main"}, "python3", "native", "app.h.main"},
		"node in folders":   {[]string{"lib/h.mjs", "", "x.txt", ""}, rouse.Function{Handler: "lib/h.main"}, "nodejs", "native", "lib/h.main"},
		"index.mjs":         {[]string{"index.mjs", ""}, rouse.Function{}, "nodejs", "native", "index.main"},
		"package.json":      {[]string{"package.json", `{"main":"./lib/app.js"}`, "lib/app.js", ""}, rouse.Function{}, "nodejs", "native", "lib/app.main"},
		"package.json, BOM": {[]string{"package.json", "\ufeff" + `{"main":"./lib/app.js"}`, "lib/app.js", ""}, rouse.Function{}, "nodejs", "native", "lib/app.main"},
		"package.json, dir": {[]string{"package.json", `{"main":"lib"}`, "lib/index.js", ""}, rouse.Function{}, "nodejs", "native", "lib/index.main"},
		"one node file":     {[]string{"shop.cjs", ""}, rouse.Function{}, "nodejs", "native", "shop.main"},
		"node server":       {[]string{"server.js", "", "x.js", ""}, rouse.Function{Contract: "http"}, "nodejs", "http", "server.js"},
		"wasm":              {[]string{"shop.wasm", empty}, rouse.Function{}, "wasm", "wasi", "shop.wasm"},
		"wasm with entry":   {[]string{"a.wasm", empty, "b.wasm", empty}, rouse.Function{Handler: "b.wasm:_start"}, "wasm", "wasi", "b.wasm:_start"},
		"program":           {[]string{"run", "#!/bin/sh", "data", ""}, rouse.Function{}, "executable", "stdio", "run"},
		"program by name":   {[]string{"bin/a", "#!", "bin/b", "#!"}, rouse.Function{Runtime: "executable", Handler: "bin/b"}, "executable", "stdio", "bin/b"},
	} {
		t.Run(name, func(t *testing.T) {
			f := p.mustDeploy(t, c.f, c.files...)
			if f.Runtime != c.runtime || f.Contract != c.contract || f.Handler != c.handler {
				t.Errorf("got %s %s %s, want %s %s %s", f.Runtime, f.Contract, f.Handler, c.runtime, c.contract, c.handler)
			}
			if f.Limits.Memory != 128<<20 || f.Limits.Tmp != 64<<20 || f.Limits.Timeout != rouse.Duration(30*time.Second) ||
				f.Retry.Attempts != 3 || f.Created.IsZero() || f.CodeSize == 0 || f.Code != rouse.DigestOf(zipped(t, c.files...)) {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestDeployRefuses(t *testing.T) {
	p := open(t, func(c *Config) { c.MaxCode = 1 << 20 })
	py := []string{"main.py", ""}
	limits := func(l rouse.Limits) rouse.Function { return rouse.Function{Limits: l} }
	env := func(k, v string) rouse.Function { return rouse.Function{Env: map[string]string{k: v}} }
	for name, c := range map[string]struct {
		f     rouse.Function
		files []string
		kind  rouse.Kind
		says  string
	}{
		"name":              {rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: "a//b"}}, py, rouse.Invalid, "name is"},
		"large":             {rouse.Function{}, []string{"main.py", strings.Repeat("x", 1<<20)}, rouse.TooLarge, "1 MB"},
		"outside":           {rouse.Function{}, []string{"../main.py", ""}, rouse.Invalid, "leads out"},
		"unknown runtime":   {rouse.Function{Runtime: "cobol"}, py, rouse.Invalid, "python3.12, python3, python3.9, nodejs20, nodejs, executable, wasm"},
		"no runtime":        {rouse.Function{Handler: "b.d.main"}, []string{"a.txt", "", "b/c.py", ""}, rouse.Invalid, "the bundle holds a.txt, b/"},
		"source of Go":      {rouse.Function{}, []string{"main.go", "package main", "go.mod", "module x"}, rouse.Invalid, "GOOS=wasip1 GOARCH=wasm go build"},
		"source of TS":      {rouse.Function{}, []string{"main.ts", ""}, rouse.Invalid, "npx tsc"},
		"unknown contract":  {rouse.Function{Contract: "telepathy"}, py, rouse.Invalid, "http, native, stdio, wasi"},
		"native wasm":       {rouse.Function{Contract: "native"}, []string{"a.wasm", empty}, rouse.Invalid, "use wasi"},
		"http wasm":         {rouse.Function{Contract: "http"}, []string{"a.wasm", empty}, rouse.Invalid, "use contract wasi"},
		"wasm that may":     {rouse.Function{Allow: []string{"table:t r"}}, []string{"a.wasm", empty}, rouse.Invalid, "a wasm module can't use the platform"},
		"missing handler":   {rouse.Function{Handler: "shop.main"}, py, rouse.Invalid, "shop.py or shop/__init__.py, which is not in the bundle; it holds main.py"},
		"handler's form":    {rouse.Function{Handler: "main"}, py, rouse.Invalid, "main.main (file main.py, function main)"},
		"handler outside":   {rouse.Function{Handler: "../x.main", Runtime: "nodejs"}, []string{"x.js", ""}, rouse.Invalid, "is not of the form"},
		"several files":     {rouse.Function{}, []string{"a.py", "", "b.py", ""}, rouse.Invalid, "--handler"},
		"not executable":    {rouse.Function{Runtime: "executable", Handler: "run"}, []string{"run", "x"}, rouse.Invalid, "chmod +x"},
		"broken wasm":       {rouse.Function{}, []string{"a.wasm", "wat"}, rouse.Invalid, "not a WebAssembly module"},
		"little memory":     {limits(rouse.Limits{Memory: 1 << 20}), py, rouse.Invalid, "memory is 1 MB: it must be from 16 MB to 1024 MB"},
		"much memory":       {limits(rouse.Limits{Memory: 2 << 30}), py, rouse.Invalid, "memory is 2048 MB"},
		"tmp over memory":   {limits(rouse.Limits{Memory: 32 << 20, Tmp: 65 << 20}), py, rouse.Invalid, "tmp is 65 MB: it must be from 0 MB to 32 MB"},
		"timeout":           {limits(rouse.Limits{Timeout: 1}), py, rouse.Invalid, "timeout is 1ns: it must be from 1ms to 24h0m0s"},
		"negative":          {limits(rouse.Limits{Answer: -1}), py, rouse.Invalid, "answer is -1 bytes"},
		"few processes":     {limits(rouse.Limits{Processes: 3}), []string{"index.js", ""}, rouse.Invalid, "Node needs at least 8"},
		"concurrency":       {limits(rouse.Limits{Concurrency: 1001}), py, rouse.Invalid, "concurrency is 1001: it must be from 1 to 1000"},
		"min over max":      {limits(rouse.Limits{Min: 3, Max: 2}), py, rouse.Invalid, "min is 3"},
		"env name":          {env("1A", ""), py, rouse.Invalid, `env "1A" is no name`},
		"platform's env":    {env("ROUSE_X", ""), py, rouse.Invalid, "the platform's own"},
		"NUL in env":        {env("A", "\x00"), py, rouse.Invalid, "NUL"},
		"large env":         {env("A", strings.Repeat("x", 128<<10)), py, rouse.Invalid, "131072"},
		"notes":             {rouse.Function{Notes: rouse.Notes{"x": []byte("{")}}, py, rouse.Invalid, "not JSON"},
		"no builder":        {rouse.Function{}, []string{"main.py", "", "requirements.txt", "requests"}, rouse.Invalid, "builds no dependencies"},
		"bad package.json":  {rouse.Function{}, []string{"index.js", "", "package.json", "{"}, rouse.Invalid, "package.json can't be used: it ends too early"},
		"list package.json": {rouse.Function{}, []string{"index.js", "", "package.json", "[]"}, rouse.Invalid, "package.json can't be used: it is a list where an object is expected"},
		"odd package.json":  {rouse.Function{}, []string{"index.js", "", "package.json", `{"dependencies":3}`}, rouse.Invalid, `"dependencies" is a number where an object is expected`},
		"editable":          {rouse.Function{}, []string{"main.py", "", "requirements.txt", "-e ./lib\n"}, rouse.Invalid, "write the path alone"},
		"requirements' dir": {rouse.Function{}, []string{"main.py", "", "requirements.txt/x", ""}, rouse.Invalid, "must be a file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.deploy(t, c.f, c.files...)
			if rouse.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v %v, want %v with %q", rouse.KindOf(err), err, c.kind, c.says)
			}
		})
	}
	if fs, err := p.Functions(t.Context(), "default", "", 0); err != nil || len(fs) > 0 {
		t.Errorf("left: %v, %v", fs, err)
	}
	err := p.blobs.List(t.Context(), func(d rouse.Digest, _ int64) bool { t.Errorf("left blob %s", d); return true })
	if err != nil {
		t.Error(err)
	}
	broken := errors.New("line cut")
	if _, err := p.Deploy(t.Context(), rouse.Function{Ref: hello}, io.MultiReader(strings.NewReader("PK"), &failing{broken}), nil); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestAScriptThatCantBeRunSaysWhy(t *testing.T) {
	p := open(t, nil)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("go.sh") // which marks nothing as executable
	if err == nil {
		_, err = io.WriteString(w, "#!/bin/sh\n")
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Deploy(t.Context(), rouse.Function{Ref: hello}, &b, nil); err == nil || !strings.Contains(err.Error(), "make go.sh executable (chmod +x), or say which") {
		t.Errorf("%v", err)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

func TestPrepareShowsWhatCantRun(t *testing.T) {
	var err error
	p := open(t, func(c *Config) {
		c.Drivers = []rouse.Driver{interpreters{prepared: func(s rouse.Spec) error {
			if _, serr := os.Stat(filepath.Join(s.Code, "main.py")); serr != nil || s.Program.Mode != rouse.ModeWorker {
				return &rouse.BootError{Failure: rouse.Failure{Type: "Test", Message: fmt.Sprintf("spec %+v", s)}}
			}
			return err
		}}}
	})
	err = errors.New("no spare")
	p.mustDeploy(t, rouse.Function{}, "main.py", "")
	err = &rouse.BootError{Failure: rouse.Failure{Type: "SyntaxError", Message: "invalid syntax", Stack: "main.py, line 1\n"}}
	if _, got := p.deploy(t, rouse.Function{}, "main.py", "("); rouse.KindOf(got) != rouse.Invalid || !strings.HasSuffix(got.Error(), "SyntaxError: invalid syntax\nmain.py, line 1") {
		t.Errorf("got %v", got)
	}
	if f, err := p.Function(t.Context(), hello, ""); err != nil || f.Version != 1 {
		t.Errorf("version %d, %v", f.Version, err)
	}
}

func TestVersions(t *testing.T) {
	p := open(t, nil)
	for n := range 3 {
		f := p.mustDeploy(t, rouse.Function{Env: map[string]string{"N": fmt.Sprint(n + 1)}}, "main.py", fmt.Sprint(n))
		if f.Version != n+1 {
			t.Errorf("version %d, want %d", f.Version, n+1)
		}
		p.find(t, "", n+1)
	}
	other := p.mustDeploy(t, rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: "hello-2"}}, "main.py", "")
	p.find(t, "latest", 3)
	p.find(t, "2", 2)
	p.find(t, "02", 2)
	p.find(t, "1", 1)
	for _, q := range []string{"4", "0", "-1", "live", "1.5", "99999999999999999999", "@1"} {
		if _, err := p.Function(t.Context(), hello, q); rouse.KindOf(err) != rouse.NotFound || !strings.Contains(err.Error(), "newest version is 3") {
			t.Errorf("%s: got %v", q, err)
		}
	}
	vs, err := p.Versions(t.Context(), hello)
	if err != nil || len(vs) != 3 || vs[0].Version != 1 || vs[2].Version != 3 {
		t.Errorf("got %+v, %v", vs, err)
	}
	fs, err := p.Functions(t.Context(), "default", "hello", 1)
	if err != nil || len(fs) != 1 || fs[0].Name != "hello-2" {
		t.Errorf("got %+v, %v", fs, err)
	}
	if err := p.Remove(t.Context(), hello); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"", "1", "3"} {
		if _, err := p.Function(t.Context(), hello, q); rouse.KindOf(err) != rouse.NotFound {
			t.Errorf("%q after removal: %v", q, err)
		}
	}
	if err := p.Remove(t.Context(), hello); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("removed twice: %v", err)
	}
	if f, err := p.Function(t.Context(), other.Ref, "1"); err != nil || f.Name != "hello-2" {
		t.Errorf("the neighbour: %v, %v", f, err)
	}
	if f := p.mustDeploy(t, rouse.Function{}, "main.py", ""); f.Version != 1 {
		t.Errorf("version %d after removal", f.Version)
	}
}

func (p *place) find(t *testing.T, qualifier string, want int) {
	t.Helper()
	for range 2 { // read, then known
		f, err := p.Function(t.Context(), hello, qualifier)
		if err != nil || f.Version != want || f.Env["N"] != fmt.Sprint(want) {
			t.Errorf("%q: got version %d, %v, want %d", qualifier, f.Version, err, want)
		}
	}
}

func TestConcurrentDeploysAllSucceed(t *testing.T) {
	p := open(t, nil)
	const n = 16
	var mu sync.Mutex
	seen := map[int]bool{}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			f, err := p.deploy(t, rouse.Function{}, "main.py", fmt.Sprint(i%4))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[f.Version] = true
			if _, err := p.Function(t.Context(), hello, fmt.Sprint(f.Version)); err != nil {
				t.Error(err)
			}
			if newest, err := p.Function(t.Context(), hello, ""); err != nil || newest.Version < f.Version {
				t.Errorf("after version %d the newest is %d: %v", f.Version, newest.Version, err)
			}
		})
	}
	wg.Wait()
	if len(seen) != n || !seen[1] || !seen[n] {
		t.Errorf("versions %v", seen)
	}
	if f, err := p.Function(t.Context(), hello, ""); err != nil || f.Version != n {
		t.Errorf("newest is %d, %v", f.Version, err)
	}
}

func TestAllowIsCheckedAndStored(t *testing.T) {
	p := open(t, nil)
	f, err := p.deploy(t, rouse.Function{Allow: []string{"bucket:photos  rw", "table:* r"}}, "main.py", "def main(): pass")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := p.Function(t.Context(), hello, "")
	if err != nil || strings.Join(stored.Allow, ",") != "bucket:photos rw,table:* r" || strings.Join(f.Allow, ",") != "bucket:photos rw,table:* r" {
		t.Errorf("%q %q %v", f.Allow, stored.Allow, err)
	}
	for _, c := range []struct {
		allow []string
		says  string
	}{
		{[]string{"bucket:photos rw", "photos"}, `allow "photos"`},
		{make([]string, 101), "100"},
	} {
		if _, err := p.deploy(t, rouse.Function{Allow: c.allow}, "main.py", "def main(): pass"); rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "hello") {
			t.Errorf("%q: %v", c.allow, err)
		}
	}
}

func TestWhatNeverCanRunIsNotDeployed(t *testing.T) {
	p := open(t, func(c *Config) {
		c.Drivers[0] = interpreters{prepared: func(s rouse.Spec) error {
			if len(s.Function.Allow) > 0 {
				return rouse.Errorf(rouse.NotImplemented, "open sandbox", "", "not in this tier")
			}
			return nil
		}}
	})
	if _, err := p.deploy(t, rouse.Function{Allow: []string{"table:t r"}}, "main.py", "def main(): pass"); rouse.KindOf(err) != rouse.NotImplemented || !strings.Contains(err.Error(), "not in this tier") {
		t.Errorf("%v", err)
	}
	if _, err := p.deploy(t, rouse.Function{}, "main.py", "def main(): pass"); err != nil {
		t.Error(err)
	}
}
