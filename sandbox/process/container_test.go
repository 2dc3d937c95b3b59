package process_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/sandbox/process"
)

// insideVariable says where this test binary, started again, is to test:
// "container" and "user" become it, "there" has become it, a "victim" is killed.
const insideVariable = "ROUSE_TEST_INSIDE"

// inside runs the test that is meant for a host that gives less.
func inside(m *testing.M) int {
	where := os.Getenv(insideVariable)
	runtime.LockOSThread()
	var err error
	switch where {
	case "container":
		err = becomeContainer()
	case "user":
		err = becomeUser()
	}
	if err != nil {
		fmt.Println("become a", where, err)
		return 1
	}
	if where == "victim" {
		return victim()
	}
	if where != "there" {
		env := append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, insideVariable) }), insideVariable+"=there")
		fmt.Println(syscall.Exec("/proc/self/exe", os.Args, env))
		return 1
	}
	return m.Run()
}

// becomeContainer makes of this process what a container with the usual
// settings is: root with few powers, no new namespaces, no mounts, control
// groups that can't be written.
func becomeContainer() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/sys/fs/cgroup", "tmpfs", unix.MS_RDONLY, ""); err != nil {
		return err
	}
	usual := []uintptr{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FSETID, unix.CAP_FOWNER, unix.CAP_MKNOD, unix.CAP_NET_RAW, unix.CAP_SETGID,
		unix.CAP_SETUID, unix.CAP_SETFCAP, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_CHROOT, unix.CAP_KILL, unix.CAP_AUDIT_WRITE}
	if err := denyNamespaces(); err != nil { // while there is the power to, without giving up set-user-ID
		return err
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if !slices.Contains(usual, c) {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) // one the kernel lacks is EINVAL
		}
	}
	return nil
}

// denyNamespaces refuses what the usual profile of containers refuses.
func denyNamespaces() error {
	deny, allow := bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_CLONE3, SkipTrue: 1}, bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}}
	for _, call := range []uint32{unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN,
		unix.SYS_FSMOUNT, unix.SYS_MOUNT_SETATTR, unix.SYS_PIVOT_ROOT, unix.SYS_BPF, unix.SYS_KEYCTL, unix.SYS_PERF_EVENT_OPEN} {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: call, SkipTrue: 1}, deny)
	}
	program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_CLONE, SkipTrue: 1}, allow,
		bpf.LoadAbsolute{Off: 16, Size: 4}, bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x7e020000, SkipTrue: 1}, allow, deny)
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	var code []byte
	for _, r := range raw {
		code = binary.NativeEndian.AppendUint16(code, r.Op)
		code = append(code, r.Jt, r.Jf)
		code = binary.NativeEndian.AppendUint32(code, r.K)
	}
	prog := unix.SockFprog{Len: uint16(len(raw)), Filter: (*unix.SockFilter)(unsafe.Pointer(&code[0]))}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog))); e != 0 {
		return e
	}
	return nil
}

// becomeUser makes this process one of a user without powers.
func becomeUser() error {
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setgid(nobody); err != nil {
		return err
	}
	return syscall.Setuid(nobody)
}

const nobody = 65534

func TestInAContainer(t *testing.T) {
	somewhere(t, "container", &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID})
}

func TestAsAPlainUser(t *testing.T) { somewhere(t, "user", nil) }

// somewhere runs TestThere where the host gives less.
func somewhere(t *testing.T, where string, a *syscall.SysProcAttr) {
	// Others must be able to read the binary, and have a folder.
	dir, err := os.MkdirTemp("", "rouse-"+where+"-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "process.test")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(binary, self, 0o755); err != nil {
		t.Fatal(err)
	}
	if where == "user" {
		for _, path := range []string{dir, binary} {
			if err := os.Chown(path, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command(binary, "-test.run=^TestThere$", "-test.v", "-test.timeout=50s")
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + dir, insideVariable + "=" + where, "TMPDIR=" + dir, "GORACE=" + quick}
	if where == "container" {
		cmd.Env[3] = "TMPDIR=/tmp" // every user can get there
	}
	cmd.Dir, cmd.SysProcAttr = dir, a
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestThere") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestThere is the part of the tests above that runs there.
func TestThere(t *testing.T) {
	if os.Getenv(insideVariable) != "there" {
		t.Skip("run by TestInAContainer and TestAsAPlainUser")
	}
	diagnosis := process.Doctor()
	if diagnosis.Tier != process.Landlock || diagnosis.Next == "" {
		t.Fatalf("the doctor says %+v", diagnosis)
	}
	if _, err := open(t.TempDir(), process.Namespaces); err == nil || !strings.Contains(err.Error(), "lacks") {
		t.Fatalf("namespaces: %v", err)
	}
	d, err := open(t.TempDir(), "auto")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	if d.Isolation() != process.Landlock {
		t.Fatalf("the tier is %s", d.Isolation())
	}
	t.Run("greets", func(t *testing.T) { greets(t, d) })
	t.Run("unreachable", func(t *testing.T) { unreachable(t, d) })
	t.Run("leaves nothing", func(t *testing.T) { leavesNothing(t, d) })
	t.Run("ends", func(t *testing.T) { testTheEndsOfAFunction(t, d) })
	t.Run("forks", func(t *testing.T) {
		if os.Geteuid() == 0 {
			testForksWithoutEndAreBounded(t, d)
			return
		}
		// The kernel counts the processes of a user together, whatever rooms they are in.
		ends(t, d, rouse.Limits{Processes: 64}, "[os.fork() or time.sleep(1000) for _ in range(100)]; time.sleep(1000)", rouse.StatusCrashed, "SIGKILL")
	})
	t.Run("never returns", func(t *testing.T) { testAFunctionThatNeverReturnsIsEnded(t, d) })
}
