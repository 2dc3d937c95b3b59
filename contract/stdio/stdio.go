// Package stdio is the contract of programs that read one event from standard
// input and write its answer to standard output. Exit code 0 says that it is
// one; any other, that the program failed.
package stdio

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
)

// Contract implements rouse.Contract. Its zero value is ready.
//
// The program's input is the event's data. Of an HTTP request that is the body;
// method, path, query and headers are in its environment as RFC 3875 (CGI) has
// them. Output that begins with a line "Status: 404" sets status and headers
// likewise: header lines, an empty line, the body.
type Contract struct {
	// Patience is how long what a program writes is held, or up to twice as long: an
	// answer that is complete by then goes out as a whole, with its length, and nothing
	// goes out of a program that failed. One that takes longer is passed on as it
	// comes. 0 is 5 ms.
	Patience time.Duration
}

// Program implements rouse.Contract.
func (Contract) Program(rouse.Function) rouse.Program { return rouse.Program{Mode: rouse.ModeOnce} }

// Boot implements rouse.Contract. There is nothing to wait for.
func (c Contract) Boot(_ context.Context, f rouse.Function, s rouse.Sandbox, _ func(rouse.Line)) (rouse.Instance, error) {
	return &instance{s, f.Limits.Answer, cmp.Or(c.Patience, 5*time.Millisecond)}, nil
}

type instance struct {
	sandbox  rouse.Sandbox
	limit    int64
	patience time.Duration
}

// Close implements rouse.Instance.
func (i *instance) Close() error { return i.sandbox.Close() }

// Answer implements rouse.Instance.
func (i *instance) Answer(ctx context.Context, in rouse.Invocation) (rouse.Answer, error) {
	out := outputs.Get().(*output)
	out.event, out.limit, out.patience = in, i.limit, i.patience
	defer out.recycle()
	out.in.Reset(in.Event.Data)
	code, err := i.sandbox.Run(ctx, rouse.Input{Body: &out.in, Env: out.env}, out)
	out.close()
	a := rouse.Answer{Size: out.size}
	fine := code == 0 && err == nil // what came to its end in time was not ended by the context
	switch {
	case out.err != nil:
		a.Status, a.Failure = rouse.StatusFailed, out.failure()
		return a, nil
	case !fine && ctx.Err() != nil:
		return rouse.Answer{}, ctx.Err()
	case err != nil:
		return rouse.Answer{}, err
	case i.died():
		a.Status, a.Failure = i.sandbox.Exit().Failure()
		return a, nil
	case code != 0:
		a.Status = rouse.StatusFailed
		a.Failure = &rouse.Failure{Type: "Exit", Message: fmt.Sprintf("the program exited with code %d; what it wrote to standard error is in its log", code)}
		return a, nil
	}
	a.Status = rouse.StatusAnswered
	if in.Reply != nil {
		out.complete()
		return a, nil
	}
	a.Result, a.ContentType = bytes.Clone(out.held.Bytes()), contentType(out.held.Bytes())
	return a, nil
}

// died says whether something else than the program itself ended it.
func (i *instance) died() bool {
	select {
	case <-i.sandbox.Done():
		e := i.sandbox.Exit()
		return e.Signal != "" || e.OutOfMemory
	default:
		return false
	}
}

var (
	errTooLarge = errors.New("the answer is too large")
	errLeft     = errors.New("the caller left before the answer was complete")
)

// most is how many bytes are held; what is larger is passed on as it comes.
const most = 64 << 10

// output takes what a program writes: it holds it, or hands it to a Reply. It is
// used again for another run.
type output struct {
	event    rouse.Invocation
	env      func() map[string]string // of event
	in       bytes.Reader             // what the program reads
	limit    int64
	patience time.Duration
	plain    map[string][]string // the header of an answer that brings none

	mu      sync.Mutex
	held    bytes.Buffer  // guarded by mu; what did not go to the Reply
	timer   *time.Timer   // guarded by mu; calls look, where looking
	looking bool          // guarded by mu
	waits   time.Duration // guarded by mu; from when the timer was set until it calls
	due     bool          // guarded by mu; the patience that ends then is this run's
	started bool          // guarded by mu; the Reply has begun
	closed  bool          // guarded by mu; the program has ended
	size    int64         // guarded by mu until closed
	err     error         // guarded by mu until closed
}

var outputs = sync.Pool{New: func() any {
	o := &output{plain: make(map[string][]string, 2)}
	o.env = func() map[string]string { return environment(o.event) }
	return o
}}

// recycle keeps o for another run, unless it grew large.
func (o *output) recycle() {
	if o.held.Cap() <= most {
		o.reset()
		outputs.Put(o)
	}
}

func (o *output) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.in.Reset(nil)
	o.held.Reset()
	o.event, o.due, o.started, o.closed, o.size, o.err = rouse.Invocation{}, false, false, false, 0, nil
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && o.event.Reply == nil && o.size+int64(len(b)) > o.limit { // what streams is not held
		o.err = errTooLarge
	}
	if o.err == nil {
		o.held.Write(b)
		switch {
		case o.event.Reply == nil:
		case o.started || o.held.Len() > most:
			o.pass()
		case !o.looking || o.waits > o.patience:
			o.wait()
		}
	}
	if o.err != nil { // ends the program: nobody takes its answer any more
		return 0, o.err
	}
	o.size += int64(len(b))
	return len(b), nil
}

// wait has look called when patience ends. The caller holds mu.
func (o *output) wait() {
	if o.timer == nil {
		o.timer = time.AfterFunc(o.patience, o.look)
	} else {
		o.timer.Reset(o.patience)
	}
	o.looking, o.waits, o.due = true, o.patience, true
}

// look sees whether patience has ended. To stop a timer with each short run and to
// start it with the next would cost more than to let it call for nothing: it may be
// an earlier run's, and this one's begins only now.
func (o *output) look() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.looking = false
	switch {
	case o.held.Len() == 0 || o.event.Reply == nil || o.closed || o.started || o.err != nil:
	case !o.due:
		o.wait()
	default:
		o.pass()
	}
}

// pass hands what is held to the Reply. The caller holds mu.
func (o *output) pass() {
	body := o.held.Bytes()
	if !o.started {
		head, rest, whole := parseHead(body)
		if !whole && len(body) <= most {
			return // the head is still coming
		}
		o.begin(head, rest, false)
		body = rest
	}
	if _, err := o.event.Reply.Write(body); err != nil {
		o.err = errLeft
	}
	o.held.Reset()
}

// begin starts the Reply. Where the program does not say what kind of answer it
// is, its first bytes must tell: the rest is still to be made.
func (o *output) begin(h head, body []byte, complete bool) {
	o.started = true
	if h.header == nil {
		h.header = o.plain
		delete(h.header, "Content-Type")
	}
	values := make([]string, 2)
	if h.header["Content-Type"] == nil {
		kind := contentType(body)
		if !complete {
			kind = contentType(whole(body))
		}
		values[0] = named(kind)
		h.header["Content-Type"] = values[:1:1]
	}
	delete(h.header, "Content-Length") // it may lie
	if complete {
		values[1] = strconv.Itoa(len(body))
		h.header["Content-Length"] = values[1:]
	}
	o.event.Reply.Start(h.status, h.header)
}

// close says that the program has ended: nothing is passed on from now on.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
}

// complete sends what is held as the whole answer, unless it has begun to go out.
func (o *output) complete() {
	if o.started {
		return
	}
	head, body, _ := parseHead(o.held.Bytes())
	o.begin(head, body, true)
	_, _ = o.event.Reply.Write(body) // the caller who went away sees no answer
}

// named is a content type where it must have a name.
func named(contentType string) string {
	if contentType == "" {
		return "application/json"
	}
	return contentType
}

func (o *output) failure() *rouse.Failure {
	if errors.Is(o.err, errTooLarge) {
		return &rouse.Failure{Type: "AnswerTooLarge", Message: fmt.Sprintf("the answer is larger than the limit of %d bytes", o.limit)}
	}
	return &rouse.Failure{Type: "ReplyClosed", Message: o.err.Error()}
}

// contentType is that of an answer: "" is JSON.
func contentType(b []byte) string {
	switch {
	case json.Valid(b):
		return ""
	case utf8.Valid(b):
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// whole returns b without the beginning of a character that goes on in what
// follows b.
func whole(b []byte) []byte {
	for i := 1; i <= min(len(b), utf8.UTFMax-1); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}
