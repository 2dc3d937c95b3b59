package wasm

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/rouse-run/rouse"
)

const (
	// maxModule is how large a module may be: all of it is read and compiled in memory.
	maxModule = 256 << 20

	// kept is how many bytes of modules stay compiled in memory; compiled they
	// are several times as large.
	kept = 64 << 20

	wasi = "wasi_snapshot_preview1"
)

// A module is compiled code that any number of Sandboxes may run.
type module struct {
	key      moduleKey
	compiled wazero.CompiledModule
	size     int64
	memory   int64 // bytes it begins with
	users    int   // guarded by Driver.mu
	at       *list.Element
}

type moduleKey struct {
	code rouse.Digest
	file string
}

// bootError says that the code itself is at fault.
func bootError(s rouse.Status, kind, format string, args ...any) *rouse.BootError {
	return &rouse.BootError{Status: s, Failure: rouse.Failure{Type: kind, Message: fmt.Sprintf(format, args...)}}
}

// entry is the file and the function that a handler names: "main.wasm", or
// "main.wasm:handle".
func entry(handler string) (file, function string) {
	file, function, _ = strings.Cut(handler, ":")
	return file, function
}

// use returns s's module, compiled. It must be given back by release.
func (d *Driver) use(ctx context.Context, s rouse.Spec) (*module, error) {
	file, _ := entry(s.Function.Handler)
	key := moduleKey{s.Function.Code, file}
	for {
		if m := d.held(key); m != nil {
			return m, nil
		}
		// Several that open the same code wait for one compilation, which does
		// not end because the first of them leaves.
		_, err, _ := d.flight.Do(string(key.code)+"/"+key.file, func() (any, error) {
			return nil, d.compile(context.WithoutCancel(ctx), key, s.Code)
		})
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

func (d *Driver) held(key moduleKey) *module {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.modules[key]
	if m != nil {
		m.users++
		d.order.MoveToFront(m.at)
	}
	return m
}

func (d *Driver) release(m *module) {
	d.mu.Lock()
	m.users--
	gone := d.evict()
	d.mu.Unlock()
	closeAll(gone)
}

func closeAll(gone []*module) {
	for _, m := range gone {
		m.compiled.Close(context.Background())
	}
}

// evict takes out modules that nobody uses, those used last at the end, until
// the rest is within the bound. It is called with mu held.
func (d *Driver) evict() (gone []*module) {
	for el := d.order.Back(); el != nil && el != d.order.Front() && d.bytes > kept; {
		m := el.Value.(*module)
		el = el.Prev()
		if m.users == 0 {
			d.order.Remove(m.at)
			delete(d.modules, m.key)
			d.bytes -= m.size
			gone = append(gone, m)
		}
	}
	return gone
}

func (d *Driver) compile(ctx context.Context, key moduleKey, dir string) error {
	d.mu.Lock()
	there := d.modules[key] != nil // somebody was first since it was looked for
	d.mu.Unlock()
	if there {
		return nil
	}
	source, err := readModule(dir, key.file)
	if err != nil {
		return err
	}
	with, err := meter(source)
	if err != nil {
		return bootError(rouse.StatusFailed, "InvalidModule", "%s can't be used: %v", key.file, err)
	}
	err = d.compiler.compile(with.code)
	if _, ours := errors.AsType[unfit](err); err != nil && !ours {
		return err
	}
	var compiled wazero.CompiledModule
	if err == nil {
		compiled, err = d.runtime.CompileModule(ctx, with.code) // which finds it in the cache
	}
	if err != nil {
		return bootError(rouse.StatusFailed, "InvalidModule", "%s can't be compiled: %v", key.file, err)
	}
	if err := d.checkImports(compiled, key.file); err != nil {
		compiled.Close(ctx)
		return err
	}
	m := &module{key: key, compiled: compiled, size: int64(len(source)), memory: int64(with.memory)}
	d.mu.Lock()
	m.at = d.order.PushFront(m)
	d.modules[key] = m
	d.bytes += m.size
	gone := d.evict()
	d.mu.Unlock()
	closeAll(gone)
	return nil
}

func readModule(dir, name string) ([]byte, error) {
	if !filepath.IsLocal(name) {
		return nil, bootError(rouse.StatusFailed, "MissingHandler", "the handler %q names no file in the bundle", name)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	defer root.Close()
	info, err := root.Stat(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, bootError(rouse.StatusFailed, "MissingHandler", "the bundle has no file %s", name)
	case err != nil:
		return nil, fmt.Errorf("read module: %w", err)
	case !info.Mode().IsRegular():
		return nil, bootError(rouse.StatusFailed, "MissingHandler", "%s is not a file", name)
	case info.Size() > maxModule:
		return nil, bootError(rouse.StatusFailed, "InvalidModule", "%s is larger than the %d MB allowed", name, maxModule>>20)
	}
	return root.ReadFile(name)
}

// checkImports finds at deploy what would else fail at the first call.
func (d *Driver) checkImports(c wazero.CompiledModule, file string) error {
	known := d.runtime.Module(wasi).ExportedFunctionDefinitions()
	var missing []string
	for _, f := range c.ImportedFunctions() {
		from, name, _ := f.Import()
		if known[name] == nil && from == wasi || from != wasi && from != meterModule {
			missing = append(missing, from+"."+name)
		}
	}
	for _, m := range c.ImportedMemories() {
		from, name, _ := m.Import()
		missing = append(missing, from+"."+name)
	}
	if missing == nil {
		return nil
	}
	slices.Sort(missing)
	const most = 5
	more := ""
	if len(missing) > most {
		more = fmt.Sprintf(" and %d more", len(missing)-most)
		missing = missing[:most]
	}
	return bootError(rouse.StatusFailed, "MissingImport",
		"%s imports %s%s, which this platform has not; build it for wasip1 (WASI preview 1)", file, strings.Join(missing, ", "), more)
}

// kind says how m is to be run: a command, whose start function is run anew for
// each event, or a reactor, whose function is called again and again.
func (m *module) kind(function string) (command bool, call string, err error) {
	exports := m.compiled.ExportedFunctions()
	if function == "" && exports["_start"] != nil {
		return true, "_start", nil
	}
	if function == "" {
		function = "handle"
	}
	f := exports[function]
	switch {
	case f == nil:
		return false, "", bootError(rouse.StatusFailed, "MissingHandler",
			"%s exports neither _start nor %s; it exports %s", m.key.file, function, names(exports))
	case len(f.ParamTypes()) > 0 || len(f.ResultTypes()) > 0:
		return false, "", bootError(rouse.StatusFailed, "MissingHandler",
			"%s: the function %s must have neither parameters nor results: it reads standard input and writes standard output",
			m.key.file, function)
	}
	return false, function, nil
}

func names(exports map[string]api.FunctionDefinition) string {
	var list []string
	for n := range exports {
		list = append(list, n)
	}
	if list == nil {
		return "no function"
	}
	slices.Sort(list)
	if len(list) > 20 {
		list = append(list[:20], "...")
	}
	return strings.Join(list, ", ")
}
