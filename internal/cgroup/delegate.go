package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// leaf is where the processes go whose group is to have groups of its own: in
// v2 only the root may have both.
const leaf = "rouse-server"

// delegate readies a v2 group to have groups of its own. This process moves to
// a leaf of it where it must. So do all others in it where the group is whole,
// the root of a cgroup namespace and so a container's; anybody else's are left
// alone, and the error says how to get a group without them.
func delegate(dir string, whole bool) error {
	err := enable(dir)
	if !errors.Is(err, unix.EBUSY) {
		return explain(dir, err)
	}
	home := filepath.Join(dir, leaf)
	if err := os.Mkdir(home, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return explain(dir, err)
	}
	if err = write(home, "cgroup.procs", "0"); err == nil {
		err = enable(dir)
	}
	// They fork while they are moved.
	for try := 0; whole && errors.Is(err, unix.EBUSY) && try < 100; try++ {
		move(dir, home)
		err = enable(dir)
	}
	if err == nil {
		return nil
	}
	err = explain(dir, err)
	move(home, dir)
	_ = unix.Rmdir(home)
	return err
}

// move brings the processes of one group into another, as far as it can.
func move(from, to string) {
	for _, pid := range processes(from) {
		_ = write(to, "cgroup.procs", pid)
	}
}

func processes(dir string) []string {
	b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	return strings.Fields(string(b))
}

// enable gives the groups in dir the controllers of v2.
func enable(dir string) error {
	return write(dir, "cgroup.subtree_control", "+memory +pids +cpu")
}

// explain says what to do about err, which came of dividing a v2 group.
func explain(dir string, err error) error {
	const own = "give Rouse a group of its own: start it with \"systemd-run --scope -p Delegate=yes\", or as a systemd service with Delegate=yes"
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("the control group %s can't be divided while it holds other processes%s; %s: %w", dir, example(dir), own, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return fmt.Errorf("the control group %s is not this process's to divide; run it as root, in a container with --privileged, or %s: %w", dir, own, err)
	}
	missing := lacking(dir)
	if missing == "" {
		return fmt.Errorf("divide the control group %s: %w", dir, err)
	}
	if _, gone := os.Stat(filepath.Join(dir, "cgroup.type")); gone != nil { // only the root has no type
		return fmt.Errorf("the kernel's control groups v2 lack %s; start it without cgroup_disable=%[1]s and with cgroup_no_v1=all: %w", missing, err)
	}
	return fmt.Errorf("the control group %s was not given %s; %s: %w", dir, missing, own, err)
}

// example names one of the processes in dir.
func example(dir string) string {
	for _, pid := range processes(dir) {
		if name, err := os.ReadFile(filepath.Join("/proc", pid, "comm")); err == nil {
			return fmt.Sprintf(", such as %s (%s)", pid, strings.TrimSpace(string(name)))
		}
	}
	return ""
}

// lacking lists the controllers that a v2 group was not given.
func lacking(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return ""
	}
	given := map[string]bool{}
	for _, c := range strings.Fields(string(b)) {
		given[c] = true
	}
	var missing []string
	for _, c := range []string{"memory", "pids", "cpu"} {
		if !given[c] {
			missing = append(missing, c)
		}
	}
	return strings.Join(missing, ",")
}
