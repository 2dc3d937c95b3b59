package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse/sandbox/process/stage"
)

// files are those of /etc that programs expect, made for the sandbox.
var files = map[string]string{
	"/etc/passwd":        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
	"/etc/group":         "root:x:0:\nnogroup:x:65534:\n",
	"/etc/hosts":         "127.0.0.1 localhost\n::1 localhost\n",
	"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	"/etc/resolv.conf":   "nameserver 127.0.0.1\n",
}

// shared are the parts of the host that every sandbox sees, read-only, where
// the host has them.
var shared = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/ld.so.cache",
	"/etc/alternatives", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/localtime", "/etc/mime.types", "/etc/php",
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// A bind shows a path of the host inside.
type bind struct {
	from, to string
	writable bool
	device   bool
}

// root is the plan of a root file system, and the detached mounts that it is
// made of. More binds come after the shared ones.
func root(more ...bind) (stage.Plan, []int, error) {
	plan := stage.Plan{
		Files:    files,
		Hostname: "rouse",
		Links: map[string]string{"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
			"/dev/stderr": "/proc/self/fd/2", "/dev/shm": "/tmp", "/etc/mtab": "/proc/mounts",
			"/node_modules": "/deps/node_modules"}, // where Node looks from anywhere
	}
	var mounts []int
	fail := func(err error) (stage.Plan, []int, error) {
		for _, fd := range mounts {
			_ = unix.Close(fd)
		}
		return stage.Plan{}, nil, err
	}
	var binds []bind
	for _, path := range shared {
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		if info.Mode()&os.ModeSymlink != 0 && filepath.Dir(path) == "/" {
			to, err := os.Readlink(path)
			if err != nil {
				return fail(err)
			}
			plan.Links[path] = to
			continue
		}
		binds = append(binds, bind{from: path, to: path, device: strings.HasPrefix(path, "/dev/")})
	}
	for _, b := range append(binds, more...) {
		info, err := os.Stat(b.from)
		if err != nil {
			return fail(err)
		}
		attr := uint64(unix.MOUNT_ATTR_NOSUID)
		if !b.device {
			attr |= unix.MOUNT_ATTR_NODEV
		}
		if !b.device && !b.writable {
			attr |= unix.MOUNT_ATTR_RDONLY
		}
		fd, err := detach(b.from, attr)
		if err != nil {
			return fail(err)
		}
		mounts = append(mounts, fd)
		plan.Mounts = append(plan.Mounts, stage.Mount{Path: b.to, File: !info.IsDir()})
	}
	return plan, mounts, nil
}

// readOnly are the attributes of what a function may only read.
const readOnly = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV

// detach makes a mount of a path that is nowhere yet; who has the descriptor
// can place it.
func detach(path string, attr uint64) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return -1, fmt.Errorf("open tree %s: %w", path, err)
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: attr}); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("protect %s: %w", path, err)
	}
	return fd, nil
}
