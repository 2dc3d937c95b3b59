package wasm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"github.com/rouse-run/rouse"
)

const (
	// codeTrap is the exit code of a module that trapped, as a shell tells of
	// SIGABRT, and codeKilled of one that was ended, as of SIGKILL.
	codeTrap   = 134
	codeKilled = 137
)

// A sandbox implements rouse.Sandbox.
type sandbox struct {
	d       *Driver
	m       *module
	command bool
	call    string // the function to call
	memory  memory
	config  wazero.ModuleConfig
	env     map[string]string // the function\'s own
	print   *printer
	stdout  io.Writer // of print: what nobody asked for

	alive context.Context // ends with Close
	end   context.CancelFunc
	turn  chan struct{} // holds one token: whoever has it may run the reactor
	runs  sync.WaitGroup

	// Of a reactor; touched only by who has the turn.
	instance api.Module
	function api.Function
	io       stdio

	mu     sync.Mutex
	closed bool // guarded by mu: no run begins
	exit   rouse.Exit
	over   bool // guarded by mu: exit is set
	done   chan struct{}
}

// stdio are the streams of an instance, which change with each event.
type stdio struct {
	in  io.Reader
	out io.Writer
	run atomic.Pointer[runContext] // which is woken from sleep, and ended when out takes no more
	err error                      // why it does not
}

// Read implements io.Reader.
func (s *stdio) Read(b []byte) (int, error) {
	if s.in == nil {
		return 0, io.EOF
	}
	return s.in.Read(b)
}

// Write implements io.Writer.
func (s *stdio) Write(b []byte) (int, error) {
	n, err := s.out.Write(b)
	if err != nil {
		if r := s.run.Load(); r != nil {
			s.err = err
			r.end()
		}
	}
	return n, err
}

// because returns why out took no more, or else err.
func (s *stdio) because(err error) error {
	if s.err != nil {
		return s.err
	}
	return err
}

func (s *stdio) sleep(ns int64) {
	r := s.run.Load()
	if r == nil {
		return
	}
	t := time.NewTimer(time.Duration(ns))
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Done():
	}
}

func newSandbox(d *Driver, s rouse.Spec, m *module) (*sandbox, error) {
	_, function := entry(s.Function.Handler)
	command, call, err := m.kind(function)
	if err != nil {
		return nil, err
	}
	b := &sandbox{d: d, m: m, command: command, call: call, turn: make(chan struct{}, 1), done: make(chan struct{})}
	b.memory.limit = s.Function.Limits.Memory
	if b.memory.limit <= 0 || b.memory.limit > 4<<30 {
		b.memory.limit = 4 << 30 // all that an address of 32 bits reaches
	}
	if m.memory > b.memory.limit {
		return nil, bootError(rouse.StatusOutOfMemory, "OutOfMemory",
			"%s begins with %d MB of memory, more than the function's limit; deploy it with a larger --memory", m.key.file, m.memory>>20)
	}
	log := s.Log
	if log == nil {
		log = func(rouse.Line) {}
	}
	b.print = &printer{function: s.Function.Ref, log: log}
	b.stdout = b.print.stream(rouse.Stdout)
	b.config = wazero.NewModuleConfig().WithName("").WithStartFunctions().
		WithArgs(m.key.file).
		WithStderr(b.print.stream(rouse.Stderr)).
		WithSysWalltime().WithSysNanotime().WithOsyield(runtime.Gosched).
		WithRandSource(rand.Reader).
		WithFSConfig(wazero.NewFSConfig().WithFSMount(&folder{dir: s.Code}, "/fn"))
	b.env = s.Function.Env
	for _, k := range slices.Sorted(maps.Keys(b.env)) {
		b.config = b.config.WithEnv(k, b.env[k])
	}
	b.alive, b.end = context.WithCancel(context.Background())
	b.turn <- struct{}{}
	return b, nil
}

// boot makes a reactor ready.
func (b *sandbox) boot(ctx context.Context) error {
	run, err := b.begin(ctx)
	if err != nil {
		return err
	}
	defer b.finished(run)
	<-b.turn
	defer func() { b.turn <- struct{}{} }()
	b.io.out = b.stdout
	b.io.run.Store(run)
	b.instance, err = b.instantiate(run, &b.io, nil)
	if err == nil {
		if init := b.instance.ExportedFunction("_initialize"); init != nil {
			_, err = init.Call(run)
		}
	}
	b.print.drain()
	if err == nil {
		b.function = b.instance.ExportedFunction(b.call)
		return nil
	}
	if ctx.Err() != nil {
		return bootError(rouse.StatusTimedOut, "Timeout", "%s was not ready in time: its _initialize did not return", b.m.key.file)
	}
	code, _ := b.ended(run, err)
	status, failure := b.Exit().Failure()
	if status == rouse.StatusCrashed {
		failure.Message = fmt.Sprintf("%s ended while it was made ready, with code %d: %v", b.m.key.file, code, err)
	}
	return &rouse.BootError{Status: status, Failure: *failure}
}

func (b *sandbox) instantiate(ctx context.Context, s *stdio, env map[string]string) (api.Module, error) {
	ctx = experimental.WithMemoryAllocator(ctx, &b.memory)
	config := b.config
	for k, v := range env {
		if _, own := b.env[k]; !own { // an event must not change what the function was given
			config = config.WithEnv(k, v)
		}
	}
	return b.d.runtime.InstantiateModule(ctx, b.m.compiled,
		config.WithStdin(s).WithStdout(s).WithNanosleep(s.sleep))
}

// begin returns the context of one run, for which finished must be called.
func (b *sandbox) begin(ctx context.Context) (*runContext, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.over {
		return nil, errors.New("run in sandbox: it is closed")
	}
	b.runs.Add(1)
	return &runContext{Context: ctx, alive: b.alive}, nil
}

func (b *sandbox) finished(r *runContext) {
	r.end()
	b.runs.Done()
}

// Run implements rouse.Sandbox. Runs of a command may go side by side; those of
// a reactor wait for each other. When ctx ends first, a reactor is Done.
func (b *sandbox) Run(ctx context.Context, in rouse.Input, out io.Writer) (int, error) {
	run, err := b.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer b.finished(run)
	if b.command {
		return b.runCommand(run, in, out)
	}
	select {
	case <-b.turn:
	default:
		select {
		case <-b.turn:
		case <-run.Done():
			return 0, run.Err()
		}
	}
	defer func() { b.turn <- struct{}{} }()
	select {
	case <-b.done: // while it waited
		return 0, errors.New("run in sandbox: its code has ended")
	default:
	}
	b.io.in, b.io.out = in.Body, out
	b.io.run.Store(run)
	b.memory.denied.Store(false)
	_, err = b.function.Call(run)
	b.io.run.Store(nil)
	b.io.in, b.io.out = nil, b.stdout
	b.print.drain()
	if err != nil {
		code, err := b.ended(run, err)
		return code, b.io.because(err)
	}
	return 0, nil
}

func (b *sandbox) runCommand(run *runContext, in rouse.Input, out io.Writer) (int, error) {
	s := &stdio{in: in.Body, out: out}
	var env map[string]string
	if in.Env != nil {
		env = in.Env()
	}
	s.run.Store(run)
	b.memory.denied.Store(false)
	instance, err := b.instantiate(run, s, env)
	if err == nil {
		_, err = instance.ExportedFunction(b.call).Call(run)
		instance.Close(context.Background())
	}
	b.print.drain()
	if err == nil {
		return 0, nil
	}
	if exit, ok := errors.AsType[*sys.ExitError](err); ok && run.Err() == nil && (exit.ExitCode() == 0 || !b.memory.denied.Load()) {
		return int(exit.ExitCode()), nil // by itself: the next run begins afresh
	}
	code, err := b.ended(run, err)
	return code, s.because(err)
}

// ended makes of why a run ended its exit code, and the Sandbox Done where it
// can't run again.
func (b *sandbox) ended(run context.Context, err error) (int, error) {
	var e rouse.Exit
	exit, exited := errors.AsType[*sys.ExitError](err)
	switch {
	case run.Err() != nil:
		if b.command {
			return codeKilled, run.Err()
		}
		b.finish(rouse.Exit{Code: codeKilled})
		return codeKilled, run.Err()
	case b.memory.denied.Load() && (!exited || exit.ExitCode() != 0):
		e = rouse.Exit{Code: codeKilled, OutOfMemory: true}
	case exited:
		e = rouse.Exit{Code: int(exit.ExitCode())}
	default:
		e = rouse.Exit{Code: codeTrap, Signal: trap(err)}
	}
	if !exited {
		b.say(err)
	}
	b.finish(e)
	return e.Code, nil
}

// trap names a trap, where a process would have been ended by a signal.
func trap(err error) string {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return "a WebAssembly trap: " + strings.TrimSuffix(strings.TrimPrefix(first, "wasm error: "), " (recovered by wazero)")
}

// say logs a trap and the module's stack.
func (b *sandbox) say(err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(b.print.stream(rouse.Platform), strings.TrimRight(line, "\n"))
	}
	b.print.drain()
}

func (b *sandbox) finish(e rouse.Exit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.over, b.exit = true, e
		close(b.done)
	}
}

// Conn implements rouse.Sandbox: there is none.
func (b *sandbox) Conn() io.ReadWriteCloser { return nil }

// Dial implements rouse.Sandbox: a module can't listen.
func (b *sandbox) Dial(context.Context, int) (net.Conn, error) {
	return nil, errors.New("dial into sandbox: a wasm module has no network")
}

// Drain implements rouse.Sandbox.
func (b *sandbox) Drain() { b.print.drain() }

// Done implements rouse.Sandbox.
func (b *sandbox) Done() <-chan struct{} { return b.done }

// Exit implements rouse.Sandbox.
func (b *sandbox) Exit() rouse.Exit {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.exit
}

// Usage implements rouse.Sandbox. CPU is not measured: runs share threads.
func (b *sandbox) Usage() rouse.Usage {
	u := rouse.Usage{Memory: b.memory.held.Load(), Peak: b.memory.peak.Load()}
	if b.Exit().OutOfMemory {
		u.OOM = 1
	}
	return u
}

// Close implements rouse.Sandbox. It waits until what runs has been ended.
func (b *sandbox) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		b.runs.Wait()
		return nil
	}
	b.closed = true
	b.mu.Unlock()
	b.end()
	b.runs.Wait()
	// Memory that code still uses must not be freed: only now.
	if b.instance != nil {
		b.instance.Close(context.Background())
	}
	b.memory.free()
	b.finish(rouse.Exit{Code: codeKilled})
	b.d.forget(b)
	b.d.release(b.m)
	return nil
}
