// Package stdio is the contract of programs that read one event from standard
// input and write its answer to standard output. Exit code 0 says that it is
// one; any other, that the program failed.
package stdio

import (
	"bytes"
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
// The program sees an event's data. Of an HTTP request that is the body: method,
// path, query and headers do not reach it.
type Contract struct{}

// Program implements rouse.Contract.
func (Contract) Program(rouse.Function) rouse.Program { return rouse.Program{Mode: rouse.ModeOnce} }

// Boot implements rouse.Contract. There is nothing to wait for.
func (Contract) Boot(_ context.Context, f rouse.Function, s rouse.Sandbox, _ func(rouse.Line)) (rouse.Instance, error) {
	return &instance{sandbox: s, limit: f.Limits.Answer}, nil
}

type instance struct {
	sandbox rouse.Sandbox
	limit   int64
}

// Close implements rouse.Instance.
func (i *instance) Close() error { return i.sandbox.Close() }

// Answer implements rouse.Instance.
func (i *instance) Answer(ctx context.Context, in rouse.Invocation) (rouse.Answer, error) {
	// A program whose answer nobody takes any more is not to run on.
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &output{reply: in.Reply, limit: i.limit, stop: cancel}
	code, err := i.sandbox.Run(run, bytes.NewReader(in.Event.Data), out)
	out.close()
	a := rouse.Answer{Size: out.size}
	switch {
	case out.err != nil:
		a.Status, a.Failure = rouse.StatusFailed, out.failure()
		return a, nil
	case ctx.Err() != nil:
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
	a.Result, a.ContentType = out.held.Bytes(), contentType(out.held.Bytes())
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

// An answer that is complete within patience goes out as a whole, with its
// length; so does nothing of a program that fails in that time. One that takes
// longer, or is larger than held, is passed on as it comes.
const (
	patience = 5 * time.Millisecond
	most     = 64 << 10
)

// output takes what a program writes: it holds it, or hands it to a Reply.
type output struct {
	reply rouse.Reply
	limit int64
	stop  func()
	timer *time.Timer // since the first bytes for a Reply

	mu      sync.Mutex
	held    bytes.Buffer // guarded by mu; what did not go to the Reply
	started bool         // guarded by mu; the Reply has begun
	closed  bool         // guarded by mu; the program has ended
	size    int64        // guarded by mu until closed
	err     error        // guarded by mu until closed
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && o.size+int64(len(b)) > o.limit {
		o.err = errTooLarge
	}
	if o.err == nil {
		o.held.Write(b)
		switch {
		case o.reply == nil:
		case o.started || o.held.Len() > most:
			o.pass()
		case o.timer == nil:
			o.timer = time.AfterFunc(patience, o.lose)
		}
	}
	if o.err != nil {
		o.stop()
		return 0, o.err
	}
	o.size += int64(len(b))
	return len(b), nil
}

// lose ends the patience.
func (o *output) lose() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed && !o.started && o.err == nil {
		o.pass()
	}
}

// pass hands what is held to the Reply, whose first bytes must tell what kind
// of answer it is: the rest is still to be made. The caller holds mu.
func (o *output) pass() {
	if !o.started {
		o.started = true
		o.reply.Start(200, map[string][]string{"Content-Type": {named(contentType(whole(o.held.Bytes())))}})
	}
	if _, err := o.reply.Write(o.held.Bytes()); err != nil {
		o.err = errLeft
		o.stop()
	}
	o.held.Reset()
}

// close says that the program has ended: nothing is passed on from now on.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if o.timer != nil {
		o.timer.Stop()
	}
}

// complete sends what is held as the whole answer, unless it has begun to go out.
func (o *output) complete() {
	if o.started {
		return
	}
	b := o.held.Bytes()
	o.reply.Start(200, map[string][]string{"Content-Type": {named(contentType(b))}, "Content-Length": {strconv.Itoa(len(b))}})
	_, _ = o.reply.Write(b) // the caller who went away sees no answer
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
