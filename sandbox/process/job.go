package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/sandbox/process/stage"
)

// Bounds of a job.
const (
	jobMemory = 4 << 30
	jobTmp    = 2 << 30
	jobDisk   = 8 << 30 // where Config.MaxDeps says nothing
)

// A job is a program of the host that works on foreign files, in a sandbox of
// its own, when something is deployed.
type job struct {
	what    string // for errors
	binds   []bind
	code    string // host folder that it reads as /fn
	out     string // host folder that it fills as /out
	args    []string
	env     []string
	limit   time.Duration
	network bool
}

// work runs a job to its end. It returns what was said, and how the job failed,
// where it did.
func (d *Driver) work(ctx context.Context, j job, progress func(string)) (*transcript, *rouse.Failure, error) {
	r, err := d.newProgramRoom(append(j.binds, bind{from: j.out, to: "/out", writable: true})...)
	if err != nil {
		return nil, nil, err
	}
	defer r.close()
	if err := os.Chown(j.out, firstUser+r.user, firstUser+r.user); err != nil {
		return nil, nil, err
	}
	if err := r.walls.limit(r, rouse.Limits{Memory: jobMemory, Processes: 1024}); err != nil {
		return nil, nil, err
	}
	if j.network {
		var n *network
		err := r.inside(func() (err error) {
			n, err = newNetwork(d.log)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		defer n.close()
		n.serve()
	}
	said := &transcript{progress: progress}
	r.stdout.listen(said.line)
	r.stderr.listen(said.line)
	fd, err := detach(j.code, readOnly)
	if err != nil {
		return nil, nil, err
	}
	if err := r.start(stage.Start{Args: j.args, Env: j.env, Dir: "/out", Tmp: jobTmp, Mounts: []string{"/fn"}, Filter: jobFilter()}, []int{fd}); err != nil {
		return nil, nil, err
	}
	most, disk := d.room(j.out)
	if err := j.wait(ctx, r, most, disk); err != nil {
		return nil, nil, rouse.Errorf(rouse.Invalid, j.what, "", "%w; last it said: %s", err, said.tail())
	}
	r.stdout.drain()
	r.stderr.drain()
	if r.exit != (rouse.Exit{}) {
		_, failure := r.exit.Failure()
		return said, failure, nil
	}
	return said, nil, nil
}

// room is how many bytes a job may leave in the folder out, and what the disk was
// like before.
func (d *Driver) room(out string) (most int64, disk unix.Statfs_t) {
	most = d.MaxDeps
	if most == 0 {
		most = jobDisk
	}
	if err := unix.Statfs(out, &disk); err == nil {
		most = min(most, int64(disk.Bavail)*disk.Bsize/2)
	}
	return most, disk
}

// filling reports whether three quarters of the room that a disk had are gone,
// whoever took them: a file without a name is in no folder.
func (j job) filling(before unix.Statfs_t) bool {
	var now unix.Statfs_t
	if err := unix.Statfs(j.out, &now); err != nil {
		return false
	}
	return now.Bavail < before.Bavail/4 || now.Ffree < before.Ffree/4
}

// wait waits for the end of a job that may leave so many bytes.
func (j job) wait(ctx context.Context, r *room, most int64, disk unix.Statfs_t) error {
	ctx, cancel := context.WithTimeout(ctx, j.limit)
	defer cancel()
	const often = 200 * time.Millisecond
	look := time.NewTimer(often)
	defer look.Stop()
	for {
		ended := false
		select {
		case <-r.done:
			ended = true
		case <-ctx.Done():
			if ctx.Err() == context.DeadlineExceeded {
				return fmt.Errorf("not done within %v", j.limit)
			}
			return errors.New("nobody waits for it any more")
		case <-look.C:
		}
		began := time.Now()
		if n := used(j.out); n > most {
			return fmt.Errorf("it takes more than %d MB of disk", most>>20)
		}
		if j.filling(disk) {
			return errors.New("the disk is filling up")
		}
		if ended {
			return nil
		}
		look.Reset(max(often, 10*time.Since(began)))
	}
}

// used is how many bytes of disk a folder takes that may be written to.
func used(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it has just gone
		}
		if info, err := e.Info(); err == nil {
			if s, ok := info.Sys().(*syscall.Stat_t); ok {
				n += max(s.Blocks*512, 4096) // an empty file takes a place as well
			}
		}
		return nil
	})
	return n
}
