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
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/cgroup"
)

//go:embed inside/*.py inside/*.cjs
var inside embed.FS

// A Config says how a Driver is to work.
type Config struct {
	Dir    string          // folder for what the driver keeps
	Name   string          // of this server's control groups, distinct on the host
	Shims  map[string]Shim // by contract: what workers load for it
	Spares int             // sandboxes kept ready of each kind in use; 0 is 2
	Log    *slog.Logger
}

// A Shim is a contract's half inside a worker: the source of a module that
// exports load(start), which returns handle(payload, http, context).
type Shim struct {
	Python string
	Node   string
}

// A Driver opens sandboxes. It implements rouse.Driver.
type Driver struct {
	Config
	log      *slog.Logger
	inside   string // host folder that sandboxes see as /rouse
	tree     *cgroup.Tree
	spawner  *spawner
	stop     context.CancelFunc
	filter   []byte
	runtimes []rouse.Runtime
	ids      atomic.Int64
	users    chan int
	waiting  sync.WaitGroup // for what ends rooms

	mu        sync.Mutex
	nurseries map[kind]*nursery     // guarded by mu
	open      map[*sandbox]struct{} // guarded by mu
	closed    bool                  // guarded by mu
}

// New readies a Driver: it finds the host's runtimes, sweeps away what a
// former server of the same Config.Name left, and needs root. Errors say what
// the host lacks.
func New(ctx context.Context, c Config) (*Driver, error) {
	d := &Driver{Config: c, log: c.Log, filter: functionFilter(), users: make(chan int, users-2000),
		nurseries: map[kind]*nursery{}, open: map[*sandbox]struct{}{}}
	if d.Spares == 0 {
		d.Spares = 2
	}
	for id := 1000; id < cap(d.users)+1000; id++ {
		d.users <- id
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("the namespaces tier needs root")
	}
	if err := d.unpack(); err != nil {
		return nil, err
	}
	var err error
	if d.tree, err = cgroup.Open(c.Name); err != nil {
		return nil, fmt.Errorf("open control groups: %w", err)
	}
	spawning, stop := context.WithCancel(context.Background())
	d.spawner, d.stop = newSpawner(spawning), stop
	d.runtimes = append(findRuntimes(ctx, filepath.Join(c.Dir, "runtimes.json")),
		rouse.Runtime{Name: "executable", Version: "linux", Family: "executable"})
	return d, nil
}

// unpack writes what sandboxes see as /rouse.
func (d *Driver) unpack() error {
	d.inside = filepath.Join(d.Dir, "inside")
	if err := os.RemoveAll(d.inside); err != nil {
		return err
	}
	if err := os.MkdirAll(d.inside, 0o755); err != nil {
		return err
	}
	files := map[string]string{}
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
		if err := os.WriteFile(filepath.Join(d.inside, name), []byte(content), 0o644); err != nil {
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

// newRoom lends a room its user and its control group.
func (d *Driver) newRoom() (*room, *ends, error) {
	var user int
	select {
	case user = <-d.users:
	default:
		return nil, nil, rouse.Errorf(rouse.Unavailable, "open sandbox", "", "all %d users are taken", cap(d.users))
	}
	id := d.ids.Add(1)
	group, err := d.newGroup(fmt.Sprintf("room-%d", id), usual)
	if err != nil {
		d.users <- user
		return nil, nil, err
	}
	r, inside, err := newRoom(id, user)
	if err != nil {
		d.users <- user
		return nil, nil, errors.Join(err, closeGroup(group))
	}
	r.group = group
	r.free = func() {
		d.waiting.Go(func() {
			if err := closeGroup(group); err != nil {
				d.log.Warn("remove a control group", "error", err)
			}
			d.users <- user // only now is nothing left that has it
		})
	}
	return r, inside, nil
}

// usual are the limits that rooms wait with; a function that has the same
// saves the time to set them.
var usual = limits(rouse.Limits{Memory: 256 << 20, Processes: 256})

// limits are a function's, as the kernel takes them: the processor is shared
// by memory, 256 MB being the usual part.
func limits(l rouse.Limits) cgroup.Limits {
	return cgroup.Limits{Memory: l.Memory, Processes: l.Processes, Weight: int(min(10000, max(1, l.Memory*100/(256<<20))))}
}

func (d *Driver) newGroup(name string, l cgroup.Limits) (*cgroup.Group, error) {
	g, err := d.tree.Create(name)
	if err != nil {
		return nil, fmt.Errorf("make a control group: %w", err)
	}
	if err := g.Set(l); err != nil {
		return nil, errors.Join(fmt.Errorf("limit a control group: %w", err), g.Close())
	}
	return g, nil
}

func closeGroup(g *cgroup.Group) error {
	if g == nil {
		return nil
	}
	return g.Close()
}

func groupFD(g *cgroup.Group) int {
	if g == nil {
		return -1
	}
	return g.FD()
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
	return d.tree.Close()
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
				m = strings.TrimSpace(m)
				m, _, _ = strings.Cut(m, " ")
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
