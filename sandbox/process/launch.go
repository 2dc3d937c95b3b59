package process

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse/internal/cgroup"
	"github.com/rouse-run/rouse/sandbox/process/stage"
)

// A spawner starts processes from one thread that never ends: the kernel kills
// a child with Pdeathsig when the thread that made it ends, not the process
// (golang/go#27505).
type spawner struct {
	jobs chan func()
}

func newSpawner(ctx context.Context) *spawner {
	s := &spawner{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked
		for {
			select {
			case job := <-s.jobs:
				job()
			case <-ctx.Done():
				runtime.UnlockOSThread() // a thread that ends would take the children of others along
				return
			}
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	err := make(chan error, 1)
	s.jobs <- func() { err <- cmd.Start() }
	return <-err
}

// A launch says how to start a stage.
type launch struct {
	plan   stage.Plan
	mounts []int // of plan.Mounts, closed by launch
	ends   *ends // given away; only control where the program has no other
	cgroup int   // to be started in; -1 where the host has only v1
	stderr *os.File
}

// launch starts a stage behind the tier's walls and sends it its plan.
func (d *Driver) launch(l launch, control interface{ Write([]byte) (int, error) }) (*exec.Cmd, error) {
	var files []*os.File
	file := func(fd int) *os.File {
		if fd <= 0 {
			return nil
		}
		f := os.NewFile(uintptr(fd), "inherited")
		files = append(files, f)
		return f
	}
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
		*l.ends = ends{}
	}()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{stage.Name}
	cmd.Env = []string{"GOMAXPROCS=1", "GOGC=off"}
	cmd.ExtraFiles = []*os.File{file(l.ends.control), file(l.ends.input), file(l.ends.output)}
	for _, fd := range l.mounts {
		cmd.ExtraFiles = append(cmd.ExtraFiles, file(fd))
	}
	if l.ends.stdout > 0 {
		cmd.Stdout, cmd.Stderr = file(l.ends.stdout), file(l.ends.stderr)
	} else {
		cmd.Stderr = l.stderr
	}
	cmd.SysProcAttr = d.tier.attributes()
	if l.cgroup >= 0 {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, l.cgroup
	}
	if err := d.spawner.start(cmd); err != nil {
		return nil, fmt.Errorf("start a sandbox: %w", err)
	}
	b, err := json.Marshal(l.plan)
	if err == nil {
		_, err = control.Write(b)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("start a sandbox: %w", err)
	}
	return cmd, nil
}

func closeGroup(g *cgroup.Group) error {
	if g == nil {
		return nil
	}
	return g.Close()
}

func groupFD(g *cgroup.Group) int {
	if g == nil {
		return -1
	}
	return g.FD()
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
