package native

import (
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// linger is how long a refused client may go on sending.
const linger = 5 * time.Second

// deploy streams the code through to the registry. Who accepts NDJSON gets, once
// the registry reports a step, a stream of wire.DeployEvents whose last one is the
// function or the error; anybody else the function, or an error with its own HTTP
// status.
func deploy(s *server, c *call) error {
	body := &body{ReadCloser: c.r.Body}
	c.r.Body = body
	steps := &stream{c: c, body: true}
	step := func(string) {}
	streams := strings.Contains(c.r.Header.Get("Accept"), wire.NDJSON)
	if streams {
		step = func(step string) { steps.send(wire.DeployEvent{Step: step}) }
	}
	f, err := s.receive(c, step)
	switch {
	case err == nil && !streams:
		return c.answer(http.StatusOK, f)
	case err == nil:
		steps.send(wire.DeployEvent{Function: &f})
	case !body.begun:
		return err // the client was never told to go on and send its code
	case steps.began:
		e := s.wireError(c, s.brokenOff(c, err))
		steps.send(wire.DeployEvent{Error: &e})
	default:
		s.failEarly(c, err)
		return nil
	}
	c.drain()
	return nil
}

// failEarly answers with err while the client may still be sending.
func (s *server) failEarly(c *call, err error) {
	c.duplex()
	s.fail(c, err)
	_ = http.NewResponseController(c.w).Flush()
	c.drain()
}

// drain reads the rest of a body. A client that is still sending gets to read
// the answer only if nobody closes the connection before: it would be reset.
func (c *call) drain() {
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(linger))
	_, _ = io.Copy(io.Discard, c.r.Body)
}

// A body knows whether anybody began to read it.
type body struct {
	io.ReadCloser
	begun bool
}

func (b *body) Read(p []byte) (int, error) {
	b.begun = true
	return b.ReadCloser.Read(p)
}

func (s *server) receive(c *call, step func(string)) (f rouse.Function, err error) {
	if f.Ref, err = c.ref(); err != nil {
		return f, err
	}
	parts, err := c.r.MultipartReader()
	if err != nil {
		return f, invalid("a deploy is multipart/form-data with the parts \"options\" and \"code\": %w", err)
	}
	o, code, err := readParts(parts)
	if err != nil {
		return f, err
	}
	ref := f.Ref
	f = functionOf(o)
	f.Ref = ref
	if code == nil {
		f.Code = o.Code
	} else {
		code = &upload{bounded{r: code, left: s.MaxCode, limit: s.MaxCode}, parts}
	}
	return s.Registry.Deploy(c.r.Context(), f, code, step)
}

// functionOf is a function with options, but for its code.
func functionOf(o wire.Options) rouse.Function {
	return rouse.Function{Runtime: o.Runtime, Handler: o.Handler, Contract: o.Contract, Env: o.Env,
		Limits: o.Limits, Egress: o.Egress, Public: o.Public, Retry: o.Retry, Allow: o.Allow}
}

// readParts reads the options, where they are given, and returns the part that
// holds the code.
func readParts(parts *multipart.Reader) (o wire.Options, code io.Reader, err error) {
	for seen := ""; ; seen = "options" {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) && o.Code != "" {
			return o, nil, nil
		}
		if errors.Is(err, io.EOF) {
			return o, nil, invalid("the part \"code\" is missing; it must hold a zip archive")
		}
		if err != nil {
			return o, nil, broken(err)
		}
		switch name := p.FormName(); {
		case name == "options" && seen == "":
			if err := readJSON(p, &o); err != nil {
				return o, nil, err
			}
		case name == "code":
			return o, p, nil
		default:
			return o, nil, unexpected(name)
		}
	}
}

func unexpected(part string) error {
	return invalid("the part %q is not expected: a deploy has \"options\", at most once, and then \"code\"", part)
}

// upload is the code as it comes in; its errors are the client's.
type upload struct {
	bounded
	parts *multipart.Reader // of which the code is the last
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.bounded.Read(p)
	if errors.Is(err, io.EOF) {
		// Options that come after it would be lost without a word.
		next, end := u.parts.NextPart()
		if end == nil {
			return n, unexpected(next.FormName())
		}
		err = end
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = broken(err)
	}
	return n, err
}

// A stream sends NDJSON, each line at once.
type stream struct {
	c     *call
	body  bool // the request's is still being read
	began bool
}

func (s *stream) start() {
	s.began = true
	if s.body {
		s.c.duplex()
	}
	s.c.w.Header().Set("Content-Type", wire.NDJSON)
	s.c.w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(s.c.w).Flush()
}

// duplex lets the answer go out while the body is still being read, which
// HTTP/1 has to be told. The connection serves no other request: net/http would
// panic where it finds the end of this body while it waits for the next one.
func (c *call) duplex() {
	_ = http.NewResponseController(c.w).EnableFullDuplex() // HTTP/2 always is
	c.w.Header().Set("Connection", "close")
}

// send reports whether the client is still there.
func (s *stream) send(v any) bool { return s.write(v) && s.flush() }

func (s *stream) flush() bool { return http.NewResponseController(s.c.w).Flush() == nil }

// write is send without flush, for where more comes at once.
func (s *stream) write(v any) bool {
	if !s.began {
		s.start()
	}
	return lines(s.c.w).Encode(v) == nil
}
