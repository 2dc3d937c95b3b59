package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/shape"
)

// maxLock bounds the files that say which dependencies are needed.
const maxLock = 16 << 20

// local matches what names files of the bundle itself, and npm's scripts, which
// may: their content decides, too, what is built.
var local = regexp.MustCompile(`(?m)^\s*(-r|-c|-e|--requirement|--constraint|--editable|\.|/)|file:|link:|workspace:|"workspaces":|"(preinstall|install|postinstall|prepublish|preprepare|prepare|postprepare)":`)

// byteOrderMark begins files that some editors write; npm and Node pass over it.
const byteOrderMark = "\ufeff"

// locks are the files that pin what package.json asks for.
var locks = []string{"package-lock.json", "npm-shrinkwrap.json"}

// dependencies has built what the bundle asks for, once for all that ask for
// the same.
func (d *deploy) dependencies(ctx context.Context) error {
	key, own, err := d.lock()
	if err != nil || key == "" {
		return err
	}
	if d.cfg.Builder == nil {
		return d.refuse("this server builds no dependencies: put them into the bundle")
	}
	if dir, ok := d.cfg.Builder.Dir(key); ok {
		d.f.Deps, d.deps = key, dir
		return nil
	}
	d.progress("building dependencies")
	spec := BuildSpec{Runtime: d.runtime, Family: d.runtime.Family, Code: d.dir, Own: own, Key: key}
	err = d.builds.do(ctx, key, d.progress, func(ctx context.Context, progress func(string)) error {
		if _, ok := d.cfg.Builder.Dir(key); ok {
			return nil // built since we looked
		}
		return d.cfg.Builder.Build(ctx, spec, progress)
	})
	if err != nil {
		return err
	}
	dir, ok := d.cfg.Builder.Dir(key)
	if !ok {
		return errors.New("dependencies were built and are not there")
	}
	d.f.Deps, d.deps = key, dir
	return nil
}

// builds are those that run, by key: many who want the same wait for one.
type builds struct {
	mu      sync.Mutex
	running map[rouse.Digest]*build // guarded by mu
}

type build struct {
	waiting map[chan string]struct{} // guarded by builds.mu; where those who wait hear of its steps
	stop    context.CancelFunc
	done    chan struct{}
	err     error // once done
}

// do has f run once for all who ask for the same key meanwhile. It goes on where
// the first of them leaves, and is stopped when all have left. Its steps go to
// the progress of each, which is called from do alone; who is slow misses some.
func (b *builds) do(ctx context.Context, key rouse.Digest, progress func(string), f func(ctx context.Context, progress func(string)) error) error {
	heard := make(chan string, 256)
	b.mu.Lock()
	r := b.running[key]
	if r == nil {
		run, stop := context.WithCancel(context.WithoutCancel(ctx))
		r = &build{waiting: map[chan string]struct{}{}, stop: stop, done: make(chan struct{})}
		if b.running == nil {
			b.running = map[rouse.Digest]*build{}
		}
		b.running[key] = r
		go func() {
			defer close(r.done)
			defer stop()
			r.err = f(run, func(step string) { b.tell(r, step) })
			b.leave(key, r, nil)
		}()
	}
	r.waiting[heard] = struct{}{}
	b.mu.Unlock()
	for {
		select {
		case step := <-heard:
			progress(step)
		case <-r.done:
			for len(heard) > 0 {
				progress(<-heard)
			}
			return r.err
		case <-ctx.Done():
			b.leave(key, r, heard)
			return ctx.Err()
		}
	}
}

// tell hands a step to all who wait.
func (b *builds) tell(r *build, step string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for heard := range r.waiting {
		select {
		case heard <- step:
		default:
		}
	}
}

// leave forgets who leaves, where that is somebody, and a build that is done or
// that nobody waits for any more.
func (b *builds) leave(key rouse.Digest, r *build, who chan string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(r.waiting, who)
	if (who == nil || len(r.waiting) == 0) && b.running[key] == r {
		delete(b.running, key)
		r.stop()
	}
}

// lock returns the key of what is to be built, "" where nothing is, and whether
// files of the code are part of it.
func (d *deploy) lock() (key rouse.Digest, own bool, err error) {
	var asked string
	switch d.runtime.Family {
	case familyPython:
		asked, err = d.requirements()
	case familyNode:
		asked, err = d.packages()
	}
	if err != nil || asked == "" {
		return "", false, err
	}
	sum := sha256.New()
	// Lengths keep the parts apart.
	for _, part := range []string{d.runtime.Family, d.runtime.Name, d.runtime.Version, asked} {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	if own = local.MatchString(asked); own {
		fmt.Fprint(sum, d.f.Code)
	}
	return rouse.Digest(hex.EncodeToString(sum.Sum(nil))), own, nil
}

func (d *deploy) text(name string) (string, error) {
	info, err := os.Stat(filepath.Join(d.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxLock {
		return "", d.refuse("%s must be a file of at most %d MB", name, maxLock>>20)
	}
	b, err := os.ReadFile(filepath.Join(d.dir, name))
	return string(b), err
}

// requirements returns requirements.txt without what says nothing.
func (d *deploy) requirements() (string, error) {
	if _, err := os.Stat(filepath.Join(d.dir, "virtualenv")); err == nil {
		return "", nil // brought along
	}
	text, err := d.text("requirements.txt")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case strings.HasPrefix(line, "-e") || strings.HasPrefix(line, "--editable"):
			return "", d.refuse("requirements.txt: %s: what is installed is kept apart from the code and can't be edited there; write the path alone", line)
		case filepath.IsLocal(line) && !strings.HasPrefix(line, "."): // a folder or a file of the bundle, if there is one
			if _, err := os.Stat(filepath.Join(d.dir, line)); err == nil {
				line = "./" + line
			}
		}
		b.WriteString(line + "\n")
	}
	return b.String(), nil
}

// packages returns what of package.json decides what is built, and its locks.
func (d *deploy) packages() (string, error) {
	text, err := d.text("package.json")
	if err != nil || text == "" {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(d.dir, "node_modules")); err == nil {
		return "", nil // brought along
	}
	var all map[string]json.RawMessage
	text = strings.TrimPrefix(text, byteOrderMark)
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return "", d.refuse("package.json can't be used: %s", shape.Fault(err))
	}
	var m manifest
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return "", d.refuse("package.json can't be used: %s", shape.Fault(err))
	}
	if len(m.Dependencies)+len(m.OptionalDependencies) == 0 && all["workspaces"] == nil {
		return "", nil
	}
	asked := map[string]any{}
	for _, field := range []string{"dependencies", "optionalDependencies", "peerDependencies", "overrides", "scripts", "workspaces"} {
		if raw, ok := all[field]; ok {
			var v any
			if err := json.Unmarshal(raw, &v); err != nil {
				return "", d.refuse("package.json can't be used: %s: %s", field, shape.Fault(err))
			}
			asked[field] = v // its names are sorted when it is written
		}
	}
	for _, lock := range locks {
		text, err := d.text(lock)
		if err != nil {
			return "", err
		}
		asked[lock] = text
	}
	b, err := json.Marshal(asked)
	return string(b), err
}
