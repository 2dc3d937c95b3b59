package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOnAHostOfV2 runs the tests of this package on a machine that has only
// cgroup v2: user-mode Linux, whose first process is this test binary and
// whose disk is the host's.
func TestOnAHostOfV2(t *testing.T) {
	kernel, err := exec.LookPath("linux.uml")
	if err != nil {
		t.Skip("linux.uml is not installed: apt-get install user-mode-linux")
	}
	binary := filepath.Join(t.TempDir(), "cgroup.test")
	build := exec.Command("go", "test", "-c", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=") // the race detector can't run there
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	list, err := exec.Command(binary, "-test.list", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	tests := strings.Fields(strings.ReplaceAll(string(list), t.Name(), ""))
	if len(tests) < 10 {
		t.Fatalf("only %q", tests)
	}
	for _, where := range []string{"root", "group"} {
		t.Run(where, func(t *testing.T) {
			said := boot(t, kernel, binary, where)
			for _, name := range tests {
				if !strings.Contains(said, "--- PASS: "+name+" (") {
					t.Errorf("%s has not passed", name)
				}
			}
			if !strings.Contains(said, "control groups are v2\n") || strings.Contains(said, "control groups are v1\n") ||
				!strings.Contains(said, "the tests ended with 0 <nil>\n") {
				t.Error("that was no run on v2")
			}
			if t.Failed() {
				t.Log(said)
			}
		})
	}
	t.Run("without memory", func(t *testing.T) {
		said := boot(t, kernel, binary, "nowhere", "cgroup_disable=memory")
		if !strings.Contains(said, "lack memory; start it without cgroup_disable=memory") {
			t.Error(said)
		}
	})
}

// boot runs a machine until it is off and returns what it printed. Options are
// the kernel's.
func boot(t *testing.T, kernel, init, where string, options ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for attempt := 1; ; attempt++ {
		dir := t.TempDir()
		cmd := exec.CommandContext(ctx, kernel, append(options, "mem=256M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "loglevel=1",
			"con=null", "con0=null,fd:1", "uml_dir="+dir, "cgroup_no_v1=all", "init="+init, "CGROUP_MACHINE="+where)...)
		cmd.Env = append(os.Environ(), "TMPDIR="+dir) // for the file that is the machine's memory
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
		cmd.WaitDelay = 10 * time.Second
		out, err := cmd.CombinedOutput()
		said := strings.ReplaceAll(string(out), "\r\n", "\n")
		exit, ended := errors.AsType[*exec.ExitError](err)
		switch {
		case err == nil:
			return said
		case ended && exit.Sys().(syscall.WaitStatus).Signal() == unix.SIGABRT && attempt < 3:
			t.Logf("the machine's kernel gave up, as it does now and then: %s", said)
		default:
			t.Errorf("the machine ended with %v", err)
			return said
		}
	}
}

// powerOn is the machine's first process. It runs the tests in the root group,
// in one of their own or, where it can't be divided, nowhere, and switches the
// machine off.
func powerOn(where string) {
	code, err := runTests(where)
	fmt.Println("the tests ended with", code, err)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func runTests(where string) (code int, err error) {
	for _, m := range []struct{ kind, at, options string }{
		{"proc", "/proc", ""}, {"sysfs", "/sys", ""}, {"tmpfs", "/tmp", ""}, {"cgroup2", "/sys/fs/cgroup", "nsdelegate"},
	} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, m.options); err != nil {
			return -1, fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	attributes := &syscall.SysProcAttr{}
	if where != "root" {
		if err := delegate("/sys/fs/cgroup", false); err != nil {
			return -1, err
		}
		const dir = "/sys/fs/cgroup/service"
		if err := os.Mkdir(dir, 0o755); err != nil {
			return -1, err
		}
		if attributes.CgroupFD, err = unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			return -1, err
		}
		attributes.UseCgroupFD = true
	}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"cgroup.test", "-test.v", "-test.skip=^TestOnAHostOfV2$", "-test.timeout=100s"}, &syscall.ProcAttr{
		Env:   []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin"},
		Files: []uintptr{0, 1, 2},
		Sys:   attributes,
	})
	for err == nil {
		var status unix.WaitStatus
		var ended int
		if ended, err = unix.Wait4(-1, &status, 0, nil); ended == pid { // the others are orphans
			return status.ExitStatus(), nil
		}
	}
	return -1, err
}
