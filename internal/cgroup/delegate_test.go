package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be other programs as well: the first process
// of a machine, and a server that opens a Tree in a group made for it.
func TestMain(m *testing.M) {
	switch {
	case os.Getpid() == 1 && os.Getenv("CGROUP_MACHINE") != "":
		powerOn(os.Getenv("CGROUP_MACHINE"))
	case os.Getenv("CGROUP_SERVER") != "":
		serve(os.Getenv("CGROUP_SERVER"))
		return
	}
	os.Exit(m.Run())
}

// flags are those that a container of the name mounts its cgroups with.
var flags = map[string]uintptr{"container": 0, "read-only container": unix.MS_RDONLY}

// serve says what comes of opening a Tree, twice as a server does that looks
// what works first, and where this process is thereafter.
func serve(how string) {
	if how != "service" {
		// A mount shows the namespace that it was made in.
		err := unix.Unmount("/sys/fs/cgroup", unix.MNT_DETACH)
		if err == nil {
			err = unix.Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", flags[how], "")
		}
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	for range 2 {
		tree, err := Open("tree")
		if err != nil {
			fmt.Println(err)
			break
		}
		g, err := tree.Create("group")
		if err == nil {
			err = g.Set(Limits{Memory: 64 << 20, Processes: 10, Weight: 50})
		}
		fmt.Println("opened", tree.v2, err, tree.Close())
	}
	own, err := memberships()
	fmt.Println("now in", own[""], err)
}

func openV2(t *testing.T) *Tree {
	t.Helper()
	tree := open(t)
	if tree.Version() != "v2" {
		t.Skip("the controllers of this host are v1")
	}
	return tree
}

// server runs serve in a new group, with another process beside it where it
// is crowded, and returns what it said and the group's folder.
func server(t *testing.T, tree *Tree, how string, crowded bool) (said, dir string) {
	t.Helper()
	g, err := tree.Create("host")
	if err != nil {
		t.Fatal(err)
	}
	if crowded {
		other := exec.Command("sleep", "60")
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = other.Process.Kill()
			_ = other.Wait()
		})
		if err := g.Add(other.Process.Pid); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "CGROUP_SERVER="+how)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
	if how != "service" {
		cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out), g.dir("memory")
}

func TestAServerAloneInItsGroupMovesToALeaf(t *testing.T) {
	said, dir := server(t, openV2(t), "service", false)
	opened := fmt.Sprintf("opened %s/tree <nil> <nil>\n", dir)
	if !strings.HasPrefix(said, opened+opened) || !strings.Contains(said, "/host/"+leaf+" <nil>") {
		t.Error(said)
	}
}

func TestAGroupWithOthersInItIsRefused(t *testing.T) {
	said, dir := server(t, openV2(t), "service", true)
	for _, want := range []string{"Delegate=yes", "(sleep)", dir, "/host <nil>"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q: %s", want, said)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, leaf)); err == nil {
		t.Error("a leaf was left")
	}
	if n := len(processes(dir)); n != 1 {
		t.Errorf("%d processes are in the group, not the one other", n)
	}
}

func TestAContainerIsDividedWithAllThatIsInIt(t *testing.T) {
	said, dir := server(t, openV2(t), "container", true)
	opened := "opened /sys/fs/cgroup/tree <nil> <nil>\n"
	if said != opened+opened+"now in /"+leaf+" <nil>\n" {
		t.Error(said)
	}
	if n := len(processes(filepath.Join(dir, leaf))); n != 1 {
		t.Errorf("%d processes are in the leaf, not the one other", n)
	}
}

func TestAContainerWithoutRightsIsRefused(t *testing.T) {
	said, _ := server(t, openV2(t), "read-only container", false)
	if !strings.Contains(said, "--privileged") || !strings.HasSuffix(said, "now in / <nil>\n") {
		t.Error(said)
	}
}

func TestAGroupWithoutControllersIsRefused(t *testing.T) {
	g, err := openV2(t).Create("host")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(g.dir("memory"), "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	err = delegate(filepath.Join(g.dir("memory"), "below"), false)
	if err == nil || !strings.Contains(err.Error(), "was not given memory,pids,cpu") || !strings.Contains(err.Error(), "Delegate=yes") {
		t.Error(err)
	}
}

func TestAHogTakesItsGroupAlong(t *testing.T) {
	g, cmd, out := in(t, openV2(t), Limits{Memory: 32 << 20}, "sleep 60 & python3 -c 'x = bytearray(64 << 20)'; echo lived on")
	all, _ := out.ReadString(0) // until the last of them has ended
	if err := cmd.Wait(); err == nil || all != "" {
		t.Errorf("%v: %s", err, all)
	}
	if g.OOM() < 3 {
		t.Errorf("%d were killed, not all three", g.OOM())
	}
}

func TestAProcessStartsInside(t *testing.T) {
	g, err := openV2(t).Create("group")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cat", "/proc/self/cgroup")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: g.FD()}
	out, err := cmd.Output()
	if err != nil || !strings.HasSuffix(string(out), "/group\n") {
		t.Errorf("%v: %s", err, out)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(g.dir("memory")); err == nil || g.FD() != -1 {
		t.Error("the group is still there")
	}
}

func TestALimitTooSmallForWhatIsHeld(t *testing.T) {
	g, cmd, out := in(t, openV2(t), Limits{}, `exec python3 -c "
x = bytearray(32 << 20)
print('up', flush=True)
input()"`)
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error)
	go func() { waited <- cmd.Wait() }()
	if err := g.Set(Limits{Memory: 8 << 20}); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err == nil || g.OOM() == 0 {
		t.Errorf("it holds more than it may: %v", err)
	}
}

func TestFolder(t *testing.T) {
	mounts := []mount{{"/", "/all"}, {"/docker/1", "/sys/fs/cgroup"}, {"/..", "/outer"}}
	for _, c := range []struct {
		mounts      []mount
		group, want string
	}{
		{mounts, "/docker/1", "/sys/fs/cgroup"},
		{mounts, "/docker/1/a", "/sys/fs/cgroup/a"},
		{mounts, "/docker/12", "/all/docker/12"},
		{mounts, "/", "/all"},
		{mounts[1:], "/docker", ""},
		{mounts[2:], "/", ""},
	} {
		got, err := folder(c.mounts, c.group)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s in %v: %q, %v", c.group, c.mounts, got, err)
		}
	}
}
