package main

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"github.com/rouse-run/rouse/internal/cgroup"
)

// scoped says, in the environment, that enterScope has been here.
const scoped = "ROUSE_SCOPE"

// enterScope starts this program again in a systemd scope of its own where it
// is in a control group that it may not divide: that of a login session, which
// holds the shell as well. It returns only where there is nothing to do or
// nothing that can be done; the doctor then tells what is missing.
func (a *app) enterScope() error {
	if os.Geteuid() != 0 || a.env(scoped) != "" || !exists("/run/systemd/system") || !exists("/sys/fs/cgroup/cgroup.controllers") {
		return nil
	}
	tree, err := cgroup.Open("rouse-scope")
	if err == nil {
		return tree.Close()
	}
	systemd, err := exec.LookPath("systemd-run")
	if errors.Is(err, exec.ErrNotFound) {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{systemd, "--scope", "--quiet", "-p", "Delegate=yes", "--", self}, os.Args[1:]...)
	return syscall.Exec(systemd, args, append(os.Environ(), scoped+"=1"))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
