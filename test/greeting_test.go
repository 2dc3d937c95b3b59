package test

import (
	"bufio"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// What "rouse up" says to try can be tried, wherever the program and its data are.
func TestTheGreetingCanBeFollowed(t *testing.T) {
	up := exec.Command(binary, "up", "--data", t.TempDir()+"/it's here", "--listen", "127.0.0.1:0")
	out, err := up.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = up.Process.Signal(syscall.SIGINT)
		_ = up.Wait()
	}()
	var commands []string
	try := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "Try,") {
			try = true
		} else if try && strings.HasPrefix(line, "  ") {
			commands = append(commands, line)
		}
		if strings.Contains(line, " init ") {
			break
		}
	}
	sh := exec.CommandContext(t.Context(), "sh", "-euc", strings.Join(commands, "\n"))
	sh.Dir = t.TempDir()
	said, err := sh.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "ada") {
		t.Errorf("%q: %v: %s", commands, err, said)
	}
}
