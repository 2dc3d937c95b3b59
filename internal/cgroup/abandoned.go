package cgroup

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// own marks a folder of a Tree as that of a process that lives: the mark, a lock,
// ends with it. How is LOCK_NB where one that is another's is not to be waited for.
func own(dir string, how int) (fd int, err error) {
	if fd, err = unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return -1, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	if err := unix.Flock(fd, unix.LOCK_EX|how); err != nil {
		_ = unix.Close(fd)
		return -1, &os.PathError{Op: "lock", Path: dir, Err: err}
	}
	return fd, nil
}

// makeOwn makes a folder and owns it. Between the two another server may take it
// for an abandoned one.
func makeOwn(dir string) (fd int, err error) {
	for range 10 {
		if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
			return -1, err
		}
		if fd, err = own(dir, 0); err != nil {
			continue
		}
		var now, there unix.Stat_t
		if unix.Fstat(fd, &now) == nil && unix.Stat(dir, &there) == nil && now.Ino == there.Ino {
			return fd, nil
		}
		_ = unix.Close(fd)
		err = &os.PathError{Op: "make", Path: dir, Err: unix.ENOENT}
	}
	return -1, err
}

// removeAbandoned removes the groups beside dir, and named like it up to the
// first dash, whose servers have been killed and left them without a process. A
// server on the same data would remove its own; there may be none ever again.
func removeAbandoned(dir string) {
	prefix, _, _ := strings.Cut(filepath.Base(dir), "-")
	beside, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), prefix+"-*"))
	for _, other := range beside {
		if other == dir || populated(other) {
			continue
		}
		if fd, err := own(other, unix.LOCK_NB); err == nil {
			removeEmpty(other)
			_ = unix.Close(fd)
		}
	}
}

// populated says whether a process is in the group or below.
func populated(dir string) bool {
	if b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs")); err != nil || len(b) > 0 {
		return true
	}
	for _, below := range groupsIn(dir) {
		if populated(below) {
			return true
		}
	}
	return false
}

// removeEmpty removes a group and those below, as far as they are empty.
func removeEmpty(dir string) {
	for _, below := range groupsIn(dir) {
		removeEmpty(below)
	}
	_ = unix.Rmdir(dir) // the kernel keeps one that is in use
}

func groupsIn(dir string) (groups []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			groups = append(groups, filepath.Join(dir, e.Name()))
		}
	}
	return groups
}
