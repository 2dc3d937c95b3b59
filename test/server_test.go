package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/auth"
	"github.com/rouse-run/rouse/bundle"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "rouse-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "rouse")
	build := exec.Command("go", "build", "-o", binary, "../cmd/rouse")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("%s\n", out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// A server is "rouse up" as a user starts it.
type server struct {
	*client.Client
	t     testing.TB
	data  string
	addr  string
	token string
	cmd   *exec.Cmd
	log   *bytes.Buffer
}

var greeting = regexp.MustCompile(`API +http://([^/]+)/v1`)

// start starts a server over a data folder, "" for a new one.
func start(t testing.TB, data string, flags ...string) *server {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the namespaces tier needs root")
	}
	if data == "" {
		data = t.TempDir()
	}
	s := &server{t: t, data: data, log: &bytes.Buffer{}}
	s.cmd = exec.Command(binary, append([]string{"up", "--data", data, "--listen", "127.0.0.1:0"}, flags...)...)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := greeting.FindStringSubmatch(lines.Text()); m != nil {
			s.addr = m[1]
			break
		}
	}
	if s.addr == "" {
		_ = s.cmd.Wait()
		t.Fatalf("the server did not come up: %s", s.log)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if s.token, err = auth.Read(data); err != nil {
		t.Fatal(err)
	}
	if s.Client, err = client.New(s.addr, s.token, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

// stop ends the server as Ctrl-C does.
func (s *server) stop() {
	if s.cmd.ProcessState != nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the server ended with %v: %s", err, s.log)
	}
}

// kill ends the server as a power failure does.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// deploy deploys files as a function.
func (s *server) deploy(name string, o wire.Options, files map[string]string) rouse.Function {
	s.t.Helper()
	f, err := s.tryDeploy(name, o, files)
	if err != nil {
		s.t.Fatalf("deploy %s: %v", name, err)
	}
	return f
}

func (s *server) tryDeploy(name string, o wire.Options, files map[string]string) (rouse.Function, error) {
	dir := s.t.TempDir()
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	var zip bytes.Buffer
	if err := bundle.Pack(&zip, dir); err != nil {
		return rouse.Function{}, err
	}
	return s.Deploy(s.t.Context(), name, o, &zip, nil)
}

// python deploys main.py with the native contract.
func (s *server) python(name, source string, o wire.Options) rouse.Function {
	s.t.Helper()
	return s.deploy(name, o, map[string]string{"main.py": source})
}

// call invokes a function with v in JSON.
func (s *server) call(name string, v any) rouse.Activation {
	s.t.Helper()
	payload, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := s.Record(s.t.Context(), client.Call{Function: name, Payload: payload})
	if err != nil {
		s.t.Fatalf("invoke %s: %v\n%s", name, err, s.log)
	}
	return a
}

func (s *server) get(path string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.Get("http://" + s.addr + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return r, string(b)
}

// cgroups are the control groups of the server, by path.
func (s *server) cgroups() []string {
	sum := sha256.Sum256([]byte(s.data))
	name := fmt.Sprintf("rouse-%x", sum[:6])
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup/*/%s/*", "/sys/fs/cgroup/*/*/*/%s/*", "/sys/fs/cgroup/*/*/%s/*", "/sys/fs/cgroup/%s/*"} {
		dirs, err := filepath.Glob(fmt.Sprintf(pattern, name))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, d := range dirs {
			if i, err := os.Stat(d); err == nil && i.IsDir() {
				found = append(found, d)
			}
		}
	}
	return found
}

// descendants are the processes that a server started, by pid: those whose
// parents lead to it.
func descendants(pid int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var own, parent int
		var state string
		_, _ = fmt.Sscan(string(b), &own)
		rest := string(b[bytes.LastIndexByte(b, ')')+1:])
		_, _ = fmt.Sscan(rest, &state, &parent)
		children[parent] = append(children[parent], own)
	}
	var all []int
	for queue := children[pid]; len(queue) > 0; queue = queue[1:] {
		all = append(all, queue[0])
		queue = append(queue, children[queue[0]]...)
	}
	return all
}

// alive says whether a process is there and no zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.HasPrefix(string(b[bytes.LastIndexByte(b, ')')+2:]), "Z")
}

// eventually waits until ok; the platform gives no signal for what it asks.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within a minute: %s", what)
		case <-tick.C:
		}
	}
}

// refused starts a server that must not come up, and returns what it said.
func refused(t testing.TB, data string, flags ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary, append([]string{"up", "--data", data, "--listen", "127.0.0.1:0"}, flags...)...).CombinedOutput()
	if err == nil {
		t.Error("it came up")
	}
	return string(out)
}
