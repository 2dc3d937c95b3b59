// Package hosts runs the platform on hosts that are not this one: virtual
// machines with systemd and control groups v2 alone, of both architectures. It
// takes minutes, and so runs only where ROUSE_HOSTS names architectures.
package hosts

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// images are made once and kept, by scripts/image.
const images = "/var/cache/rouse-test/machines"

// A machine is one that runs.
type machine struct {
	arch    string
	port    string // of its ssh, on this host's loopback
	console string // file of what it prints
	ended   chan error
}

// emulators start a machine of an architecture.
var emulators = map[string][]string{
	"amd64": {"qemu-system-x86_64", "-machine", "q35", "-cpu", "max", "-append", "console=ttyS0 root=/dev/vda rw panic=-1 quiet"},
	"arm64": {"qemu-system-aarch64", "-machine", "virt", "-cpu", "max,pauth-impdef=on", "-append", "console=ttyAMA0 root=/dev/vda rw panic=-1 quiet"},
}

// boot starts a machine whose disk forgets what is written, and returns once
// one can log in. It ends with the test.
func boot(t *testing.T, arch string) *machine {
	t.Helper()
	image := filepath.Join(images, arch)
	if _, err := os.Stat(image + ".img"); err != nil {
		t.Logf("making %s.img", image)
		if out, err := exec.CommandContext(t.Context(), "../../scripts/image", arch, images).CombinedOutput(); err != nil {
			t.Fatalf("make the machine's disk: %v\n%s", err, out)
		}
	}
	m := &machine{arch: arch, port: free(t), console: filepath.Join(t.TempDir(), "console"), ended: make(chan error, 1)}
	args := append(emulators[arch][1:], "-accel", "tcg,thread=multi", "-smp", "2", "-m", "2G", "-display", "none", "-no-reboot",
		"-serial", "file:"+m.console, "-kernel", image+".kernel", "-initrd", image+".initrd",
		"-drive", "if=virtio,format=raw,snapshot=on,file="+image+".img",
		"-netdev", "user,id=n,hostfwd=tcp:127.0.0.1:"+m.port+"-:22", "-device", "virtio-net-pci,netdev=n")
	var said bytes.Buffer
	cmd := exec.Command(emulators[arch][0], args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { m.ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-m.ended
	})
	began := time.Now()
	for end := began.Add(10 * time.Minute); ; time.Sleep(time.Second) { // until its sshd is there, of which nothing tells
		if _, err := m.try("root", "true"); err == nil {
			break
		}
		select {
		case err := <-m.ended:
			m.ended <- err
			t.Fatalf("the machine has ended: %v\n%s\n%s", err, &said, m.printed())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("nobody can log in within 10 minutes\n%s", m.printed())
		}
	}
	t.Logf("%s was up after %v", arch, time.Since(began).Round(time.Second))
	return m
}

func (m *machine) printed() []byte {
	b, _ := os.ReadFile(m.console)
	return b
}

// free is a port of the loopback that nobody listens on now.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// ssh is a command that logs in and runs a script there.
func (m *machine) ssh(ctx context.Context, user, script string) *exec.Cmd {
	return exec.CommandContext(ctx, "ssh", "-i", filepath.Join(images, "key"), "-p", m.port, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10", user+"@127.0.0.1", script)
}

// try logs in and runs a script; the error has what it said.
func (m *machine) try(user, script string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	out, err := m.ssh(ctx, user, script).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%w: %s", err, out)
	}
	return string(out), nil
}

// run is try for what must succeed.
func (m *machine) run(t testing.TB, user, script string) string {
	t.Helper()
	out, err := m.try(user, script)
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return strings.TrimSpace(out)
}

// send brings a file there, to be run by everybody.
func (m *machine) send(t testing.TB, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := m.ssh(t.Context(), "root", fmt.Sprintf("mkdir -p %s && cat >%s && chmod 755 %[2]s", filepath.Dir(to), to))
	cmd.Stdin = f
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("send %s: %v %s", to, err, out)
	}
}

// build compiles a package of this module for an architecture, or its tests.
func build(t testing.TB, out, what string, env ...string) {
	t.Helper()
	args := []string{"build", "-o", out, what}
	if test, ok := strings.CutPrefix(what, "test "); ok {
		args = []string{"test", "-c", "-o", out, test}
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), append(env, "CGO_ENABLED=0")...)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", what, err, said)
	}
}
