// Package http is the contract of programs that are HTTP servers: code in any
// language that listens on $PORT.
//
// An event that is an HTTP request reaches it with its method, path, query,
// headers and body. Any other is a POST to / with its data as body. To each are
// added:
//
//	X-Rouse-Activation  the ID of the activation
//	X-Rouse-Deadline    when the answer is no longer waited for, in milliseconds
//	                    since 1970
//	X-Forwarded-For     the caller's address, where it is known
//
// A status of 500 or more says that the function failed.
package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
)

// Port is what the code is told to listen on.
const Port = 8080

const (
	headerActivation = "X-Rouse-Activation"
	headerDeadline   = "X-Rouse-Deadline"
	ours             = "X-Rouse-" // what begins so is never taken from a caller
)

// Contract implements rouse.Contract. Its zero value is ready.
type Contract struct{}

// Program implements rouse.Contract.
func (Contract) Program(rouse.Function) rouse.Program {
	return rouse.Program{Mode: rouse.ModeServe, Port: Port}
}

// Boot implements rouse.Contract. It returns once the code listens.
func (Contract) Boot(ctx context.Context, f rouse.Function, s rouse.Sandbox, _ func(rouse.Line)) (rouse.Instance, error) {
	if err := listening(ctx, f, s); err != nil {
		_ = s.Close() // what went wrong before is what counts
		return nil, err
	}
	return &instance{
		sandbox: s,
		limit:   f.Limits.Answer,
		transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				c, err := s.Dial(ctx, Port)
				return eager(c), err
			},
			DisableCompression:  true, // bodies pass as they are
			MaxIdleConnsPerHost: max(f.Limits.Concurrency, 1),
			// Node closes a connection after 5 s; a request must not meet that.
			IdleConnTimeout:        4 * time.Second,
			MaxResponseHeaderBytes: 256 << 10,
		},
	}, nil
}

// eager returns a connection that acknowledges at once what comes after a Write.
// Code that writes its answer in two pieces, as Python's http.server does, sends
// the second once the first is acknowledged (RFC 896), which would take 40 ms
// where the kernel hopes to send something along.
func eager(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	return &eagerConn{tcp, raw}
}

// An eagerConn has no way to write but Write.
type eagerConn struct {
	net.Conn
	raw syscall.RawConn
}

// Write implements net.Conn. The kernel forgets the option when it sends.
func (c *eagerConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	_ = c.raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
	return n, err
}

// listening waits until the code accepts connections. The pauses between two
// attempts grow: most code is ready soon, and the rest must not be hindered.
func listening(ctx context.Context, f rouse.Function, s rouse.Sandbox) error {
	pause := time.Millisecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.Done():
			status, failure := s.Exit().Failure()
			failure.Message += " before it listened on port " + strconv.Itoa(Port)
			return &rouse.BootError{Status: status, Failure: *failure}
		case <-ctx.Done():
			return &rouse.BootError{Status: rouse.StatusTimedOut, Failure: rouse.Failure{Type: "Timeout",
				Message: fmt.Sprintf("the function does not listen: it must on $PORT, which is %d, at 0.0.0.0 or 127.0.0.1", Port)}}
		}
		c, err := s.Dial(ctx, Port)
		if err == nil {
			return c.Close()
		}
		timer.Reset(pause)
		pause = min(pause*2, 50*time.Millisecond)
	}
}

type instance struct {
	sandbox   rouse.Sandbox
	limit     int64
	transport *http.Transport
}

// Close implements rouse.Instance.
func (i *instance) Close() error {
	err := i.sandbox.Close()
	i.transport.CloseIdleConnections()
	return err
}

// Answer implements rouse.Instance.
func (i *instance) Answer(ctx context.Context, in rouse.Invocation) (rouse.Answer, error) {
	r, err := request(ctx, in)
	if err != nil {
		return rouse.Answer{}, rouse.Errorf(rouse.Invalid, "send event", in.Function.String(), "%w", err)
	}
	// The transport alone follows no redirect and keeps no cookie.
	resp, err := i.transport.RoundTrip(r)
	if err != nil {
		return i.broken(ctx, err, 0)
	}
	defer resp.Body.Close()
	b := &body{reply: in.Reply, limit: i.limit}
	if in.Reply != nil {
		header := map[string][]string(resp.Header)
		dropHops(resp.Header)
		in.Reply.Start(resp.StatusCode, header)
	}
	if _, err := io.CopyBuffer(b, onlyReader{resp.Body}, make([]byte, 32<<10)); err != nil && b.failure == nil {
		return i.broken(ctx, err, b.size)
	}
	a := rouse.Answer{Status: rouse.StatusAnswered, Size: b.size, Failure: b.failure}
	if b.failure == nil && resp.StatusCode >= 500 {
		a.Failure = &rouse.Failure{Type: "HTTPStatus", Message: "the function answered with status " + resp.Status}
	}
	if a.Failure != nil {
		a.Status = rouse.StatusFailed
	}
	if in.Reply == nil && b.failure == nil {
		a.Result, a.ContentType = b.held.Bytes(), contentType(resp.Header.Get("Content-Type"), b.held.Bytes())
	}
	return a, nil
}

// onlyReader keeps io.CopyBuffer from ways around the buffer.
type onlyReader struct{ io.Reader }

// broken says why there is no whole answer.
func (i *instance) broken(ctx context.Context, err error, size int64) (rouse.Answer, error) {
	if ctx.Err() != nil {
		return rouse.Answer{}, ctx.Err()
	}
	a := rouse.Answer{Status: rouse.StatusCrashed, Size: size}
	var lost net.Error
	if !errors.As(err, &lost) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) &&
		!errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, net.ErrClosed) {
		a.Status = rouse.StatusFailed
		a.Failure = &rouse.Failure{Type: "InvalidAnswer", Message: "the function's answer is not HTTP/1.1: " + err.Error()}
		return a, nil
	}
	// A process that ends loses its connections a little before its end is seen.
	wait := time.NewTimer(time.Second)
	defer wait.Stop()
	select {
	case <-i.sandbox.Done():
		a.Status, a.Failure = i.sandbox.Exit().Failure()
	case <-ctx.Done():
		return rouse.Answer{}, ctx.Err()
	case <-wait.C:
		a.Failure = &rouse.Failure{Type: "Crashed", Message: "the function closed the connection before it had answered"}
	}
	return a, nil
}

// token is what a header's name is made of, and hostName what names a host. RFC
// 9110, section 5.6.2; RFC 3986, section 3.2.2.
var (
	token    = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	hostName = regexp.MustCompile(`^[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]+$`)
)

// control says whether c would end a line, or worse.
func control(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }

// request makes of an event what the code sees.
func request(ctx context.Context, in rouse.Invocation) (*http.Request, error) {
	event := in.Event
	e := event.HTTP
	if e == nil {
		e = &rouse.Request{Method: http.MethodPost, Path: "/"}
	}
	// The path is not escaped and may hold anything; the query is as it came.
	u := &url.URL{Scheme: "http", Host: "localhost", Path: e.Path, RawQuery: e.Query}
	if !strings.HasPrefix(e.Path, "/") {
		u.Path = "/" + e.Path
	}
	if strings.ContainsFunc(e.Query, control) || strings.Contains(e.Query, " ") {
		return nil, errors.New("the query of an HTTP event must be escaped")
	}
	r, err := http.NewRequestWithContext(ctx, e.Method, "http://localhost/", bytes.NewReader(event.Data))
	if err != nil {
		return nil, err
	}
	r.URL = u
	for name, values := range e.Header {
		name = http.CanonicalHeaderKey(name)
		// To frameworks that have headers as CGI does, "_" is a "-".
		if !token.MatchString(name) || strings.HasPrefix(http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-")), ours) {
			continue
		}
		for _, v := range values {
			if !strings.ContainsFunc(v, control) {
				r.Header.Add(name, v)
			}
		}
	}
	if host := r.Header.Get("Host"); hostName.MatchString(host) {
		r.Host = host
	}
	dropHops(r.Header)
	r.Header.Del("Host")
	r.Header.Del("Content-Length") // is that of Data
	r.Header.Del("Expect")         // the body is here
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header["User-Agent"] = nil // not to be taken for Go's own
	}
	if r.Header.Get("Content-Type") == "" && (event.HTTP == nil || event.ContentType != "") {
		kind := event.ContentType
		if kind == "" || strings.ContainsFunc(kind, control) {
			kind = "application/json"
		}
		r.Header.Set("Content-Type", kind)
	}
	r.Header.Set(headerActivation, in.ID)
	if d, ok := ctx.Deadline(); ok {
		r.Header.Set(headerDeadline, strconv.FormatInt(d.UnixMilli(), 10))
	}
	if host, _, err := net.SplitHostPort(e.Remote); err == nil {
		r.Header.Set("X-Forwarded-For", strings.Join(append(r.Header.Values("X-Forwarded-For"), host), ", "))
	}
	return r, nil
}

// hops are the headers that belong to one connection. RFC 9110, section 7.6.1.
var hops = []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade"}

func dropHops(h http.Header) {
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hops {
		h.Del(name)
	}
}

// A body takes an answer: it holds it, or hands it to a Reply.
type body struct {
	reply   rouse.Reply
	held    bytes.Buffer
	size    int64
	limit   int64
	failure *rouse.Failure
}

var errStop = errors.New("no more is taken")

// Write implements io.Writer.
func (b *body) Write(p []byte) (int, error) {
	if b.reply == nil && b.size+int64(len(p)) > b.limit { // what streams is not held
		b.failure = &rouse.Failure{Type: "AnswerTooLarge", Message: fmt.Sprintf("the answer is larger than the limit of %d bytes", b.limit)}
		return 0, errStop
	}
	if b.reply == nil {
		b.held.Write(p)
	} else if _, err := b.reply.Write(p); err != nil {
		b.failure = &rouse.Failure{Type: "ReplyClosed", Message: "the caller left before the answer was complete"}
		return 0, errStop
	}
	b.size += int64(len(p))
	return len(p), nil
}

// contentType is what a Result's is called: "" is JSON.
func contentType(said string, b []byte) string {
	kind, _, _ := mime.ParseMediaType(said)
	switch {
	case kind == "application/json" && json.Valid(b):
		return ""
	case kind != "application/json" && said != "":
		return said
	case utf8.Valid(b):
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}
