package stage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ProbeName is the argv[0] by which this program is started to attempt one
// thing that a sandbox needs; argv[1] is the Probe. It exits with 0 where the
// kernel allowed it, and prints a detail or the refusal.
const ProbeName = "rouse-probe"

// Probes are the attempts, by name. Sysctls and versions lie; trying does not.
var probes = map[string]func() error{
	"nothing":  func() error { return nil },
	"tmpfs":    probeTmpfs,
	"bind":     probeBind,
	"pivot":    probePivot,
	"proc":     probeProc,
	"loopback": Loopback,
	"seccomp":  probeSeccomp,
	"landlock": probeLandlock,
	"user":     func() error { return identity(20000) },
	"pidfd":    probePidfd,
}

func init() {
	if len(os.Args) != 2 || os.Args[0] != ProbeName {
		return
	}
	runtime.LockOSThread()
	probe, ok := probes[os.Args[1]]
	if !ok {
		fmt.Printf("no probe %s", os.Args[1])
		os.Exit(2)
	}
	if err := probe(); err != nil {
		fmt.Print(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Probe runs a probe in a child started with a, and returns what it printed.
func Probe(name string, a *syscall.SysProcAttr) (string, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{ProbeName, name}
	cmd.SysProcAttr = a
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func private() error {
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

func probeTmpfs() error {
	if err := private(); err != nil {
		return err
	}
	return unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "size=1m")
}

func probeBind() error {
	if err := probeTmpfs(); err != nil {
		return err
	}
	if err := os.Mkdir("/tmp/usr", 0o755); err != nil {
		return err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/usr", unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, attr); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return unix.MoveMount(fd, "", unix.AT_FDCWD, "/tmp/usr", unix.MOVE_MOUNT_F_EMPTY_PATH)
}

func probePivot() error {
	if err := probeTmpfs(); err != nil {
		return err
	}
	if err := unix.Chdir("/tmp"); err != nil {
		return err
	}
	return unix.PivotRoot(".", ".")
}

func probeProc() error {
	if err := private(); err != nil {
		return err
	}
	return unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// probeSeccomp loads a filter that refuses getppid, and sees that it does.
func probeSeccomp() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_GETPPID, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EDOM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); e != 0 {
		return e
	}
	if _, _, e := unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0); e != unix.EDOM {
		return fmt.Errorf("a filter was loaded and did not act")
	}
	return nil
}

// probeLandlock forbids all reading, and sees that it is.
func probeLandlock() error {
	version, err := LandlockVersion()
	if err != nil {
		return err
	}
	fmt.Printf("version %d", version)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	rules, err := NewRuleset(unix.LandlockRulesetAttr{Handled_access_fs: unix.LANDLOCK_ACCESS_FS_READ_DIR})
	if err != nil {
		return err
	}
	if err := Restrict(rules); err != nil {
		return err
	}
	if fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0); !errors.Is(err, unix.EACCES) {
		_ = unix.Close(fd)
		return errors.New("rules were enforced and did not act")
	}
	return nil
}

func probePidfd() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return err
	}
	return unix.PidfdSendSignal(fd, 0, nil, 0)
}
