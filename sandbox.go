package rouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// A Driver opens Sandboxes of one kind, such as processes or wasm modules. Its
// methods may be called concurrently.
type Driver interface {
	// Runtimes are those this host can boot, newest first within a Family.
	Runtimes() []Runtime

	// Prepare does ahead what Open would have to do for s and can be kept, such
	// as compiling a module or starting a zygote. It is safe to leave out.
	Prepare(ctx context.Context, s Spec) error

	// Open makes a Sandbox and starts s.Program in it. Where the code ended
	// before it was ready, the error is a *BootError.
	Open(ctx context.Context, s Spec) (Sandbox, error)

	// Close ends all Sandboxes and frees what the Driver holds.
	Close() error
}

// A Spec says what a Sandbox must hold.
type Spec struct {
	Function Function
	Code     string // host folder that holds the unpacked bundle; read-only inside
	Deps     string // host folder of its dependencies, read-only inside; "" is none
	Program  Program
	Log      func(Line) // called for each line the code prints, from one goroutine at a time
	Access   *Access    // nil where the Function may not use the platform
}

// An Access lets the code in one Sandbox use the platform.
type Access struct {
	// Token proves that it is this code that asks. The code, and nothing else,
	// is told it, as $ROUSE_TOKEN, and as $ROUSE_API the URL that it asks at. ""
	// is none: the code has to bring what it shows.
	Token string

	// Serve answers what connects there. It is called once and returns when l
	// is closed, which is when the Sandbox ends; so are the connections.
	Serve func(l net.Listener)
}

// A Program says how code in a Sandbox is to be run.
type Program struct {
	Mode Mode
	Shim string // ModeWorker: the contract whose adapter the worker loads
	Port int    // ModeServe: the TCP port the code is told, as $PORT, to listen on
}

// A Mode is a way to run code.
type Mode uint8

// The Modes. ModeWorker: the code is loaded once and answers frames on
// Sandbox.Conn. ModeServe: the code runs as a program and listens on a port.
// ModeOnce: the code runs as a program for each Sandbox.Run, from standard
// input to standard output.
const (
	ModeWorker Mode = iota
	ModeServe
	ModeOnce
)

// A Sandbox is a closed room in which one Function's code runs.
type Sandbox interface {
	// Conn carries frames to and from the worker; nil but for ModeWorker.
	Conn() io.ReadWriteCloser

	// Dial connects to a TCP port on the loopback inside.
	Dial(ctx context.Context, port int) (net.Conn, error)

	// Run gives the program its input and returns its exit code when it ended.
	// Only for ModeOnce. An error of out ends the program. A Sandbox that can't
	// run again is Done afterwards.
	Run(ctx context.Context, in Input, out io.Writer) (int, error)

	// Drain returns once all that the code has printed so far went to Spec.Log.
	Drain()

	// Done is closed when the code has ended; Exit then says how.
	Done() <-chan struct{}
	Exit() Exit

	// Usage may be asked at any time.
	Usage() Usage

	// Close kills the code with all its processes and frees the room. It is
	// safe to call twice.
	Close() error
}

// An Input is what a program is run with.
type Input struct {
	Body io.Reader                // standard input
	Env  func() map[string]string // besides the Function's own; nil is none. Code that is kept for several runs does not see it
}

// An Exit says how a Sandbox's code ended.
type Exit struct {
	Code        int    // where it exited by itself
	Signal      string // such as "SIGSEGV", where a signal ended it
	OutOfMemory bool   // the kernel killed in it for want of memory
}

// Failure says in a user's words how the code ended.
func (e Exit) Failure() (Status, *Failure) {
	switch {
	case e.OutOfMemory:
		return StatusOutOfMemory, &Failure{Type: "OutOfMemory", Message: "the function used more memory than its limit; deploy it with a larger --memory"}
	case e.Signal != "":
		return StatusCrashed, &Failure{Type: "Crashed", Message: "the function's process was ended by " + e.Signal}
	}
	return StatusCrashed, &Failure{Type: "Crashed", Message: fmt.Sprintf("the function's process exited with code %d", e.Code)}
}

// Usage is what a Sandbox has used.
type Usage struct {
	Memory int64 // bytes held now
	Peak   int64 // bytes held at most
	CPU    time.Duration
	OOM    int // processes killed for want of memory
}

// A BootError is the fault of code that could not be made ready: a missing
// handler, a syntax error, an exit.
type BootError struct {
	Status Status // StatusFailed, StatusCrashed, StatusTimedOut or StatusOutOfMemory
	Failure
}

func (e *BootError) Error() string { return e.Type + ": " + e.Message }

// A Contract is what code expects of whoever calls it: a handler's arguments,
// an HTTP request, standard input.
type Contract interface {
	// Program says how f's code is to be run.
	Program(f Function) Program

	// Boot readies the code in s and returns once it can answer. Where the code
	// itself is at fault, the error is a *BootError. The Instance owns s, also
	// where Boot fails. Lines that the code says belong to one Event go to log.
	Boot(ctx context.Context, f Function, s Sandbox, log func(Line)) (Instance, error)
}

// A Handler answers for Functions of one contract in the platform itself: those
// that have no code but lead to others, and those that a dialect brings along.
// Concurrent calls are safe.
type Handler interface {
	// Handle answers one Event, as Instance.Answer does. What it wants to have
	// logged goes to log.
	Handle(ctx context.Context, f Function, in Invocation, log func(Line)) (Answer, error)
}

// ErrNotBegun is the error of an Instance that ended before its code had read the
// event: another may get it.
var ErrNotBegun = errors.New("the instance ended before it had read the event")

// An Instance is one live copy of a Function. It answers as many Events at
// once as Limits.Concurrency says.
type Instance interface {
	// Answer runs one Event. The error is the platform's; a function's own
	// failure is in the Answer. When ctx ends first the Instance is of no more
	// use and must be closed.
	Answer(ctx context.Context, in Invocation) (Answer, error)
	Close() error
}

// An Answer is what a Function made of an Event.
type Answer struct {
	Status      Status // Answered, Failed, Crashed ...
	Result      []byte // nil where it went to a Reply
	ContentType string // of Result; "" is JSON
	Size        int64  // bytes, wherever they went
	Failure     *Failure
	Last        bool // the Instance is about to end: it must not be asked again
}
