package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
)

// A cellPlan is what the program of that name takes; see cell/main.go.
type cellPlan struct {
	Mounts []string          `json:"mounts"`
	Links  map[string]string `json:"links"`
	Args   []string          `json:"args"`
	User   int               `json:"user"`
	Filter []byte            `json:"filter"`

	from map[string]string // folders of the host by where they go, besides /usr
}

// seccomp constants of linux/filter.h, linux/seccomp.h and linux/audit.h.
const (
	loadWord    = 0x20 // BPF_LD | BPF_W | BPF_ABS
	jumpEqual   = 0x15 // BPF_JMP | BPF_JEQ | BPF_K
	giveBack    = 0x06 // BPF_RET | BPF_K
	actionAllow = 0x7fff0000
	actionErrno = 0x00050000 | uint32(unix.EPERM)
	actionKill  = 0x80000000
)

// filter is a seccomp program that forbids what opens ways out of a sandbox.
func filter() []byte {
	arch := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	forbidden := []uint32{unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_PTRACE, unix.SYS_BPF,
		unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_PROCESS_VM_READV, unix.SYS_IO_URING_SETUP}
	var code []byte
	add := func(op uint16, yes, no int, k uint32) {
		code = binary.LittleEndian.AppendUint16(code, op)
		code = append(code, byte(yes), byte(no))
		code = binary.LittleEndian.AppendUint32(code, k)
	}
	add(loadWord, 0, 0, 4) // seccomp_data.arch
	add(jumpEqual, 1, 0, arch)
	add(giveBack, 0, 0, actionKill)
	add(loadWord, 0, 0, 0) // seccomp_data.nr
	for i, nr := range forbidden {
		add(jumpEqual, len(forbidden)-i, 0, nr)
	}
	add(giveBack, 0, 0, actionAllow)
	add(giveBack, 0, 0, actionErrno)
	return code
}

// detach makes a read-only mount of path that is nowhere yet.
func detach(path string) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil, fmt.Errorf("detach %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return nil, errors.Join(fmt.Errorf("protect %s: %w", path, err), f.Close())
	}
	return f, nil
}

// enter starts a program in a cell. Control, which may be nil, becomes its
// descriptor 3.
func (b *bench) enter(p cellPlan, control *os.File, set func(*exec.Cmd)) (*exec.Cmd, error) {
	p.Links = map[string]string{}
	cmd := exec.Command(b.cell)
	cmd.ExtraFiles = []*os.File{control}
	from := map[string]string{"/usr": "/usr"}
	for _, dir := range []string{"/bin", "/lib", "/lib64", "/sbin"} {
		if to, err := os.Readlink(dir); err == nil {
			p.Links[dir] = to
		} else if _, err := os.Stat(dir); err == nil {
			from[dir] = dir
		}
	}
	for at, dir := range p.from {
		from[at] = dir
	}
	for at, dir := range from {
		mount, err := detach(dir)
		if err != nil {
			return nil, err
		}
		defer mount.Close()
		p.Mounts = append(p.Mounts, at)
		cmd.ExtraFiles = append(cmd.ExtraFiles, mount)
	}
	plan, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	cell, err := os.Open(b.cell)
	if err != nil {
		return nil, err
	}
	defer cell.Close()
	// By its descriptor: the user inside may not pass the folders above it.
	cmd.ExtraFiles = append(cmd.ExtraFiles, cell)
	cmd.Path = fmt.Sprintf("/proc/self/fd/%d", 2+len(cmd.ExtraFiles))
	cmd.Args = append(cmd.Args, string(plan))
	cmd.Stderr = os.Stderr
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 400_000, Size: 65_536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
			unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{},
	}
	set(cmd)
	return cmd, cmd.Start()
}

// execIn runs the program main of a folder in a cell and returns how long it
// took from the beginning to its end and what it answered to input.
func (b *bench) execIn(folder, input string) (time.Duration, string, error) {
	var out bytes.Buffer
	began := time.Now()
	cmd, err := b.enter(cellPlan{Args: []string{"/fn/main"}, User: 1000, Filter: filter(), from: map[string]string{"/fn": folder}}, nil, func(cmd *exec.Cmd) {
		cmd.Stdin, cmd.Stdout = strings.NewReader(input), &out
	})
	if err == nil {
		err = cmd.Wait()
	}
	return time.Since(began), out.String(), err
}

// imports are what a zygote has loaded, the usual parts of the standard
// library, as the platform's has.
var imports = strings.Fields("argparse asyncio base64 copy csv dataclasses datetime decimal email.message email.parser email.utils " +
	"fractions hashlib heapq hmac html http http.client inspect json logging pathlib pickle queue random secrets shutil socket " +
	"ssl statistics string subprocess tempfile textwrap traceback typing urllib.parse urllib.request uuid zlib")

// A zygote is the barest one: a process of which children fork that isolate
// themselves as the platform's do.
type zygote struct {
	cmd     *exec.Cmd
	control *net.UnixConn
}

// zygote starts one. Deps is a folder of packages, "" for none, of which it
// imports those of more.
func (b *bench) zygote(rt rouse.Runtime, deps string, more ...string) (*zygote, error) {
	scripts, err := b.unpackBare()
	if err != nil {
		return nil, err
	}
	p := cellPlan{from: map[string]string{"/bare": scripts}}
	if home := filepath.Dir(filepath.Dir(rt.Path)); home != "/usr" {
		p.from[home] = home
	}
	if deps != "" {
		p.from["/deps"] = deps
	}
	p.Args = append([]string{rt.Path, "-I", "-S", "-B", "/bare/zygote.py", hex.EncodeToString(filter())}, append(imports, more...)...)
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	z := &zygote{control: ours}
	if z.cmd, err = b.enter(p, theirs, func(*exec.Cmd) {}); err != nil {
		return nil, errors.Join(err, ours.Close())
	}
	_ = theirs.Close()
	if n, err := ours.Read(make([]byte, 8)); err != nil || n == 0 {
		return nil, errors.Join(errors.New("the bare zygote did not come up"), z.close())
	}
	return z, nil
}

func socketpair() (*net.UnixConn, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer ours.Close()
	c, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return c.(*net.UnixConn), theirs, nil
}

// fork starts an instance of the code in a folder. It is ended by close.
func (z *zygote) fork(folder string) (*pipes, error) {
	code, err := detach(folder)
	if err != nil {
		return nil, err
	}
	defer code.Close()
	in, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	from, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, to.Close())
	}
	defer out.Close()
	_, _, err = z.control.WriteMsgUnix([]byte{1}, unix.UnixRights(int(code.Fd()), int(in.Fd()), int(out.Fd())), nil)
	if err != nil {
		return nil, errors.Join(err, to.Close(), from.Close())
	}
	return &pipes{to: to, from: from}, nil
}

// close ends the instance.
func (p *pipes) close() error { return errors.Join(p.to.Close(), p.from.Close()) }

// close ends the zygote and what was forked of it.
func (z *zygote) close() error {
	err := z.control.Close()
	_ = z.cmd.Wait() // killed or not, it is gone
	return err
}
