// Package native is Rouse's own contract: main(event, context) in Python and
// Node, answered over frames.
package native

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/frame"
)

// Name is what a Function calls this contract, and a worker its shim.
const Name = "native"

// Python and Node are the halves of the contract that workers load.
var (
	//go:embed shim.py
	Python string
	//go:embed shim.cjs
	Node string
)

// ClientPython and ClientNode are the module named rouse, with which code uses
// the platform.
var (
	//go:embed client.py
	ClientPython string
	//go:embed client.cjs
	ClientNode string
)

// Contract implements rouse.Contract. Its zero value is ready.
type Contract struct {
	Shim string // the half that workers load; "" is Name
}

// Program implements rouse.Contract.
func (c Contract) Program(rouse.Function) rouse.Program {
	return rouse.Program{Mode: rouse.ModeWorker, Shim: cmp.Or(c.Shim, Name)}
}

// Boot implements rouse.Contract.
func (Contract) Boot(ctx context.Context, f rouse.Function, s rouse.Sandbox, log func(rouse.Line)) (rouse.Instance, error) {
	conn, ok := s.Conn().(deadliner)
	if !ok {
		_ = s.Close()
		return nil, rouse.Errorf(rouse.Invalid, "boot", f.Ref.String(), "its runtime %s has no workers: use the contract http or stdio", f.Runtime)
	}
	w := &worker{function: f, sandbox: s, conn: conn, log: log, frames: frame.NewReader(conn, int(f.Limits.Answer)+slack)}
	if err := w.ready(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	if f.Limits.Concurrency > 1 {
		return newCrowd(w), nil
	}
	return &solo{worker: w, header: make(map[string][]string, 2)}, nil
}

// slack is what a frame may hold besides an answer: a failure with its stack.
const slack = 1 << 20

type deadliner interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
}

// unread is how many bytes of those written to the worker nobody has read, as far
// as that is known.
func (w *worker) unread() int {
	if c, ok := w.conn.(interface{ Unread() int }); ok {
		return c.Unread()
	}
	return 0
}

// A worker is the process inside, and the frames to and from it.
type worker struct {
	function rouse.Function
	sandbox  rouse.Sandbox
	conn     deadliner
	frames   *frame.Reader
	log      func(rouse.Line)
}

// ready waits until the code is loaded.
func (w *worker) ready(ctx context.Context) error {
	if d, ok := ctx.Deadline(); ok {
		_ = w.conn.SetReadDeadline(d)
	}
	stop := context.AfterFunc(ctx, func() { _ = w.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	f, err := w.frames.Read()
	switch {
	case err != nil && ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded):
		return &rouse.BootError{Status: rouse.StatusTimedOut, Failure: rouse.Failure{Type: "Timeout",
			Message: fmt.Sprintf("the function was not loaded within %v", w.function.Limits.Timeout)}}
	case err != nil:
		return w.lost(err)
	case f.Type == frame.Failure:
		failure := &rouse.Failure{}
		if err := json.Unmarshal(f.Body, failure); err != nil {
			return w.lost(err)
		}
		return &rouse.BootError{Status: rouse.StatusFailed, Failure: *failure}
	case f.Type != frame.Ready:
		return w.lost(fmt.Errorf("a worker said %q before it was ready", f.Type))
	}
	return w.conn.SetReadDeadline(time.Time{})
}

// lost is the fault of a worker that no longer speaks, or speaks garbage.
func (w *worker) lost(err error) *rouse.BootError {
	status, failure := w.gone(err)
	return &rouse.BootError{Status: status, Failure: *failure}
}

// gone ends the sandbox and says why the worker no longer speaks.
func (w *worker) gone(err error) (rouse.Status, *rouse.Failure) {
	var over *frame.Oversize
	switch {
	case errors.As(err, &over):
		_ = w.sandbox.Close()
		return rouse.StatusFailed, &rouse.Failure{Type: "AnswerTooLarge",
			Message: fmt.Sprintf("the answer has %d bytes; the limit is %d", over.Size, w.function.Limits.Answer)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrClosed), isBrokenPipe(err):
		// It closed its pipes: mostly by ending. One that lives on is of no use.
		select {
		case <-w.sandbox.Done():
		case <-time.After(time.Second):
			_ = w.sandbox.Close()
			return rouse.StatusCrashed, &rouse.Failure{Type: "Crashed", Message: "the function closed its connection to the platform"}
		}
		return w.sandbox.Exit().Failure()
	}
	_ = w.sandbox.Close()
	return rouse.StatusCrashed, &rouse.Failure{Type: "Crashed", Message: "the function wrote to its connection to the platform: " + err.Error()}
}

// An outgoing is an event on its way in. It is used again unless it grew large.
type outgoing struct {
	request, frame []byte
}

var outgoings = sync.Pool{New: func() any { return &outgoing{make([]byte, 0, 1<<10), make([]byte, 0, 4<<10)} }}

// send writes one event, in so many bytes.
func (w *worker) send(ctx context.Context, sequence uint32, in *rouse.Invocation) (size int, err error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(24 * time.Hour)
	}
	o := outgoings.Get().(*outgoing)
	o.request = o.request[:0]
	switch {
	case in.Event.HTTP != nil:
		o.request = appendRequest(o.request, in.Event.HTTP)
	case in.Event.ContentType != "" && !isJSON(in.Event.ContentType):
		o.request = append(appendString(append(o.request, `{"contentType":`...), in.Event.ContentType), '}')
	}
	o.frame = frame.AppendEvent(o.frame[:0], sequence, float64(deadline.UnixMicro())/1e3, in.ID, o.request, in.Event.Data)
	size = len(o.frame)
	_, err = w.conn.Write(o.frame)
	if cap(o.request)+cap(o.frame) <= 64<<10 {
		outgoings.Put(o)
	}
	return size, err
}

// isJSON says whether a content type is that of JSON (RFC 6839, section 3.1).
func isJSON(contentType string) bool {
	t, _, _ := strings.Cut(contentType, ";")
	t = strings.ToLower(strings.TrimSpace(t))
	return t == "application/json" || t == "text/json" || strings.HasSuffix(t, "+json")
}

// appendRequest writes what a function sees of an HTTP request. Headers are in
// lower case, several of one name joined by commas (RFC 9110, section 5.3).
func appendRequest(b []byte, r *rouse.Request) []byte {
	b = append(b, `{"method":`...)
	b = appendString(b, r.Method)
	b = append(b, `,"path":`...)
	b = appendString(b, r.Path)
	b = append(b, `,"rawQuery":`...)
	b = appendString(b, r.Query)
	b = append(b, `,"query":`...)
	b = appendQuery(b, r.Query)
	b = append(b, `,"headers":`...)
	b = appendHeaders(b, r.Header)
	if r.Remote != "" {
		b = append(b, `,"remote":`...)
		b = appendString(b, r.Remote)
	}
	return append(b, '}')
}
