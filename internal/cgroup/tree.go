// Package cgroup limits and counts what a group of processes uses. It speaks
// cgroup v1, v2, and hosts that have both (hybrid), through plain files: see
// the kernel's Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// controllers are those that a Tree needs to be of use.
var controllers = []string{"memory", "pids", "cpu", "cpuacct"}

// A Tree is one server's part of the host's cgroups. Its methods may be called
// concurrently.
type Tree struct {
	v2   string            // folder in the unified hierarchy; "" where the controllers are v1
	v1   map[string]string // controller to folder
	dirs []string          // the distinct folders, v2 or v1
	own  []int             // descriptors by which dirs are known to belong to a process that lives
	swap bool              // v1 bounds memory with swap as well
}

// Open makes the Tree of that name below the caller's own groups, and removes
// what a former owner of the name left there, its processes included. It fails
// where this process may not make groups.
func Open(name string) (*Tree, error) {
	mounts, err := mounted()
	if err != nil {
		return nil, err
	}
	member, err := memberships()
	if err != nil {
		return nil, err
	}
	t := &Tree{v1: map[string]string{}}
	if len(mounts["memory"]) > 0 { // v1 or hybrid: v1 has the controllers
		err = t.locateV1(name, mounts, member)
	} else if len(mounts[""]) > 0 {
		err = t.locateV2(name, mounts[""], member[""])
	} else {
		err = errors.New("no cgroup file system is mounted; mount cgroup2 at /sys/fs/cgroup")
	}
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, dir := range append([]string{t.v2}, t.v1["memory"], t.v1["pids"], t.v1["cpu"], t.v1["cpuacct"]) {
		if real := realpath(dir); dir != "" && !seen[real] {
			seen[real] = true
			t.dirs = append(t.dirs, dir)
		}
	}
	if err := t.Close(); err != nil { // what a killed server left
		return nil, fmt.Errorf("remove the groups of a former server: %w", err)
	}
	for _, dir := range t.dirs {
		removeAbandoned(dir)
		fd, err := makeOwn(dir)
		if err != nil {
			t.disown()
			return nil, err
		}
		t.own = append(t.own, fd)
	}
	if t.v2 != "" {
		err = enable(t.v2)
	} else {
		// In v1 the caller's threads have no group of their own: each of them would
		// weigh as much as the whole Tree, and get in before all that is in it. So
		// the Tree weighs as much as one of them on each processor.
		err = write(t.v1["cpu"], "cpu.shares", strconv.Itoa(usualShares*runtime.NumCPU()))
		_, noSwap := os.Stat(filepath.Join(t.v1["memory"], memoryAndSwap)) // absent without swap accounting
		t.swap = noSwap == nil
	}
	if err != nil {
		t.disown()
		return nil, err
	}
	return t, nil
}

func (t *Tree) disown() {
	for _, fd := range t.own {
		_ = unix.Close(fd)
	}
	t.own = nil
}

// usualShares is what v1 gives a thread or a group that nobody has weighed.
const usualShares = 1024

func (t *Tree) locateV1(name string, mounts map[string][]mount, own map[string]string) error {
	for _, c := range controllers {
		if len(mounts[c]) == 0 {
			continue
		}
		dir, err := folder(mounts[c], own[c])
		if err != nil {
			return err
		}
		t.v1[c] = filepath.Join(dir, name)
	}
	if t.v1["pids"] == "" || t.v1["cpu"] == "" {
		return errors.New("the host's cgroups lack the pids or cpu controller")
	}
	return nil
}

func (t *Tree) locateV2(name string, mounts []mount, group string) error {
	whole := group == "/"
	if path.Base(group) == leaf { // this process has been here before, or who started it
		group = path.Dir(group)
	}
	dir, err := folder(mounts, group)
	if err != nil {
		return err
	}
	t.v2 = filepath.Join(dir, name)
	return delegate(dir, whole)
}

// Version says "v1" or "v2": where the controllers are.
func (t *Tree) Version() string {
	if t.v2 != "" {
		return "v2"
	}
	return "v1"
}

// Close kills all that is in the Tree and removes it.
func (t *Tree) Close() error {
	var errs []error
	for _, dir := range t.dirs {
		errs = append(errs, removeAll(dir))
	}
	t.disown()
	return errors.Join(errs...)
}

// A mount shows a part of a hierarchy: the group root and those below it.
type mount struct {
	root string
	at   string
}

// mounted maps each v1 controller to where it is mounted, and "" to the v2
// hierarchy.
func mounted() (map[string][]mount, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := map[string][]mount{}
	s := bufio.NewScanner(f)
	for s.Scan() {
		before, after, _ := strings.Cut(s.Text(), " - ")
		b, a := strings.Fields(before), strings.Fields(after)
		if len(b) < 5 || len(a) < 3 {
			continue
		}
		here := mount{root: b[3], at: b[4]}
		switch a[0] {
		case "cgroup2":
			m[""] = append(m[""], here)
		case "cgroup":
			for _, o := range strings.Split(a[2], ",") {
				m[o] = append(m[o], here)
			}
		}
	}
	return m, s.Err()
}

// folder finds a group in one of the mounts of its hierarchy.
func folder(mounts []mount, group string) (string, error) {
	for _, m := range slices.Backward(mounts) { // the last may hide the others
		if rest, ok := strings.CutPrefix(group, strings.TrimSuffix(m.root, "/")); ok && (rest == "" || rest[0] == '/') {
			return filepath.Join(m.at, rest), nil
		}
	}
	return "", fmt.Errorf("this process's control group %s is in no mounted cgroup file system; mount one for its cgroup namespace", group)
}

// memberships maps each v1 controller to this process's own group, and "" to
// its group in the v2 hierarchy.
func memberships() (map[string]string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	m := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if p := strings.SplitN(strings.TrimSpace(line), ":", 3); len(p) == 3 {
			for _, c := range strings.Split(p[1], ",") {
				m[c] = p[2]
			}
		}
	}
	return m, nil
}

// write sets a value. A File of package os would make the runtime watch it,
// which takes as long as the writing.
func write(dir, file, value string) error {
	path := filepath.Join(dir, file)
	fd, err := uninterrupted(func() (int, error) { return unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if _, err := uninterrupted(func() (int, error) { return unix.Write(fd, []byte(value)) }); err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// read returns a value, of less than a page, or nothing where it can't be had.
func read(dir, file string) []byte {
	fd, err := uninterrupted(func() (int, error) {
		return unix.Open(filepath.Join(dir, file), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	b := make([]byte, 4<<10)
	n, _ := uninterrupted(func() (int, error) { return unix.Read(fd, b) })
	return b[:max(0, n)]
}

// uninterrupted makes a system call again that a signal has interrupted.
func uninterrupted(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}

func realpath(dir string) string {
	if real, err := filepath.EvalSymlinks(filepath.Dir(dir)); err == nil {
		return filepath.Join(real, filepath.Base(dir))
	}
	return dir
}
