package openwhisk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
)

// The texts of what goes wrong, as OpenWhisk has them.
const (
	notInitialized       = "The action did not initialize and exited unexpectedly."
	failedInitialization = "The action failed during initialization: "
	exited               = "The action did not produce a valid response and exited unexpectedly."
	noArguments          = "The action did not receive a dictionary or array as an argument."
	notJSON              = "The action did not produce a valid JSON or JSON Array response: "
	tooLarge             = "The action produced a response that exceeded the allowed length: %d > %d bytes."
	truncated            = " The truncated response was: "
)

// The Types of Failures: what the code said by itself, and what is wrong with it.
const (
	applicationError = "ApplicationError"
	developerError   = "DeveloperError"
)

// maxText bounds the bytes of a failure's message, and of its stack: both may
// repeat what the code has of any length.
const maxText = 4 << 10

// An instance is one live copy of an action.
type instance struct {
	writer
	live  rouse.Instance
	limit int64 // bytes of a result
}

func newInstance(n Note, live rouse.Instance) *instance {
	return &instance{writer: newWriter(n), live: live, limit: n.Result}
}

// Close implements rouse.Instance.
func (i *instance) Close() error { return i.live.Close() }

// buffers are for events on their way in.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

// Answer implements rouse.Instance. A result that says "error" is kept beside
// the failure that it is.
func (i *instance) Answer(ctx context.Context, in rouse.Invocation) (rouse.Answer, error) {
	to, isHTTP := in.Reply, in.Event.HTTP != nil
	p := buffers.Get().(*[]byte)
	b, err := i.append(ctx, (*p)[:0], in)
	if err != nil {
		return developer(noArguments), nil
	}
	in.Event.Data, in.Event.HTTP, in.Reply = b, nil, nil
	a, err := i.live.Answer(ctx, in)
	if cap(b) <= 64<<10 {
		*p = b
		buffers.Put(p)
	}
	if err != nil {
		return rouse.Answer{}, err
	}
	a = i.judge(a)
	if to != nil && a.Status == rouse.StatusAnswered {
		reply(to, isHTTP, &a)
	}
	return a, nil
}

// judge says in OpenWhisk's words how it went.
func (i *instance) judge(a rouse.Answer) rouse.Answer {
	switch {
	case a.Status == rouse.StatusCrashed:
		gone := developer(exited)
		gone.Status, gone.Failure.Stack = rouse.StatusCrashed, a.Failure.Message
		return gone
	case a.Status == rouse.StatusFailed && a.Failure != nil:
		return i.failed(*a.Failure)
	case a.Status != rouse.StatusAnswered:
		return a
	case a.Size > i.limit:
		return i.oversize(a.Size, a.Result)
	case a.ContentType != "" || len(a.Result) == 0 || a.Result[0] != '{' && a.Result[0] != '[' || !json.Valid(a.Result):
		return developer(notJSON + cut(a.Result, maxText))
	case a.Result[0] == '{' && bytes.Contains(a.Result, errorKey):
		return application(a)
	}
	return a
}

var errorKey = []byte(`"error"`)

// failed is the answer of a worker that said F. Only what the shim itself found
// wrong has its type.
func (i *instance) failed(f rouse.Failure) rouse.Answer {
	switch f.Type {
	case developerError:
		a := developer(cut([]byte(f.Message), maxText))
		if !strings.HasPrefix(f.Stack, developerError+": ") { // that would be the shim's own
			a.Failure.Stack = cut([]byte(f.Stack), maxText)
		}
		return a
	case "TooLarge", "AnswerTooLarge":
		var size int64
		if _, err := fmt.Sscanf(f.Message, "the answer has %d bytes", &size); err == nil {
			return i.oversize(size, nil)
		}
	}
	a := developer(notJSON + cut([]byte(f.Message), maxText))
	a.Failure.Stack = cut([]byte(f.Stack), maxText)
	return a
}

// oversize is the answer where the result is too large; begin is what is known
// of it.
func (i *instance) oversize(size int64, begin []byte) rouse.Answer {
	said := fmt.Sprintf(tooLarge, size, i.limit)
	whole := said
	if len(begin) > 0 {
		whole += truncated + cut(begin, int(i.limit))
	}
	result := append(appendString([]byte(`{"error":`), whole), '}')
	return rouse.Answer{Status: rouse.StatusFailed, Result: result, Size: size,
		Failure: &rouse.Failure{Type: applicationError, Message: said}}
}

// application finds out whether a result says that it is an error.
func application(a rouse.Answer) rouse.Answer {
	var keys map[string]json.RawMessage
	if json.Unmarshal(a.Result, &keys) != nil {
		return a
	}
	raw, ok := keys["error"]
	if !ok {
		return a
	}
	var said string
	if json.Unmarshal(raw, &said) != nil || string(raw) == "null" {
		said = string(raw)
	}
	a.Status, a.Failure = rouse.StatusFailed, &rouse.Failure{Type: applicationError, Message: cut([]byte(said), maxText)}
	return a
}

// developer is the answer of code that is wrong.
func developer(message string) rouse.Answer {
	return rouse.Answer{Status: rouse.StatusFailed, Failure: &rouse.Failure{Type: developerError, Message: message}}
}

// cut is the first n bytes of b as text, without a part of a character.
func cut(b []byte, n int) string {
	if len(b) > n {
		b = b[:n]
		for range utf8.UTFMax - 1 {
			if r, size := utf8.DecodeLastRune(b); r != utf8.RuneError || size != 1 {
				break
			}
			b = b[:len(b)-1]
		}
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
