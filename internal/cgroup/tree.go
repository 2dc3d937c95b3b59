// Package cgroup limits and counts what a group of processes uses. It speaks
// cgroup v1, v2, and hosts that have both (hybrid), through plain files: see
// the kernel's Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
}

// Open makes the Tree of that name below the caller's own groups, and removes
// what a former owner of the name left there, its processes included. It fails
// where this process may not make groups.
func Open(name string) (*Tree, error) {
	mounts, err := mounted()
	if err != nil {
		return nil, err
	}
	own, err := memberships()
	if err != nil {
		return nil, err
	}
	t := &Tree{v1: map[string]string{}}
	if root, ok := mounts["memory"]; ok { // v1 or hybrid: v1 has the controllers
		t.v1["memory"] = filepath.Join(root, own["memory"], name)
		for _, c := range controllers[1:] {
			if root, ok := mounts[c]; ok {
				t.v1[c] = filepath.Join(root, own[c], name)
			}
		}
		if t.v1["pids"] == "" || t.v1["cpu"] == "" {
			return nil, errors.New("the host's cgroups lack the pids or cpu controller")
		}
	} else if root, ok := mounts[""]; ok {
		parent, err := delegate(filepath.Join(root, own[""]))
		if err != nil {
			return nil, err
		}
		t.v2 = filepath.Join(parent, name)
	} else {
		return nil, errors.New("no cgroup file system is mounted")
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
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if t.v2 != "" {
		if err := enable(t.v2); err != nil {
			return nil, err
		}
	}
	return t, nil
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
	return errors.Join(errs...)
}

// mounted maps each v1 controller to where it is mounted, and "" to the v2
// hierarchy.
func mounted() (map[string]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, _ := strings.Cut(s.Text(), " - ")
		b, a := strings.Fields(before), strings.Fields(after)
		if len(b) < 5 || len(a) < 3 {
			continue
		}
		switch a[0] {
		case "cgroup2":
			m[""] = b[4]
		case "cgroup":
			for _, o := range strings.Split(a[2], ",") {
				m[o] = b[4]
			}
		}
	}
	return m, nil
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

// delegate readies a v2 group to have groups of its own. One that holds
// processes may not, unless it is the root, so this process moves to a leaf.
func delegate(dir string) (string, error) {
	err := enable(dir)
	if errors.Is(err, unix.EBUSY) {
		leaf := filepath.Join(dir, "server")
		if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
		if err := write(leaf, "cgroup.procs", "0"); err != nil {
			return "", err
		}
		err = enable(dir)
	}
	return dir, err
}

func enable(dir string) error {
	return write(dir, "cgroup.subtree_control", "+memory +pids +cpu")
}

func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func realpath(dir string) string {
	if real, err := filepath.EvalSymlinks(filepath.Dir(dir)); err == nil {
		return filepath.Join(real, filepath.Base(dir))
	}
	return dir
}
