package process_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/native"
	"github.com/rouse-run/rouse/sandbox/process"
)

// victim is a server of the landlock tier whose function has hidden processes:
// it says where and waits for its end.
func victim() int {
	d, err := open(os.Getenv("TMPDIR"), process.Landlock)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var c native.Contract
	ctx := context.Background()
	f := function(rouse.Function{Runtime: "python3", Handler: "main.main"})
	s, err := d.Open(ctx, rouse.Spec{Function: f, Code: os.Getenv("HOME"), Program: c.Program(f), Log: func(rouse.Line) {}})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	i, err := c.Boot(ctx, f, s, func(rouse.Line) {})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	data, _ := json.Marshal(hide)
	a, err := i.Answer(ctx, rouse.Invocation{ID: "id", Event: rouse.Event{Data: data}})
	fmt.Printf("%s\n", a.Result)
	if err != nil {
		return 1
	}
	select {}
}

// What a server that was killed left is gone once the next one has started.
func TestAKilledServerLeavesNothing(t *testing.T) {
	dir, err := os.MkdirTemp("", "rouse-victim-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil { // for the functions' users
		t.Fatal(err)
	}
	start := func() (*exec.Cmd, []any) {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{"PATH=/usr/bin:/bin", insideVariable + "=victim", "HOME=" + code(t, python), "TMPDIR=" + dir, "GORACE=" + quick}
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(out).ReadBytes('\n')
		var left []any
		if err := json.Unmarshal(line, &left); err != nil || len(left) != 4 {
			_ = cmd.Process.Kill()
			t.Fatalf("%q", line)
		}
		return cmd, left
	}
	kill := func(cmd *exec.Cmd) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	first, left := start()
	kill(first)
	second, now := start()
	defer func() {
		kill(second)
		for _, pid := range now[1:] { // there is no third server
			_ = unix.Kill(int(pid.(float64)), unix.SIGKILL)
		}
	}()
	for _, pid := range left[1:] {
		if err := unix.Kill(int(pid.(float64)), 0); err == nil && !zombie(t, int(pid.(float64))) {
			t.Errorf("process %v lives on", pid)
		}
	}
	if left[0] != now[0] { // the same name, and so the same folder
		t.Errorf("folders %v and %v", left[0], now[0])
	}
	if found := entries(t, filepath.Dir(now[0].(string))); len(found) != 1 {
		t.Errorf("rooms %v", found)
	}
}

// zombie says whether a process has ended and only waits for init to see it.
func zombie(t *testing.T, pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	var n int
	var name, state string
	if _, err := fmt.Sscan(string(b), &n, &name, &state); err != nil {
		t.Fatal(err)
	}
	return state == "Z"
}

// Memory is that of all processes, and pages that forks share count once.
func TestMemoryIsThatOfAllProcesses(t *testing.T) {
	d := drivers[process.Landlock]
	ends(t, d, rouse.Limits{}, "if os.fork() == 0:\n  x = []\n  try:\n    while True: x.append(bytearray(1 << 20))\n  except MemoryError: pass\ntime.sleep(1000)",
		rouse.StatusOutOfMemory, "more memory than its limit")
	h := evil(t, d, rouse.Limits{})
	// Each of four holds 60 MB, all of it shared: more than the limit, were it not.
	h.expect(t, `
x = bytearray(b'x') * (60 << 20)
come, go = os.pipe()
for _ in range(4):
    if os.fork() == 0:
        time.sleep(1.2) # longer than the watch takes to look at all
        os._exit(os.write(go, b'x') - 1)
r = sum(len(os.read(come, 1)) for _ in range(4))
`, "4")
	if u := h.sandbox.Usage(); u.Memory < 60<<20 || u.Memory > 128<<20 || u.Peak < u.Memory || u.CPU == 0 {
		t.Errorf("%+v", u)
	}
}
