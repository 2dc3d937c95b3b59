// Package process runs functions as processes in sandboxes made of Linux
// namespaces, control groups and seccomp: Python as forks of a warm zygote,
// Node as generic workers made specific, any other program by a stage that
// waits for it. The kernel's manuals behind it: namespaces(7), cgroups(7),
// seccomp(2), mount_setattr(2), pidfd_open(2).
package process

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rouse-run/rouse"
)

//go:embed inside/*.py inside/*.cjs
var inside embed.FS

// A Config says how a Driver is to work.
type Config struct {
	Dir       string          // folder for what the driver keeps; made where it is missing
	Name      string          // of this server's control groups and scratch folder, distinct on the host
	Isolation string          // Namespaces, Landlock, or "auto" or "": the stronger one that works here
	Shims     map[string]Shim // by contract: what workers load for it
	Client    Client          // what code imports to use the platform
	Spares    int             // sandboxes kept ready of each kind in use; 0 is 2
	MaxDeps   int64           // bytes of disk that an installation or a compilation may leave; 0 is 8 GB
	Log       *slog.Logger    // nil is none
}

// A Shim is a contract's half inside a worker: the source of a module that
// exports load(start), which returns handle(payload, http, context). The code's
// folder is "/fn" in Node's; where the tier has it elsewhere, that text of the
// source is replaced by start.code.
type Shim struct {
	Python string
	Node   string
}

// A Driver opens sandboxes. It implements rouse.Driver.
type Driver struct {
	Config
	traits
	log      *slog.Logger
	tier     tier
	spawner  *spawner
	stop     context.CancelFunc
	runtimes []rouse.Runtime
	ids      atomic.Int64
	golang   toolchain
	others   interpreterList
	waiting  sync.WaitGroup // for what ends rooms

	mu        sync.Mutex
	nurseries map[kind]*nursery     // guarded by mu
	open      map[*sandbox]struct{} // guarded by mu
	closed    bool                  // guarded by mu
}

// New readies a Driver: it finds the host's runtimes and sweeps away what a
// former server of the same Config.Name left. Errors: Unavailable where the
// host gives less than Config.Isolation asks for, with what it lacks; Invalid.
func New(ctx context.Context, c Config) (*Driver, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Spares == 0 {
		c.Spares = 2
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	t, err := choose(c)
	if err != nil {
		return nil, err
	}
	d := &Driver{Config: c, traits: t.traits(), log: c.Log, tier: t, nurseries: map[kind]*nursery{}, open: map[*sandbox]struct{}{}}
	if err := d.unpack(); err != nil {
		return nil, errors.Join(err, t.close())
	}
	spawning, stop := context.WithCancel(context.Background())
	d.spawner, d.stop = newSpawner(spawning), stop
	d.runtimes = append(findRuntimes(ctx, filepath.Join(c.Dir, "runtimes.json"), d.usable, d.log),
		rouse.Runtime{Name: "executable", Version: "linux", Family: "executable"})
	return d, nil
}

// Isolation is the tier in force: Namespaces or Landlock.
func (d *Driver) Isolation() string { return d.name }

// unpack writes what sandboxes see as /rouse.
func (d *Driver) unpack() error {
	if err := os.RemoveAll(d.inside); err != nil {
		return err
	}
	if err := os.MkdirAll(d.inside, 0o755); err != nil {
		return err
	}
	files := d.Client.files()
	entries, err := inside.ReadDir("inside")
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := inside.ReadFile("inside/" + e.Name())
		if err != nil {
			return err
		}
		files[e.Name()] = string(b)
	}
	for name, s := range d.Shims {
		files["shim_"+name+".py"], files["shim_"+name+".cjs"] = s.Python, s.Node
	}
	for name, content := range files {
		path := filepath.Join(d.inside, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (d *Driver) shimNames() []string {
	var names []string
	for name, s := range d.Shims {
		if s.Python != "" {
			names = append(names, "shim_"+name)
		}
	}
	slices.Sort(names)
	return names
}

// Runtimes implements rouse.Driver.
func (d *Driver) Runtimes() []rouse.Runtime { return d.runtimes }

func (d *Driver) runtime(name string) (rouse.Runtime, error) {
	for _, rt := range d.runtimes {
		if rt.Name == name || slices.Contains(rt.Aliases, name) {
			return rt, nil
		}
	}
	return rouse.Runtime{}, rouse.Errorf(rouse.Unavailable, "find runtime", name, "this host no longer has it; install it or deploy with another --runtime")
}

// newRoom makes a room and its walls.
func (d *Driver) newRoom() (*room, *ends, error) {
	id := d.ids.Add(1)
	w, user, err := d.tier.lend(id)
	if err != nil {
		return nil, nil, err
	}
	r, inside, err := newRoom(id, user)
	if err != nil {
		w.free()
		return nil, nil, err
	}
	r.walls = w
	return r, inside, nil
}

// Close implements rouse.Driver.
func (d *Driver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	open, nurseries := d.open, d.nurseries
	d.open, d.nurseries = map[*sandbox]struct{}{}, nil
	d.mu.Unlock()
	for s := range open {
		_ = s.Close()
	}
	for _, n := range nurseries {
		n.close()
	}
	d.waiting.Wait()
	d.stop()
	return d.tier.close()
}

// imports are the top-level modules that the Python files at the top of a
// bundle import.
func imports(code string) []string {
	var names []string
	files, _ := filepath.Glob(filepath.Join(code, "*.py"))
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			word := strings.Fields(line)
			if len(word) < 2 || word[0] != "import" && word[0] != "from" {
				continue
			}
			for _, m := range strings.Split(strings.Join(word[1:], " "), ",") {
				m, _, _ = strings.Cut(strings.TrimSpace(m), " ")
				m, _, _ = strings.Cut(m, ";")
				if m != "" && !strings.HasPrefix(m, ".") && !slices.Contains(names, m) {
					names = append(names, m)
				}
				if word[0] == "from" {
					break
				}
			}
		}
	}
	return names
}
