// Package wasm runs WebAssembly modules built for WASI preview 1, in this
// process, by wazero. A module sees its standard streams, its environment, its
// bundle below /fn, clocks and random bytes, and nothing else: no network, no
// file it could write.
package wasm

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
	"golang.org/x/sync/singleflight"

	"github.com/rouse-run/rouse"
)

// maxCache is how many bytes of compiled modules a new Driver leaves on disk.
const maxCache = 4 << 30

// Config says how a Driver works.
type Config struct {
	CacheDir string // where compiled modules are kept; "" keeps them until Close
	Log      *slog.Logger
}

// A Driver runs Functions of runtime "wasm". Their Handler is a module's file
// or, where it holds more than one entry, "file:function". A module that
// exports _start is a command: it is run anew for each event. Any other is a
// reactor: it is made ready once, by _initialize, and its function, "handle"
// where the Handler names none, is called for each event.
type Driver struct {
	log      *slog.Logger
	scratch  string // folder to remove with Close; "" is none
	compiler *compiler
	cache    wazero.CompilationCache
	runtime  wazero.Runtime
	flight   singleflight.Group

	mu        sync.Mutex
	modules   map[moduleKey]*module // guarded by mu
	order     *list.List            // of *module, the last used first; guarded by mu
	bytes     int64                 // of modules; guarded by mu
	sandboxes map[*sandbox]struct{} // guarded by mu
	closed    bool                  // guarded by mu
}

// New returns a Driver. It must be closed.
func New(cfg Config) (*Driver, error) {
	d := &Driver{log: cfg.Log, modules: map[moduleKey]*module{}, order: list.New(), sandboxes: map[*sandbox]struct{}{}}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	dir := cfg.CacheDir
	var err error
	if dir == "" {
		if dir, err = os.MkdirTemp("", "rouse-wasm-"); err != nil {
			return nil, fmt.Errorf("make a folder for compiled modules: %w", err)
		}
		d.scratch = dir
	}
	if err = trim(dir, maxCache); err == nil {
		d.cache, err = wazero.NewCompilationCacheWithDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open the cache of compiled modules: %w", errors.Join(err, os.RemoveAll(d.scratch)))
	}
	d.compiler = newCompiler(dir)
	ctx := context.Background()
	d.runtime = wazero.NewRuntimeWithConfig(ctx, runtimeConfig(d.cache))
	_, err = wasi_snapshot_preview1.Instantiate(ctx, d.runtime)
	if err == nil {
		_, err = d.runtime.NewHostModuleBuilder(meterModule).NewFunctionBuilder().
			WithGoModuleFunction(api.GoModuleFunc(yield), nil, nil).Export(meterYield).NewFunctionBuilder().
			WithGoModuleFunction(api.GoModuleFunc(overflow), nil, nil).Export(meterOverflow).Instantiate(ctx)
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("make the host's modules: %w", err)
	}
	return d, nil
}

// runtimeConfig is that of who compiles and of who runs.
func runtimeConfig(cache wazero.CompilationCache) wazero.RuntimeConfig {
	// The meter moves code, so that debugging data would name wrong lines.
	return wazero.NewRuntimeConfig().WithDebugInfoEnabled(false).WithCompilationCache(cache)
}

// trim removes the oldest files below dir until the rest has at most size bytes.
func trim(dir string, size int64) error {
	type old struct {
		name string
		info fs.FileInfo
	}
	var files []old
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		files = append(files, old{name, info})
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	slices.SortFunc(files, func(a, b old) int { return b.info.ModTime().Compare(a.info.ModTime()) })
	for _, f := range files {
		if size -= f.info.Size(); size < 0 {
			if err := os.Remove(f.name); err != nil {
				return err
			}
		}
	}
	return nil
}

// yield is called by running code each time its meter ran out.
func yield(ctx context.Context, _ api.Module, _ []uint64) {
	if ctx.Err() != nil {
		panic(sys.NewExitError(sys.ExitCodeContextCanceled))
	}
}

// overflow is called by code whose stack is too deep.
func overflow(context.Context, api.Module, []uint64) { panic(errOverflow) }

var errOverflow = errors.New("stack overflow")

// Runtimes implements rouse.Driver.
func (d *Driver) Runtimes() []rouse.Runtime {
	version := "wasip1"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/tetratelabs/wazero" {
				version = "wasip1 by wazero " + m.Version
			}
		}
	}
	return []rouse.Runtime{{Name: "wasm", Version: version, Family: "wasm"}}
}

// Prepare compiles s's module, so that Open finds it in memory or on disk.
// Errors: a *rouse.BootError for a module that can't be used.
func (d *Driver) Prepare(ctx context.Context, s rouse.Spec) error {
	m, err := d.use(ctx, s)
	if err != nil {
		return err
	}
	defer d.release(m)
	_, err = newSandbox(d, s, m)
	return err
}

// Open implements rouse.Driver. Only ModeOnce is known. A reactor has been made
// ready when it returns.
func (d *Driver) Open(ctx context.Context, s rouse.Spec) (rouse.Sandbox, error) {
	if s.Program.Mode != rouse.ModeOnce {
		return nil, rouse.Errorf(rouse.Invalid, "open sandbox", s.Function.String(),
			"a wasm module reads its event from standard input: deploy it with contract wasi")
	}
	m, err := d.use(ctx, s)
	if err != nil {
		return nil, err
	}
	b, err := newSandbox(d, s, m)
	if err != nil {
		d.release(m)
		return nil, err
	}
	d.mu.Lock()
	closed := d.closed
	if !closed {
		d.sandboxes[b] = struct{}{}
	}
	d.mu.Unlock()
	if closed {
		b.Close()
		return nil, rouse.Errorf(rouse.Unavailable, "open sandbox", s.Function.String(), "the server is stopping")
	}
	if !b.command {
		if err := b.boot(ctx); err != nil {
			b.Close()
			return nil, err
		}
	}
	return b, nil
}

// Close implements rouse.Driver. It must not be called while Prepare runs.
func (d *Driver) Close() error {
	d.compiler.end()
	d.mu.Lock()
	d.closed = true
	var open []*sandbox
	for b := range d.sandboxes {
		open = append(open, b)
	}
	d.mu.Unlock()
	for _, b := range open {
		b.Close()
	}
	ctx := context.Background()
	err := errors.Join(d.runtime.Close(ctx), d.cache.Close(ctx))
	if d.scratch != "" {
		err = errors.Join(err, os.RemoveAll(d.scratch))
	}
	return err
}

func (d *Driver) forget(b *sandbox) {
	d.mu.Lock()
	delete(d.sandboxes, b)
	d.mu.Unlock()
}
