// Package stage is the first thing that runs inside a new sandbox: this
// program started again, in fresh namespaces, which builds the file system
// that the function will see, gives up every power and becomes the program.
//
// It acts in init, before the packages of the server proper, so that a large
// server does not make a slow start.
package stage

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Name is the argv[0] by which this program is started as a stage.
const Name = "rouse-stage"

// The descriptors that a stage is started with. Mounts of the Plan follow from
// FirstMount on, in order.
const (
	Control    = 3 // socket: the Plan comes in, for a Parked one the Start too
	Input      = 4 // the program's frames or standard input
	Output     = 5 // the program's frames or standard output
	FirstMount = 6
)

// A Plan says what to build.
type Plan struct {
	Mounts   []Mount           `json:"mounts"`
	Links    map[string]string `json:"links"` // path inside to what it points at
	Files    map[string]string `json:"files"` // path inside to content
	Hostname string            `json:"hostname"`
	Tmp      int64             `json:"tmp"`  // bytes of /tmp; 0 mounts none
	User     int               `json:"user"` // to become; 0 stays root of the user namespace
	Loopback bool              `json:"loopback"`
	Parked   bool              `json:"parked"` // wait for a Start before becoming the program
	Bare     bool              `json:"bare"`   // there are no namespaces: build nothing, the rules come with the Start
	Keep     bool              `json:"keep"`   // pass Control, Input and Output on to the program
	Start
}

// A Start says what to become.
type Start struct {
	Args   []string `json:"args,omitempty"`
	Env    []string `json:"env,omitempty"`
	Dir    string   `json:"dir,omitempty"`
	Tmp    int64    `json:"tmpSize,omitempty"` // bytes of /tmp, for a Parked stage
	Stdin  bool     `json:"stdin,omitempty"`   // Input and Output are standard input and output
	Mounts []string `json:"at,omitempty"`      // where the descriptors sent along are to be mounted
	Data   uint64   `json:"data,omitempty"`    // bytes that the program may map for itself (RLIMIT_DATA); 0 is as many as it wants
	Filter []byte   `json:"filter,omitempty"`  // seccomp program, struct sock_filter[]; that of a Parked stage's Plan where nil

	rules int // descriptor of a Bare stage's Landlock ruleset
}

// A Mount is a detached mount at a path inside.
type Mount struct {
	Path string `json:"path"`
	File bool   `json:"file,omitempty"` // not a folder
}

func init() {
	if len(os.Args) > 0 && os.Args[0] == Name {
		runtime.LockOSThread()
		debug.SetGCPercent(-1)
		err := run()
		fmt.Fprintf(os.Stderr, "rouse: sandbox: %v\n", err)
		os.Exit(125)
	}
}

func run() error {
	var plan Plan
	if _, err := receive(&plan); err != nil {
		return fmt.Errorf("read plan: %w", err)
	}
	if !plan.Bare {
		if err := build(plan); err != nil {
			return err
		}
		if plan.Loopback {
			if err := Loopback(); err != nil {
				return fmt.Errorf("raise loopback: %w", err)
			}
		}
		// The names of namespaces that this one may nest: none, whatever the filter misses.
		_ = os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0)
	}
	start := plan.Start
	if plan.Parked {
		if _, err := unix.Write(Control, []byte("parked")); err != nil {
			return err
		}
		start = Start{}
		fds, err := receive(&start)
		if err != nil {
			return fmt.Errorf("read start: %w", err)
		}
		if err := furnish(plan, &start, fds); err != nil {
			return err
		}
	}
	return become(plan, start)
}

// furnish takes what came with a Start: mounts, or the rules of a Bare stage.
func furnish(plan Plan, start *Start, fds []int) error {
	if plan.Bare {
		if len(fds) != 1 {
			return fmt.Errorf("%d descriptors came for one ruleset", len(fds))
		}
		start.rules = fds[0]
		return nil
	}
	if len(fds) != len(start.Mounts) {
		return fmt.Errorf("%d mounts came for %d places", len(fds), len(start.Mounts))
	}
	for i, fd := range fds {
		if err := unix.MoveMount(fd, "", unix.AT_FDCWD, start.Mounts[i], unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mount %s: %w", start.Mounts[i], err)
		}
		_ = unix.Close(fd)
	}
	return mountTmp(start.Tmp)
}

// receive reads one message and the descriptors that came with it.
func receive(v any) ([]int, error) {
	buf := make([]byte, 1<<20)
	oob := make([]byte, unix.CmsgSpace(16*4))
	n, on, _, _, err := unix.Recvmsg(Control, buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if n == 0 { // the server is gone, or wants us no more
		os.Exit(0)
	}
	var fds []int
	messages, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		rights, err := unix.ParseUnixRights(&m)
		if err != nil {
			return nil, err
		}
		fds = append(fds, rights...)
	}
	return fds, json.Unmarshal(buf[:n], v)
}

// build makes the new root and moves into it.
func build(plan Plan) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	const root = "/usr" // a folder that every host has; covered only in here
	if err := unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=1m"); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	for _, dir := range []string{"proc", "dev", "tmp", "fn", "deps", "run", "etc", "var/tmp", "home"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	for i, m := range plan.Mounts {
		if err := place(FirstMount+i, filepath.Join(root, m.Path), m.File); err != nil {
			return fmt.Errorf("mount %s: %w", m.Path, err)
		}
	}
	for at, to := range plan.Links {
		at = filepath.Join(root, at)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(to, at); err != nil {
			return err
		}
	}
	for at, content := range plan.Files {
		at = filepath.Join(root, at)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", root+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	if err := enter(root); err != nil {
		return err
	}
	if plan.Tmp > 0 {
		if err := mountTmp(plan.Tmp); err != nil {
			return err
		}
	}
	if plan.Hostname != "" {
		return unix.Sethostname([]byte(plan.Hostname))
	}
	return nil
}

func place(fd int, at string, file bool) error {
	if file {
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(at, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_ = f.Close()
	} else if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	return unix.Close(fd)
}

// enter makes root the root, read-only, and lets go of the host's.
func enter(root string) error {
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
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("make root read-only: %w", err)
	}
	return nil
}

// mountTmp mounts a /tmp of size bytes. A file costs kernel memory besides its
// bytes, so their number is bounded as well.
func mountTmp(size int64) error {
	options := fmt.Sprintf("mode=1777,size=%d,nr_inodes=%d", size, max(64, size>>12))
	if err := unix.Mount("tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount tmp: %w", err)
	}
	return nil
}

// Loopback raises lo in the calling thread's network namespace.
func Loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr)
}

// become gives up what the function must not have and executes the program.
func become(plan Plan, start Start) error {
	if start.Stdin {
		if err := unix.Dup2(Input, 0); err != nil {
			return err
		}
		if err := unix.Dup2(Output, 1); err != nil {
			return err
		}
	}
	keep := uint(Control)
	if plan.Keep {
		keep = Output + 1
	}
	if err := unix.CloseRange(keep, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close descriptors: %w", err)
	}
	if start.Dir != "" {
		if err := unix.Chdir(start.Dir); err != nil {
			return fmt.Errorf("enter %s: %w", start.Dir, err)
		}
	}
	path, err := lookup(start.Args[0], start.Env)
	if err != nil {
		return err
	}
	if plan.User != 0 {
		for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) // one the kernel lacks is EINVAL
		}
		if err := identity(plan.User); err != nil {
			return err
		}
		// The change of user made the kernel forget to end us with the server.
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no-new-privileges: %w", err)
	}
	if start.Data > 0 { // now only: we ourselves may need more
		if err := unix.Prlimit(0, unix.RLIMIT_DATA, &unix.Rlimit{Cur: start.Data, Max: start.Data}, nil); err != nil {
			return fmt.Errorf("limit memory: %w", err)
		}
	}
	if start.rules > 0 {
		if err := Restrict(start.rules); err != nil {
			return fmt.Errorf("enforce landlock rules: %w", err)
		}
	}
	giveWay()
	if start.Filter == nil {
		start.Filter = plan.Filter
	}
	if len(start.Filter) > 0 {
		if err := install(start.Filter); err != nil {
			return fmt.Errorf("load seccomp filter: %w", err)
		}
	}
	err = syscall.Exec(path, start.Args, start.Env)
	// Where the file was written just now, a process that was forked meanwhile may
	// have it open still: until it executes something itself, which it does at once.
	for range 200 {
		if err != syscall.ETXTBSY {
			break
		}
		// Nothing tells of it. By a raw call: Go's own might want another thread, which
		// may be one too many here.
		pause := unix.NsecToTimespec(int64(5 * time.Millisecond))
		_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&pause)), 0, 0)
		err = syscall.Exec(path, start.Args, start.Env)
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", start.Args[0], err)
	}
	return nil
}

// giveWay has the program, and all that it will start, not interrupt who runs
// when it is woken. On busy processors the server then reads and hands on
// several requests in one go, instead of losing its turn with each that it
// hands on. Beside code that only computes a program waits no longer: what it
// may use in all stays the same. It is a hint, that a kernel may refuse. See
// SCHED_BATCH in sched(7).
func giveWay() {
	var priority int32
	_, _, _ = unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_BATCH, uintptr(unsafe.Pointer(&priority)))
}

// identity changes this thread's user by raw calls: Go's own would stop all
// threads, and exec ends the others anyway.
func identity(user int) error {
	id := uintptr(user)
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
		return fmt.Errorf("drop groups: %w", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, id, id, id); e != 0 {
		return fmt.Errorf("change group: %w", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); e != 0 {
		return fmt.Errorf("change user: %w", e)
	}
	return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
}

func install(filter []byte) error {
	prog := unix.SockFprog{Len: uint16(len(filter) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0]))}
	if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); e != 0 {
		return e
	}
	return nil
}

func lookup(program string, env []string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	for _, e := range env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			for dir := range strings.SplitSeq(path, ":") {
				full := filepath.Join(dir, program)
				if unix.Access(full, unix.X_OK) == nil {
					return full, nil
				}
			}
		}
	}
	return "", fmt.Errorf("run %s: it is not in the sandbox's PATH", program)
}
