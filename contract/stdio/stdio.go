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
		out.start(nil) // where nothing was written
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

// output takes what a program writes: it holds it, or hands it to a Reply.
type output struct {
	reply   rouse.Reply
	started bool
	held    bytes.Buffer
	size    int64
	limit   int64
	stop    func()
	err     error
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	if o.err == nil && o.size+int64(len(b)) > o.limit {
		o.err = errTooLarge
	}
	if o.err == nil && o.reply != nil {
		o.start(b)
		if _, err := o.reply.Write(b); err != nil {
			o.err = errLeft
		}
	}
	if o.err != nil {
		o.stop()
		return 0, o.err
	}
	if o.reply == nil {
		o.held.Write(b)
	}
	o.size += int64(len(b))
	return len(b), nil
}

// start begins the Reply. What kind of answer it is must be told from its first
// bytes: the rest is still to be made.
func (o *output) start(first []byte) {
	if o.started {
		return
	}
	o.started = true
	kind := contentType(whole(first))
	if kind == "" {
		kind = "application/json"
	}
	o.reply.Start(200, map[string][]string{"Content-Type": {kind}})
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
