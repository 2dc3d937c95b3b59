package process

import (
	"fmt"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
)

// newProgramRoom makes a room whose stage waits to be told which program of
// the host or the bundle to become.
func (d *Driver) newProgramRoom(more ...bind) (*room, error) {
	plan, mounts, err := d.tier.plan(append(more, bind{from: d.inside, to: d.own})...)
	if err != nil {
		return nil, err
	}
	r, inside, err := d.newRoom()
	if err != nil {
		return nil, err
	}
	plan.User, plan.Filter, plan.Parked, plan.Keep, plan.Loopback = r.user, d.filter, true, true, true
	if err := d.inhabit(r, launch{plan: plan, mounts: mounts, ends: inside}); err != nil {
		return nil, err
	}
	if err := r.hello(10e9); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// newNodeRoom makes a room in which a generic Node worker waits for its start.
// Node can't fork, and takes 25 ms to start: it is done ahead.
func (d *Driver) newNodeRoom(rt rouse.Runtime) (*room, error) {
	plan, mounts, err := d.tier.plan(append(prefix(rt), bind{from: d.inside, to: d.own})...)
	if err != nil {
		return nil, err
	}
	r, inside, err := d.newRoom()
	if err != nil {
		return nil, err
	}
	plan.User, plan.Filter, plan.Keep, plan.Loopback = r.user, d.filter, true, true
	plan.Args = []string{rt.Path, "--no-warnings", d.own + "/worker.cjs"}
	plan.Env = []string{"PATH=/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8"}
	if err := d.inhabit(r, launch{plan: plan, mounts: mounts, ends: inside}); err != nil {
		return nil, err
	}
	if err := r.answered(); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// inhabit starts a stage in r and sees to its end.
func (d *Driver) inhabit(r *room, l launch) error {
	l.cgroup = r.walls.cgroup()
	cmd, err := d.launch(l, r.control)
	if err != nil {
		close(r.done)
		r.close()
		return err
	}
	r.pid = cmd.Process.Pid
	if r.pidfd, err = unix.PidfdOpen(r.pid, 0); err == nil && l.cgroup < 0 {
		err = r.walls.enter(r)
	}
	d.waiting.Go(func() {
		_ = cmd.Wait()
		r.ended(unix.WaitStatus(cmd.ProcessState.Sys().(syscall.WaitStatus)))
	})
	if err != nil {
		r.close()
	}
	return err
}

// answered waits for the frame in which a Node worker says that it waits.
func (r *room) answered() error {
	var header [9]byte
	n, err := r.output.Read(header[:])
	if err != nil || n != len(header) {
		return fmt.Errorf("a worker ended before it was ready: %w%s", err, r.said())
	}
	return nil
}

// furnish mounts what a function brings into a room whose code has no power to
// do so itself: a thread of ours enters its mount namespace.
func (r *room) furnish(mounts []int, at []string, tmp int64) error {
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", r.pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	fd, err := detachedTmp(tmp)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	mounts, at = append(mounts, fd), append(at, "/tmp")
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return err
		}
		if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("enter the mount namespace: %w", err)
		}
		for i, m := range mounts {
			if err := unix.MoveMount(m, "", unix.AT_FDCWD, at[i], unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
				return fmt.Errorf("mount %s: %w", at[i], err)
			}
		}
		return nil
	})
}

// detachedTmp makes a tmpfs of size bytes that is nowhere yet.
func detachedTmp(size int64) (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	for _, o := range [][2]string{{"mode", "1777"}, {"size", fmt.Sprint(size)}, {"nr_inodes", fmt.Sprint(max(64, size>>12))}} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return -1, err
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
}

// home is the folder in which an interpreter is installed.
func home(path string) string { return filepath.Dir(filepath.Dir(path)) }
