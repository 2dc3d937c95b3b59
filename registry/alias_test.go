package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

func TestAliases(t *testing.T) {
	p := open(t, nil)
	for n := range 3 {
		p.mustDeploy(t, rouse.Function{Env: map[string]string{"N": fmt.Sprint(n + 1)}}, "main.py", "")
	}
	set := func(a rouse.Alias) error {
		a.Function = hello
		return p.SetAlias(t.Context(), a)
	}
	for name, c := range map[string]struct {
		a    rouse.Alias
		kind rouse.Kind
	}{
		"number":           {rouse.Alias{Name: "7", Version: 1}, rouse.Invalid},
		"latest":           {rouse.Alias{Name: "latest", Version: 1}, rouse.Invalid},
		"no name":          {rouse.Alias{Version: 1}, rouse.Invalid},
		"no version":       {rouse.Alias{Name: "live"}, rouse.Invalid},
		"unknown version":  {rouse.Alias{Name: "live", Version: 4}, rouse.NotFound},
		"unknown other":    {rouse.Alias{Name: "live", Version: 1, Other: 4, Weight: 0.5}, rouse.NotFound},
		"the same twice":   {rouse.Alias{Name: "live", Version: 1, Other: 1, Weight: 0.5}, rouse.Invalid},
		"weight of none":   {rouse.Alias{Name: "live", Version: 1, Weight: 0.5}, rouse.Invalid},
		"negative":         {rouse.Alias{Name: "live", Version: 1, Other: 2, Weight: -0.1}, rouse.Invalid},
		"more than all":    {rouse.Alias{Name: "live", Version: 1, Other: 2, Weight: 1.1}, rouse.Invalid},
		"not even a share": {rouse.Alias{Name: "live", Version: 1, Other: 2, Weight: math.NaN()}, rouse.Invalid},
	} {
		if err := set(c.a); rouse.KindOf(err) != c.kind || err == nil {
			t.Errorf("%s: got %v, want %v", name, err, c.kind)
		}
	}
	if err := p.SetAlias(t.Context(), rouse.Alias{Function: rouse.Ref{Namespace: "default", Name: "gone"}, Name: "live", Version: 1}); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("got %v", err)
	}
	if err := set(rouse.Alias{Name: "live", Version: 2}); err != nil {
		t.Fatal(err)
	}
	p.find(t, "live", 2)
	if err := set(rouse.Alias{Name: "live", Version: 1, Other: 3, Weight: 1}); err != nil {
		t.Fatal(err)
	}
	p.find(t, "live", 3) // all of the calls
	if err := set(rouse.Alias{Name: "live", Version: 1, Other: 3, Weight: 0.25}); err != nil {
		t.Fatal(err)
	}
	got := map[int]int{}
	for range 4000 {
		f, err := p.Function(t.Context(), hello, "live")
		if err != nil {
			t.Fatal(err)
		}
		got[f.Version]++
	}
	// A quarter of 4,000 is 1,000; seven standard deviations are 190.
	if got[1]+got[3] != 4000 || got[3] < 800 || got[3] > 1200 {
		t.Errorf("got %v", got)
	}
	as, err := p.Aliases(t.Context(), hello)
	if err != nil || len(as) != 1 || as[0] != (rouse.Alias{Function: hello, Name: "live", Version: 1, Other: 3, Weight: 0.25}) {
		t.Errorf("got %+v, %v", as, err)
	}
	if err := p.RemoveAlias(t.Context(), hello, "live"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Function(t.Context(), hello, "live"); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("got %v", err)
	}
	if err := p.RemoveAlias(t.Context(), hello, "live"); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("got %v", err)
	}
	if err := set(rouse.Alias{Name: "live", Version: 2}); err != nil {
		t.Fatal(err)
	}
	if err := p.Remove(t.Context(), hello); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Aliases(t.Context(), hello); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("got %v", err)
	}
	p.mustDeploy(t, rouse.Function{}, "main.py", "")
	if as, err := p.Aliases(t.Context(), hello); err != nil || len(as) != 0 {
		t.Errorf("an alias outlived its function: %v, %v", as, err)
	}
}

func TestSweep(t *testing.T) {
	p := open(t, nil)
	count := func() (n int) {
		if err := p.blobs.List(t.Context(), func(rouse.Digest, int64) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	sweep := func(want int) {
		t.Helper()
		if n, err := p.Sweep(t.Context(), time.Hour); err != nil || n != want {
			t.Errorf("swept %d, %v, want %d", n, err, want)
		}
	}
	other := rouse.Ref{Namespace: "default", Name: "other"}
	a := p.mustDeploy(t, rouse.Function{}, "main.py", "a")
	p.mustDeploy(t, rouse.Function{}, "main.py", "b")
	p.mustDeploy(t, rouse.Function{Ref: other}, "main.py", "a")
	p.clock = p.clock.Add(2 * time.Hour)
	sweep(0)
	if err := p.Remove(t.Context(), hello); err != nil {
		t.Fatal(err)
	}
	sweep(0) // not needed, but not for long
	p.clock = p.clock.Add(2 * time.Hour)
	sweep(1) // b; the other function has a
	if n := count(); n != 1 {
		t.Errorf("%d blobs", n)
	}
	if _, err := p.blobs.Stat(t.Context(), a.Code); err != nil {
		t.Error(err)
	}
	if err := p.Remove(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	p.clock = p.clock.Add(2 * time.Hour)
	sweep(1)
	sweep(0)
	if n := count(); n != 0 {
		t.Errorf("%d blobs", n)
	}
	p.mustDeploy(t, rouse.Function{}, "main.py", "a")
	if _, err := p.blobs.Stat(t.Context(), a.Code); err != nil {
		t.Error("deployed again:", err)
	}
}

// A builder makes empty folders and counts.
type builder struct {
	dir     string
	builds  atomic.Int64
	stopped atomic.Int64
	err     error
	hold    chan struct{} // where not nil, a build waits for it
}

func (b *builder) Build(ctx context.Context, s BuildSpec, progress func(string)) error {
	b.builds.Add(1)
	if b.hold != nil {
		select {
		case <-b.hold:
		case <-ctx.Done():
			b.stopped.Add(1)
			return ctx.Err()
		}
	}
	progress("installing")
	if b.err != nil {
		return b.err
	}
	if _, err := os.Stat(s.Code); err != nil {
		return err
	}
	return os.Mkdir(filepath.Join(b.dir, string(s.Key)), 0o755)
}

func (b *builder) Dir(key rouse.Digest) (string, bool) {
	dir := filepath.Join(b.dir, string(key))
	_, err := os.Stat(dir)
	return dir, err == nil
}

// Trim implements Builder: it forgets the ages.
func (b *builder) Trim(_ context.Context, needed func(rouse.Digest) bool, _ time.Duration) error {
	folders, err := os.ReadDir(b.dir)
	for _, f := range folders {
		if !needed(rouse.Digest(f.Name())) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(b.dir, f.Name())))
		}
	}
	return err
}

func TestDependenciesThatNobodyNeedsAreRemoved(t *testing.T) {
	b := &builder{dir: t.TempDir()}
	p := open(t, func(c *Config) { c.Builder = b })
	kept := p.mustDeploy(t, rouse.Function{Ref: rouse.Ref{Namespace: "other", Name: "kept"}}, "main.py", "", "requirements.txt", "a").Deps
	gone := p.mustDeploy(t, rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: "gone"}}, "main.py", "", "requirements.txt", "b").Deps
	if err := p.Remove(t.Context(), rouse.Ref{Namespace: "default", Name: "gone"}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Sweep(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Dir(kept); !ok {
		t.Error("what a function needs was removed")
	}
	if _, ok := b.Dir(gone); ok {
		t.Error("what no function needs is still there")
	}
}

// Steps go to those who wait, from their own calls: who has left hears nothing.
func TestStepsGoToThoseWhoWait(t *testing.T) {
	var b builds
	say, done := make(chan string), make(chan struct{})
	build := func(_ context.Context, progress func(string)) error {
		for step := range say {
			progress(step)
		}
		<-done
		return nil
	}
	var left atomic.Bool
	heard := make(chan string, 10)
	ctx, leave := context.WithCancel(t.Context())
	first, second := make(chan error), make(chan error)
	go func() {
		err := b.do(ctx, "k", func(step string) {
			if left.Load() {
				t.Error("who has left is told ", step)
			}
			heard <- "1 " + step
		}, build)
		left.Store(true)
		first <- err
	}()
	say <- "a"
	if got := <-heard; got != "1 a" {
		t.Error(got)
	}
	go func() {
		second <- b.do(t.Context(), "k", func(step string) { heard <- "2 " + step }, build)
	}()
	for {
		b.mu.Lock()
		n := len(b.running["k"].waiting)
		b.mu.Unlock()
		if n == 2 {
			break
		}
		runtime.Gosched()
	}
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	say <- "b"
	if got := <-heard; got != "2 b" {
		t.Error(got)
	}
	close(say)
	close(done)
	if err := <-second; err != nil {
		t.Error(err)
	}
}

// A build ends when the last who waits for it has left, not when the first has.
func TestABuildThatNobodyWaitsForIsStopped(t *testing.T) {
	b := &builder{dir: t.TempDir(), hold: make(chan struct{})}
	p := open(t, func(c *Config) { c.Builder = b })
	deploy := func(name string) (leave func(), left chan error) {
		ctx, leave := context.WithCancel(t.Context())
		left = make(chan error, 1)
		f := rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: name}}
		go func() {
			_, err := p.Deploy(ctx, f, bytes.NewReader(zipped(t, "main.py", name, "requirements.txt", "flask")), nil)
			left <- err
		}()
		return leave, left
	}
	waiting := func(n int) bool {
		p.builds.mu.Lock()
		defer p.builds.mu.Unlock()
		for _, r := range p.builds.running {
			return len(r.waiting) == n
		}
		return n == 0
	}
	until := func(n int) {
		t.Helper()
		for !waiting(n) {
			runtime.Gosched()
		}
	}
	leave1, left1 := deploy("f1")
	until(1)
	leave2, left2 := deploy("f2")
	until(2)
	leave1()
	if err := <-left1; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	until(1)
	if b.stopped.Load() != 0 {
		t.Error("it was stopped while somebody waited")
	}
	leave2()
	if err := <-left2; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	until(0)
	for b.stopped.Load() != 1 {
		runtime.Gosched()
	}
	close(b.hold)
	if b.builds.Load() != 1 || p.mustDeploy(t, rouse.Function{}, "main.py", "", "requirements.txt", "flask").Deps == "" {
		t.Errorf("%d builds", b.builds.Load())
	}
}

func TestDependenciesAreBuiltOnce(t *testing.T) {
	b := &builder{dir: t.TempDir()}
	p := open(t, func(c *Config) { c.Builder = b })
	deps := func(f rouse.Function, files ...string) rouse.Digest {
		t.Helper()
		return p.mustDeploy(t, f, files...).Deps
	}
	plain := deps(rouse.Function{}, "main.py", "", "requirements.txt", "requests==2\nflask\n")
	same := deps(rouse.Function{}, "main.py", "other", "requirements.txt", "# for the web\n\n  requests==2  # pinned\r\nflask")
	if plain == "" || plain != same || b.builds.Load() != 1 {
		t.Errorf("%q, %q, %d builds", plain, same, b.builds.Load())
	}
	all := map[rouse.Digest]string{plain: "plain"}
	for name, key := range map[string]rouse.Digest{
		"other":           deps(rouse.Function{}, "main.py", "", "requirements.txt", "requests==3\nflask\n"),
		"other python":    deps(rouse.Function{Runtime: "python3.9"}, "main.py", "", "requirements.txt", "requests==2\nflask\n"),
		"local":           deps(rouse.Function{}, "main.py", "", "requirements.txt", "-r more.txt", "more.txt", "flask"),
		"local, changed":  deps(rouse.Function{}, "main.py", "", "requirements.txt", "-r more.txt", "more.txt", "django"),
		"folder":          deps(rouse.Function{}, "main.py", "", "requirements.txt", "lib/", "lib/setup.py", "1"),
		"folder, changed": deps(rouse.Function{}, "main.py", "", "requirements.txt", "lib/", "lib/setup.py", "2"),
		"workspace":       deps(rouse.Function{}, "index.js", "", "package.json", `{"workspaces":["lib"]}`, "lib/package.json", "{}"),
		"workspace 2":     deps(rouse.Function{}, "index.js", "", "package.json", `{"workspaces":["lib"]}`, "lib/package.json", "{ }"),
		"node":            deps(rouse.Function{}, "index.js", "", "package.json", `{"dependencies":{"a":"1","b":"2"}}`),
		"node, locked":    deps(rouse.Function{}, "index.js", "", "package.json", `{"dependencies":{"a":"1","b":"2"}}`, "package-lock.json", "{}"),
	} {
		if key == "" || all[key] != "" {
			t.Errorf("%s: key %q is that of %q", name, key, all[key])
		}
		all[key] = name
	}
	if key := deps(rouse.Function{}, "index.js", "", "package.json", `{"version":"2","dependencies":{"b":"2","a":"1"}}`); all[key] != "node" {
		t.Errorf("the same packages have key %q", key)
	}
	for _, files := range [][]string{
		{"main.py", "", "requirements.txt", "# none\n"},
		{"index.js", "", "package.json", `{"devDependencies":{"a":"1"}}`},
		{"index.js", "", "package.json", `{"dependencies":{"a":"1"}}`, "node_modules/a/index.js", ""},
	} {
		if key := deps(rouse.Function{}, files...); key != "" {
			t.Errorf("%q has dependencies %q", files, key)
		}
	}
}

func TestConcurrentBuildsAreOne(t *testing.T) {
	b := &builder{dir: t.TempDir(), hold: make(chan struct{})}
	p := open(t, func(c *Config) { c.Builder = b })
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			f := rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: fmt.Sprint("f", i)}}
			if f, err := p.deploy(t, f, "main.py", fmt.Sprint(i), "requirements.txt", "flask"); err != nil || f.Deps == "" {
				t.Errorf("%q, %v", f.Deps, err)
			}
		})
	}
	close(b.hold)
	wg.Wait()
	if n := b.builds.Load(); n != 1 {
		t.Errorf("%d builds", n)
	}
	b.err = rouse.Errorf(rouse.Invalid, "build", "", "there is no package flusk")
	if _, err := p.deploy(t, rouse.Function{}, "main.py", "", "requirements.txt", "flusk"); rouse.KindOf(err) != rouse.Invalid {
		t.Errorf("got %v", err)
	}
	b.err = nil
	p.mustDeploy(t, rouse.Function{}, "main.py", "", "requirements.txt", "flusk")
}

func TestKnownIsBounded(t *testing.T) {
	k := newKnown()
	for i := range maxKnown + 10 {
		r := rouse.Ref{Name: fmt.Sprint(i)}
		_, _, mark := k.version(r, "")
		k.learn(r, mark, func(e *entry) { e.newest(rouse.Function{Ref: r}) })
	}
	if len(k.byRef) != maxKnown || k.order.Len() != maxKnown {
		t.Errorf("%d known, %d in order", len(k.byRef), k.order.Len())
	}
	r := rouse.Ref{Name: "many"}
	for i := range 100 {
		_, _, mark := k.version(r, "")
		k.learn(r, mark, func(e *entry) { e.set(fmt.Sprint(i), &rouse.Function{}) })
	}
	if n := len(k.entry(r).versions); n > maxParts {
		t.Errorf("%d versions", n)
	}
	// What was read before a change is not learnt after it.
	_, _, mark := k.version(r, "")
	k.forget(r)
	k.learn(r, mark, func(*entry) { t.Error("learnt what is out of date") })
}

func BenchmarkFunction(b *testing.B) {
	p := open(b, nil)
	p.mustDeploy(b, rouse.Function{}, "main.py", "")
	if err := p.SetAlias(b.Context(), rouse.Alias{Function: hello, Name: "live", Version: 1}); err != nil {
		b.Fatal(err)
	}
	for _, q := range []string{"", "1", "live"} {
		b.Run("qualifier "+q, func(b *testing.B) {
			for b.Loop() {
				if _, err := p.Function(b.Context(), hello, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDeploy(b *testing.B) {
	p := open(b, nil)
	for b.Loop() {
		p.mustDeploy(b, rouse.Function{}, "main.py", "")
	}
}
