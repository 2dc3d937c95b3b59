// Command cell is the barest isolated start of a program that there is: started
// in fresh namespaces, it builds a small root, gives up all power and becomes
// the program. It is the limit that cold starts are read against.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// plan is what the benchmark hands over as the first argument. The descriptors
// of the mounts follow from 4 on; 3 is the program's to keep.
type plan struct {
	Mounts []string          `json:"mounts"` // where each detached mount goes
	Links  map[string]string `json:"links"`
	Args   []string          `json:"args"`
	User   int               `json:"user"` // to become; 0 stays root of the namespace
	Filter []byte            `json:"filter"`
}

const firstMount = 4

func main() {
	runtime.LockOSThread() // exec and the change of user are of one thread
	var p plan
	err := json.Unmarshal([]byte(os.Args[1]), &p)
	if err == nil {
		err = build(p)
	}
	if err == nil {
		err = become(p)
	}
	fmt.Fprintln(os.Stderr, "cell:", err)
	os.Exit(125)
}

// build makes the root and moves into it.
func build(p plan) error {
	const root = "/usr"
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=1m"); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	for i, at := range append(p.Mounts, "/proc", "/tmp", "/fn") {
		at = filepath.Join(root, at)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if i >= len(p.Mounts) {
			continue
		}
		if err := unix.MoveMount(firstMount+i, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mount %s: %w", at, err)
		}
		_ = unix.Close(firstMount + i)
	}
	for at, to := range p.Links {
		if err := os.Symlink(to, filepath.Join(root, at)); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", root+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	if err := unix.Mount("tmpfs", root+"/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,size=64m"); err != nil {
		return fmt.Errorf("mount tmp: %w", err)
	}
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	return unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// become gives up all power, where there is a user to become, and executes the
// program.
func become(p plan) error {
	if p.User != 0 {
		for c := range unix.CAP_LAST_CAP + 1 {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0) // one the kernel lacks is EINVAL
		}
		id := uintptr(p.User)
		for _, call := range [][4]uintptr{{unix.SYS_SETGROUPS}, {unix.SYS_SETRESGID, id, id, id}, {unix.SYS_SETRESUID, id, id, id}} {
			if _, _, e := unix.RawSyscall(call[0], call[1], call[2], call[3]); e != 0 {
				return fmt.Errorf("change user: %w", e)
			}
		}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
		prog := unix.SockFprog{Len: uint16(len(p.Filter) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&p.Filter[0]))}
		if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); e != 0 {
			return fmt.Errorf("load seccomp filter: %w", e)
		}
	}
	return unix.Exec(p.Args[0], p.Args, []string{"PATH=/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8", "OPENBLAS_NUM_THREADS=1"})
}
