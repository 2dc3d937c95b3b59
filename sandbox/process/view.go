package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// keptViews is how many unused views are kept for the next room.
const keptViews = 32

// A view is where the users of rooms can read a bundle and its dependencies:
// the host's folders are the server's alone.
type view struct {
	code, deps string
	dir        string // to be removed; "" where the host's folders serve

	key   [2]string
	made  sync.Once
	err   error
	users int // guarded by views.mu
}

// views makes each view once.
type views struct {
	dir    string
	shared bool

	mu     sync.Mutex
	known  map[[2]string]*view // guarded by mu
	unused []*view             // guarded by mu; longest unused first
	next   int                 // guarded by mu
}

func newViews(dir string, shared bool) *views {
	return &views{dir: dir, shared: shared, known: map[[2]string]*view{}}
}

// open returns a view of the host folders code and deps, "" being none. With
// beside, the dependencies' node_modules are found from the code's parent
// folder, where Node looks.
func (vs *views) open(code, deps string, beside bool) (*view, error) {
	direct := func(path string) bool { return path == "" || vs.shared || reachable(path) }
	if direct(code) && direct(deps) && (deps == "" || !beside) {
		return &view{code: code, deps: deps}, nil
	}
	vs.mu.Lock()
	key := [2]string{code, deps}
	v := vs.known[key]
	if v == nil {
		vs.next++
		v = &view{key: key, dir: filepath.Join(vs.dir, fmt.Sprint(vs.next))}
		vs.known[key] = v
	}
	v.users++
	vs.unused = slices.DeleteFunc(vs.unused, func(u *view) bool { return u == v })
	vs.mu.Unlock()
	v.made.Do(func() { v.err = v.make(code, deps) })
	if v.err != nil {
		vs.forget(v)
		return nil, fmt.Errorf("show the code to its sandbox: %w", v.err)
	}
	return v, nil
}

// make copies both folders; without using room where they can be linked.
func (v *view) make(code, deps string) error {
	if err := os.Mkdir(v.dir, 0o711); err != nil {
		return err
	}
	if err := os.Chmod(v.dir, 0o711); err != nil {
		return err
	}
	v.code = filepath.Join(v.dir, "fn")
	if err := mirror(code, v.code); err != nil || deps == "" {
		return err
	}
	v.deps = filepath.Join(v.dir, "deps")
	if err := mirror(deps, v.deps); err != nil {
		return err
	}
	return os.Symlink("deps/node_modules", filepath.Join(v.dir, "node_modules"))
}

func (vs *views) forget(v *view) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if vs.known[v.key] == v {
		delete(vs.known, v.key)
	}
	_ = os.RemoveAll(v.dir)
}

// release gives back what open returned.
func (vs *views) release(v *view) {
	if v.dir == "" {
		return
	}
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if v.users--; v.users > 0 {
		return
	}
	vs.unused = append(vs.unused, v)
	if len(vs.unused) > keptViews {
		old := vs.unused[0]
		vs.unused = vs.unused[1:]
		delete(vs.known, old.key)
		_ = os.RemoveAll(old.dir)
	}
}

// mirror makes a folder with the content of another, readable by everybody.
func mirror(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		at := filepath.Join(to, relative)
		switch {
		case e.IsDir():
			if err := os.Mkdir(at, 0o755); err != nil {
				return err
			}
			return os.Chmod(at, 0o755)
		case e.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, at)
		case !e.Type().IsRegular():
			return nil // a bundle has none, and nobody could use it
		}
		return copyFile(path, at)
	})
}

func copyFile(from, to string) (err error) {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o444 == 0o444 && os.Link(from, to) == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	mode := fs.FileMode(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err = io.Copy(out, in); err != nil {
		return err
	}
	return out.Chmod(mode)
}
