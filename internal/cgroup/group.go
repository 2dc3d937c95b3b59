package cgroup

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Group holds processes. Its methods may be called concurrently.
type Group struct {
	tree *Tree
	name string
	fd   int // of the v2 folder, for clone3; -1 where there is none
	set  Limits
}

// Limits bound a Group. Zero sets no limit.
type Limits struct {
	Memory    int64 // bytes
	Processes int
	Weight    int // share of the processor, 1 to 10,000; 100 is usual
}

// Create makes an empty Group.
func (t *Tree) Create(name string) (*Group, error) {
	g := &Group{tree: t, name: name, fd: -1}
	for i, dir := range t.dirs {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			for _, made := range t.dirs[:i] {
				_ = os.Remove(filepath.Join(made, name))
			}
			return nil, err
		}
	}
	if t.v2 != "" {
		fd, err := unix.Open(g.dir("memory"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, errors.Join(err, g.Close())
		}
		g.fd = fd
		// One dead process of a function is no better than all of them.
		_ = write(g.dir("memory"), "memory.oom.group", "1")
	}
	return g, nil
}

func (g *Group) dir(controller string) string {
	if g.tree.v2 != "" {
		return filepath.Join(g.tree.v2, g.name)
	}
	return filepath.Join(g.tree.v1[controller], g.name)
}

// Set changes the limits. The same ones again cost nothing. It is not for
// concurrent use.
func (g *Group) Set(l Limits) error {
	if g.set == l {
		return nil
	}
	g.set = Limits{} // until all is written
	err := g.apply(l)
	if err == nil {
		g.set = l
	}
	return err
}

// memoryAndSwap is the file of a v1 group that bounds both.
const memoryAndSwap = "memory.memsw.limit_in_bytes"

func (g *Group) apply(l Limits) error {
	memory, pids := "max", "max"
	if l.Processes > 0 {
		pids = strconv.Itoa(l.Processes)
	}
	weight := l.Weight
	if weight == 0 {
		weight = 100
	}
	if g.tree.v2 != "" {
		if l.Memory > 0 {
			memory = strconv.FormatInt(l.Memory, 10)
		}
		_ = write(g.dir("memory"), "memory.swap.max", "0") // absent without swap
		return errors.Join(write(g.dir("memory"), "memory.max", memory),
			write(g.dir("pids"), "pids.max", pids),
			write(g.dir("cpu"), "cpu.weight", strconv.Itoa(weight)))
	}
	memory = "-1"
	if l.Memory > 0 {
		memory = strconv.FormatInt(l.Memory, 10)
	}
	// With swap, or without: never less than without, so one of the two writes
	// comes too early.
	if g.tree.swap {
		_ = write(g.dir("memory"), memoryAndSwap, memory)
	}
	err := errors.Join(write(g.dir("memory"), "memory.limit_in_bytes", memory),
		write(g.dir("pids"), "pids.max", pids),
		write(g.dir("cpu"), "cpu.shares", strconv.Itoa(max(2, weight*usualShares/100))))
	if g.tree.swap {
		_ = write(g.dir("memory"), memoryAndSwap, memory)
	}
	return err
}

// Add moves a process into g. The kernel may wait until it has seen all its
// processors pass, milliseconds: keep it off hot paths.
func (g *Group) Add(pid int) error {
	for _, dir := range g.tree.dirs {
		if err := write(filepath.Join(dir, g.name), "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

// FD is a descriptor for clone3's CLONE_INTO_CGROUP, or -1 where Add is the
// only way in.
func (g *Group) FD() int { return g.fd }

// Memory returns the bytes held now and at most.
func (g *Group) Memory() (now, peak int64) {
	if g.tree.v2 != "" {
		now = g.number("memory", "memory.current")
		return now, max(now, g.number("memory", "memory.peak")) // absent before Linux 5.19
	}
	return g.number("memory", "memory.usage_in_bytes"), g.number("memory", "memory.max_usage_in_bytes")
}

// OOM counts processes that the kernel killed for want of memory.
func (g *Group) OOM() int {
	if g.tree.v2 != "" {
		return int(g.field("memory", "memory.events", "oom_kill"))
	}
	return int(g.field("memory", "memory.oom_control", "oom_kill"))
}

// CPU returns the processor time used.
func (g *Group) CPU() time.Duration {
	if g.tree.v2 != "" {
		return time.Duration(g.field("cpu", "cpu.stat", "usage_usec")) * time.Microsecond
	}
	return time.Duration(g.number("cpuacct", "cpuacct.usage"))
}

func (g *Group) number(controller, file string) int64 {
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(read(g.dir(controller), file))), 10, 64)
	return n
}

func (g *Group) field(controller, file, key string) int64 {
	for line := range strings.Lines(string(read(g.dir(controller), file))) {
		if rest, ok := strings.CutPrefix(line, key+" "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return n
		}
	}
	return 0
}

// Close kills what is in g and removes it.
func (g *Group) Close() error {
	if g.fd >= 0 {
		_ = unix.Close(g.fd)
		g.fd = -1
	}
	var errs []error
	for _, dir := range g.tree.dirs {
		errs = append(errs, removeAll(filepath.Join(dir, g.name)))
	}
	return errors.Join(errs...)
}

// removeAll kills the processes below dir and removes its groups, leaves
// first. A group can be removed only once its last process has been reaped,
// of which nothing tells us: look again until it is so. Nothing else passes by
// waiting, such as that control groups are read-only, as in most containers.
func removeAll(dir string) error {
	var err error
	for wait := 100 * time.Microsecond; wait < 5*time.Second; wait *= 2 {
		err = removeOnce(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		time.Sleep(wait)
	}
	return err
}

func removeOnce(dir string) error {
	if err := unix.Rmdir(dir); !errors.Is(err, unix.EBUSY) {
		return err // mostly nil: what was in it has ended
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeOnce(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	err = unix.Rmdir(dir)
	if errors.Is(err, unix.EBUSY) {
		kill(dir)
	}
	return err
}

func kill(dir string) {
	for _, s := range processes(dir) {
		if pid, err := strconv.Atoi(s); err == nil && pid > 0 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
