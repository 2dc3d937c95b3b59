package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
)

// A room is a process behind walls of its own, which waits to be told what to
// become, or has become it.
type room struct {
	id      int64
	user    int // to become; 0 is to stay what the stage is
	pid     int // on the host, of its first process
	pidfd   int
	walls   walls
	control *net.UnixConn // to the code of ours that waits inside; nil once it has become the function
	input   *os.File      // what we write comes in
	output  *os.File      // what it writes
	stdout  *tap
	stderr  *tap

	done   chan struct{}
	exit   rouse.Exit // read only after done
	closed sync.Once
	taps   sync.WaitGroup
}

// ends are the descriptors of a room that go inside.
type ends struct {
	control, input, output, stdout, stderr int
}

func (e *ends) list() []int { return []int{e.control, e.input, e.output, e.stdout, e.stderr} }

// close closes those that have not been given away.
func (e *ends) close() {
	for _, fd := range e.list() {
		if fd > 0 {
			_ = unix.Close(fd)
		}
	}
	*e = ends{}
}

// newRoom makes a room's pipes: our ends do not block, those inside do.
func newRoom(id int64, user int) (*room, *ends, error) {
	r := &room{id: id, user: user, pidfd: -1, done: make(chan struct{})}
	inside := &ends{}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	inside.control = pair[1]
	// The kernel tells us the host's number of whoever writes.
	if err := unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return nil, nil, err
	}
	for _, fd := range pair {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20); err != nil {
			return nil, nil, err
		}
	}
	if r.control, err = packetConn(pair[0]); err != nil {
		return nil, nil, err
	}
	var out, errs *os.File
	for _, p := range []struct {
		host   **os.File
		inside *int
		writes bool // the host does
	}{{&r.input, &inside.input, true}, {&r.output, &inside.output, false}, {&out, &inside.stdout, false}, {&errs, &inside.stderr, false}} {
		if *p.host, *p.inside, err = pipe(p.writes); err != nil {
			return nil, nil, err
		}
	}
	r.stdout, r.stderr = newTap(out, rouse.Stdout), newTap(errs, rouse.Stderr)
	r.taps.Go(r.stdout.run)
	r.taps.Go(r.stderr.run)
	return r, inside, nil
}

func packetConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "control")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

func pipe(hostWrites bool) (*os.File, int, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, -1, err
	}
	host, inside := p[0], p[1]
	if hostWrites {
		host, inside = p[1], p[0]
	}
	if err := unix.SetNonblock(host, true); err != nil {
		return nil, -1, err
	}
	return os.NewFile(uintptr(host), "pipe"), inside, nil
}

// hello waits until the code inside is in its namespaces, and learns its pid.
func (r *room) hello(timeout time.Duration) error {
	_ = r.control.SetReadDeadline(time.Now().Add(timeout))
	buf, oob := make([]byte, 64), make([]byte, 128)
	n, on, _, _, err := r.control.ReadMsgUnix(buf, oob)
	if err != nil {
		return fmt.Errorf("wait for a sandbox to be ready: %w%s", err, r.said())
	}
	if n == 0 {
		return fmt.Errorf("a sandbox ended before it was ready%s", r.said())
	}
	messages, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil {
		return err
	}
	for _, m := range messages {
		if c, err := unix.ParseUnixCredentials(&m); err == nil {
			r.pid = int(c.Pid)
		}
	}
	if r.pid <= 0 {
		return errors.New("the kernel did not tell a sandbox's pid")
	}
	if r.pidfd < 0 {
		r.pidfd, err = unix.PidfdOpen(r.pid, 0)
	}
	return err
}

// said returns what the room printed before it failed, for an error message.
func (r *room) said() string {
	if s := r.stderr.recent(); s != "" {
		return ": " + s
	}
	return ""
}

// start tells the code inside what to become. The mounts are closed.
func (r *room) start(message any, mounts []int) error {
	defer func() {
		for _, fd := range mounts {
			_ = unix.Close(fd)
		}
	}()
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, _, err = r.control.WriteMsgUnix(b, unix.UnixRights(mounts...), nil)
	return err
}

// ended is told once by whoever reaps the room's process.
func (r *room) ended(status unix.WaitStatus) {
	switch {
	case status.Signaled():
		r.exit.Signal = unix.SignalName(status.Signal())
	default:
		r.exit.Code = status.ExitStatus()
	}
	r.exit.OutOfMemory = r.walls.clear(r)
	close(r.done)
}

// close kills all that runs in the room and gives back what it holds.
func (r *room) close() {
	r.closed.Do(func() {
		r.walls.kill(r)
		_ = r.control.Close() // one that waits for a start ends
		_ = r.input.Close()
		_ = r.output.Close()
		<-r.done
		r.taps.Wait()
		if r.pidfd >= 0 {
			_ = unix.Close(r.pidfd)
		}
		r.walls.free()
	})
}

// netns opens the room's network namespace.
func (r *room) netns() (int, error) {
	return unix.Open(fmt.Sprintf("/proc/%d/ns/net", r.pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}
