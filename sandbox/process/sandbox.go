package process

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/frame"
	"github.com/rouse-run/rouse/sandbox/process/stage"
)

// A sandbox is a room that has become a function. It implements rouse.Sandbox.
type sandbox struct {
	*room
	driver *Driver
	mode   rouse.Mode

	mu      sync.Mutex
	begin   func(env map[string]string) error // guarded by mu; ModeOnce: starts the program, once
	waiting []int                             // guarded by mu; descriptors that begin will send
	access  *access                           // guarded by mu; nil where the function may not use the platform
	closed  bool                              // guarded by mu

	net  *network // nil where the function has none of its own
	once sync.Once
}

// start is a worker's first message.
type start struct {
	User        int               `json:"user"`
	Mounts      []string          `json:"mounts"`
	Tmp         int64             `json:"tmp"`
	Env         map[string]string `json:"env"`
	Mode        string            `json:"mode"`
	Handler     string            `json:"handler"`
	Shim        string            `json:"shim"`
	Concurrency int               `json:"concurrency"`
	Answer      int64             `json:"answer"`
	Name        string            `json:"name"`
	Namespace   rouse.Namespace   `json:"namespace"`
	Version     int               `json:"version"`
	Memory      int64             `json:"memory"`
	Code        string            `json:"code"`   // folder of the bundle
	Deps        string            `json:"deps"`   // folder of dependencies that are not loaded yet
	Filter      string            `json:"filter"` // seccomp program in hex, where not the usual one
}

// Open implements rouse.Driver.
func (d *Driver) Open(ctx context.Context, spec rouse.Spec) (rouse.Sandbox, error) {
	k, rt, err := d.kindOf(spec)
	if err != nil {
		return nil, err
	}
	n, err := d.nursery(k, rt, spec)
	if err != nil {
		return nil, err
	}
	r, err := n.take()
	if err != nil {
		return nil, &rouse.Error{Op: "open sandbox", On: spec.Function.Ref.String(), Err: err}
	}
	s := &sandbox{room: r, driver: d, mode: spec.Program.Mode}
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		r.close()
		return nil, rouse.Errorf(rouse.Unavailable, "open sandbox", spec.Function.Ref.String(), "the server is stopping")
	}
	d.open[s] = struct{}{}
	d.mu.Unlock()
	if err := s.specialise(k, rt, spec); err != nil {
		_ = s.Close()
		return nil, &rouse.Error{Op: "open sandbox", On: spec.Function.Ref.String(), Err: err}
	}
	return s, nil
}

// specialise makes the room the function's.
func (s *sandbox) specialise(k kind, rt rouse.Runtime, spec rouse.Spec) error {
	f := spec.Function
	s.stdout.listen(spec.Log)
	s.stderr.listen(spec.Log)
	if err := s.walls.limit(s.room, f.Limits); err != nil {
		return err
	}
	p, err := s.driver.tier.place(s, k, rt, spec)
	if err != nil {
		return err
	}
	env := environment(spec, p)
	s.driver.introduce(env, spec.Access)
	if k.how == "program" {
		return s.later(env, p, func() error { return s.room.start(program(rt, spec, env, p), p.fds) })
	}
	m := start{User: s.user, Mounts: p.mounts, Tmp: f.Limits.Tmp, Env: env, Handler: f.Handler, Shim: spec.Program.Shim,
		Mode:        [...]string{"worker", "serve", "once"}[spec.Program.Mode],
		Concurrency: f.Limits.Concurrency, Answer: f.Limits.Answer, Name: f.Name, Namespace: f.Namespace,
		Version: f.Version, Memory: f.Limits.Memory, Code: p.code, Filter: hex.EncodeToString(p.filter)}
	if k.deps == "" {
		m.Deps = p.deps
	}
	switch {
	case k.how == "python":
		return s.later(env, p, func() error { return s.room.start(m, p.fds) })
	case k.how == "worker":
		if err := s.room.start(worker(rt, s.driver.own, f, p), p.fds); err != nil {
			return err
		}
		if rt.Family == "node" {
			if err := s.answered(); err != nil {
				return err
			}
		}
	}
	return frame.WriteJSON(s.input, frame.Start, 0, m)
}

// later starts the code: at once, or where it is a program for one event when
// that has come, with what its environment says of it.
func (s *sandbox) later(env map[string]string, p place, start func() error) error {
	if s.mode != rouse.ModeOnce {
		return start()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin = func(more map[string]string) error {
		for k, v := range more {
			if _, own := env[k]; !own { // an event must not change what the function was given
				env[k] = v
			}
		}
		return start()
	}
	s.waiting = p.fds
	return nil
}

// environment is what the function's code finds in its environment.
func environment(spec rouse.Spec, p place) map[string]string {
	f := spec.Function
	env := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": p.tmp, "TMPDIR": p.tmp, "LANG": "C.UTF-8", "USER": "function",
		"ROUSE_FUNCTION": f.Name, "ROUSE_NAMESPACE": string(f.Namespace), "ROUSE_VERSION": strconv.Itoa(f.Version),
		"ROUSE_MEMORY": strconv.FormatInt(f.Limits.Memory>>20, 10)}
	if spec.Program.Mode == rouse.ModeServe {
		env["PORT"] = strconv.Itoa(p.port)
	}
	if p.deps != "" {
		env["PYTHONPATH"] = p.deps
		env["PATH"] = p.deps + "/bin:" + p.deps + "/node_modules/.bin:" + env["PATH"]
	}
	maps.Copy(env, f.Env)
	if own := f.Env["PYTHONPATH"]; own != "" && p.deps != "" {
		env["PYTHONPATH"] = own + ":" + p.deps
	}
	return env
}

// program is the start of code that runs as a program of its own.
func program(rt rouse.Runtime, spec rouse.Spec, env map[string]string, p place) stage.Start {
	file := path.Join(p.code, spec.Function.Handler)
	start := stage.Start{Args: []string{file}, Dir: p.code, Tmp: spec.Function.Limits.Tmp, Mounts: p.mounts, Data: p.data, Filter: p.filter,
		Stdin: spec.Program.Mode == rouse.ModeOnce}
	if rt.Path != "" {
		start.Args = []string{rt.Path, file}
	}
	for _, k := range slices.Sorted(maps.Keys(env)) {
		start.Env = append(start.Env, k+"="+env[k])
	}
	return start
}

// worker is the start of a worker that no warm one stands for. It empties its
// environment when it becomes the function.
func worker(rt rouse.Runtime, own string, f rouse.Function, p place) stage.Start {
	start := stage.Start{Dir: p.code, Tmp: f.Limits.Tmp, Mounts: p.mounts, Data: p.data, Filter: p.filter,
		Env: []string{"PATH=/usr/bin:/bin", "HOME=" + p.tmp, "LANG=C.UTF-8", "PYTHONIOENCODING=utf-8"}}
	if rt.Family == "node" {
		start.Args = []string{rt.Path, "--no-warnings", own + "/worker.cjs"}
	} else {
		start.Args = []string{rt.Path, "-S", "-B", "-u", own + "/worker.py"}
	}
	return start
}

// duplex makes the two pipes of a worker one connection.
type duplex struct {
	io.Reader
	io.Writer
	in, out *os.File
}

func (d duplex) Close() error { return errors.Join(d.in.Close(), d.out.Close()) }

// SetReadDeadline bounds reading, as net.Conn's does.
func (d duplex) SetReadDeadline(t time.Time) error { return d.out.SetReadDeadline(t) }

// Unread returns how many bytes of those written nobody has read, also once the
// worker is gone.
func (d duplex) Unread() (n int) {
	conn, err := d.in.SyscallConn()
	if err != nil {
		return 0
	}
	_ = conn.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	if err != nil {
		return 0
	}
	return n
}

// Conn implements rouse.Sandbox.
func (s *sandbox) Conn() io.ReadWriteCloser {
	if s.mode != rouse.ModeWorker {
		return nil
	}
	return duplex{s.output, s.input, s.input, s.output}
}

// Run implements rouse.Sandbox.
func (s *sandbox) Run(ctx context.Context, in rouse.Input, out io.Writer) (int, error) {
	s.mu.Lock()
	begin := s.begin
	s.begin, s.waiting = nil, nil
	s.mu.Unlock()
	if begin == nil {
		return 0, errors.New("run in sandbox: it is closed, is not for programs, or has run one")
	}
	var env map[string]string
	if in.Env != nil {
		env = in.Env()
	}
	if err := begin(env); err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { s.kill() })
	defer stop()
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		_, _ = io.Copy(s.input, in.Body) // a program need not read all
		_ = s.input.Close()
	}()
	_, err := io.Copy(out, s.output)
	if err != nil { // out takes no more
		s.kill()
	}
	<-s.done
	_ = s.input.Close()
	<-fed
	s.Drain()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return s.exit.Code, err
}

func (s *sandbox) kill() { s.walls.kill(s.room) }

// Dial implements rouse.Sandbox.
func (s *sandbox) Dial(ctx context.Context, port int) (net.Conn, error) {
	return s.walls.dial(ctx, s.room, port)
}

// inside runs f on a thread that is in the room's network namespace. A socket
// stays where it was made.
func (r *room) inside(f func() error) error {
	ns, err := r.netns()
	if err != nil {
		return fmt.Errorf("enter a network namespace: %w", err)
	}
	defer unix.Close(ns)
	return onThread(func() error {
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return f()
	})
}

// onThread runs f on a thread of its own, which ends with it: one that has
// entered another namespace must not serve others.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		done <- f()
	}()
	return <-done
}

// Drain implements rouse.Sandbox.
func (s *sandbox) Drain() { drain(s.stdout, s.stderr) }

// Done implements rouse.Sandbox.
func (s *sandbox) Done() <-chan struct{} { return s.done }

// Exit implements rouse.Sandbox.
func (s *sandbox) Exit() rouse.Exit {
	<-s.done
	return s.exit
}

// Usage implements rouse.Sandbox.
func (s *sandbox) Usage() rouse.Usage { return s.walls.usage(s.room) }

// Close implements rouse.Sandbox.
func (s *sandbox) Close() error {
	s.once.Do(func() {
		s.driver.mu.Lock()
		delete(s.driver.open, s)
		s.driver.mu.Unlock()
		if s.net != nil {
			s.net.close()
		}
		s.mu.Lock()
		waiting, access := s.waiting, s.access
		s.begin, s.waiting, s.closed = nil, nil, true
		s.mu.Unlock()
		if access != nil {
			access.close()
		}
		for _, fd := range waiting {
			_ = unix.Close(fd)
		}
		s.room.close()
	})
	return nil
}
