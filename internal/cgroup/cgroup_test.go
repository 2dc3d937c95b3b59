package cgroup

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func open(t *testing.T) *Tree {
	t.Helper()
	tree, err := Open(fmt.Sprintf("rouse-test-%d", os.Getpid()))
	if err != nil {
		t.Skipf("cgroups are not to be had here: %v", err)
	}
	t.Logf("control groups are %s", tree.Version())
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree
}

// in starts a shell in a new group with limits; it begins its script once it
// is inside.
func in(t *testing.T, tree *Tree, l Limits, script string) (*Group, *exec.Cmd, *bufio.Reader) {
	t.Helper()
	g, err := tree.Create(strings.ReplaceAll(t.Name(), "/", "-"))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Set(l); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "read go; "+script)
	stdin, _ := cmd.StdinPipe()
	stdout, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(stdin, "go")
	return g, cmd, bufio.NewReader(stdout)
}

func TestAHogIsKilledAndCounted(t *testing.T) {
	g, cmd, _ := in(t, open(t), Limits{Memory: 16 << 20}, "exec python3 -c 'x = bytearray(64 << 20)'")
	if err := cmd.Wait(); err == nil {
		t.Error("a process that took four times its memory lived")
	}
	if g.OOM() == 0 {
		t.Error("its end was not counted")
	}
	if _, peak := g.Memory(); peak < 8<<20 || peak > 17<<20 {
		t.Errorf("peak %d", peak)
	}
	if g.CPU() == 0 {
		t.Error("it used no processor time")
	}
}

func TestTheNumberOfProcessesIsBounded(t *testing.T) {
	_, cmd, out := in(t, open(t), Limits{Processes: 3}, "for i in 1 2 3 4 5 6; do sleep 60 >/dev/null 2>&1 & done; echo forked")
	all, _ := out.ReadString(0)
	if err := cmd.Wait(); err == nil {
		t.Errorf("six children under a limit of three processes: %q", all)
	}
}

func TestCloseKillsWhatIsInside(t *testing.T) {
	g, cmd, out := in(t, open(t), Limits{}, "setsid sleep 60 & setsid sleep 60 & echo up; wait")
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error)
	go func() { waited <- cmd.Wait() }()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err == nil {
		t.Error("it ended well")
	}
}

func TestOpenSweepsWhatAFormerServerLeft(t *testing.T) {
	tree := open(t)
	_, cmd, out := in(t, tree, Limits{}, "echo up; exec sleep 60")
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error)
	go func() { waited <- cmd.Wait() }()
	again := open(t)
	if err := <-waited; err == nil {
		t.Error("a process of the former server lived on")
	}
	for _, dir := range again.dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				t.Errorf("%s/%s was left", dir, e.Name())
			}
		}
	}
}

func TestOpenRemovesWhatKilledServersLeft(t *testing.T) {
	trees := map[string]*Tree{}
	for _, name := range []string{"alive", "killed", "survived"} {
		tree, err := Open(fmt.Sprintf("rouse-test-%d-%s", os.Getpid(), name))
		if err != nil {
			t.Skipf("cgroups are not to be had here: %v", err)
		}
		t.Cleanup(func() {
			if err := tree.Close(); err != nil {
				t.Error(err)
			}
		})
		trees[name] = tree
	}
	g, err := trees["killed"].Create("room")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Set(Limits{Memory: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	_, cmd, out := in(t, trees["survived"], Limits{}, "echo up; exec sleep 60")
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	trees["killed"].disown() // as the kernel does
	trees["survived"].disown()
	open(t)
	for name, tree := range trees {
		for _, dir := range tree.dirs {
			if _, err := os.Stat(dir); os.IsNotExist(err) != (name == "killed") {
				t.Errorf("%s: %s: %v", name, dir, err)
			}
		}
	}
	if err := trees["survived"].Close(); err != nil { // ends what is in it
		t.Error(err)
	}
}

func TestTheTreeWeighsAsMuchAsTheServer(t *testing.T) {
	tree := open(t)
	file, want := filepath.Join(tree.v2, "cpu.weight"), "100" // as the group that the server has of its own there
	if tree.v2 == "" {
		file, want = filepath.Join(tree.v1["cpu"], "cpu.shares"), strconv.Itoa(1024*runtime.NumCPU())
	}
	if got, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(got)) != want {
		t.Errorf("%s says %q, not %s: %v", file, got, want, err)
	}
}

// A host whose control groups are read-only must not be waited for, as a server
// that starts there looks at all of them twice.
func TestOnlyWhatEndsIsWaitedFor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now() // in here it is time that was slept
		if err := removeAll(file); err == nil {
			t.Error("a file is removed as a group")
		}
		if slept := time.Since(began); slept != 0 {
			t.Errorf("it was tried again for %v", slept)
		}
	})
}
