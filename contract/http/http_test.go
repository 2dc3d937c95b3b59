package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

// A room is a rouse.Sandbox whose port is a real server's.
type room struct {
	rouse.Sandbox
	addr   string
	dials  atomic.Int64
	refuse atomic.Int64 // that many dials fail first
	done   chan struct{}
	end    sync.Once
	exit   rouse.Exit
}

func (r *room) Dial(ctx context.Context, port int) (net.Conn, error) {
	if port != Port {
		return nil, fmt.Errorf("port %d", port)
	}
	if r.refuse.Add(-1) >= 0 {
		return nil, errors.New("connection refused")
	}
	r.dials.Add(1)
	return (&net.Dialer{}).DialContext(ctx, "tcp", r.addr)
}

func (r *room) Done() <-chan struct{} { return r.done }
func (r *room) Exit() rouse.Exit      { return r.exit }
func (r *room) Close() error          { r.end.Do(func() { close(r.done) }); return nil }

func (r *room) dies(e rouse.Exit) {
	r.exit = e
	r.Close()
}

// serve boots an instance whose code is h.
func serve(t testing.TB, h http.HandlerFunc) (rouse.Instance, *room) {
	t.Helper()
	s := httptest.NewServer(h)
	r := &room{addr: s.Listener.Addr().String(), done: make(chan struct{})}
	i, err := Contract{}.Boot(context.Background(), rouse.Function{Limits: rouse.Limits{Answer: 1 << 20}}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		i.Close()
		s.CloseClientConnections()
		s.Close()
	})
	return i, r
}

// A reply is a rouse.Reply that keeps what it gets.
type reply struct {
	status  int
	header  http.Header
	body    bytes.Buffer
	written func() // after each piece
	err     error
}

func (r *reply) Start(status int, h map[string][]string) { r.status, r.header = status, maps.Clone(h) }

func (r *reply) Write(b []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	r.body.Write(b)
	if r.written != nil {
		r.written()
	}
	return len(b), nil
}

func answer(t *testing.T, i rouse.Instance, in rouse.Invocation) rouse.Answer {
	t.Helper()
	a, err := i.Answer(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRequestReachesTheCode(t *testing.T) {
	i, room := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s\n%s\n", r.Method, r.RequestURI, r.Host, r.Proto, body)
		for _, k := range slices.Sorted(maps.Keys(r.Header)) {
			fmt.Fprintf(w, "%s: %s\n", k, strings.Join(r.Header[k], "|"))
		}
	})
	deadline := time.UnixMilli(4102444800000)
	ctx, cancel := context.WithDeadline(t.Context(), deadline)
	defer cancel()
	for name, c := range map[string]struct {
		event rouse.Event
		want  string
	}{
		"request": {
			rouse.Event{ContentType: "text/css", Data: []byte("hello"), HTTP: &rouse.Request{
				Method: "PUT", Path: "/a b/ü", Query: "x=1&y=%20", Remote: "192.0.2.7:1234",
				Header: map[string][]string{
					"Host": {"example.org"}, "Accept": {"a", "b"}, "Connection": {"close, X-Hop"}, "X-Hop": {"no"},
					"Upgrade": {"websocket"}, "X-Rouse-Activation": {"forged"}, "X_Rouse_Activation": {"forged"}, "x-rouse_deadline": {"1"}, "Content-Length": {"99"}, "Expect": {"100-continue"},
					"Content-Type": {"text/css"}, "Bad Name": {"x"}, "Bad-Value": {"x\r\nInjected: y"}, "User-Agent": {"test"},
					"X-Forwarded-For": {"198.51.100.1"},
				}}},
			"PUT /a%20b/%C3%BC?x=1&y=%20 example.org HTTP/1.1\nhello\n" +
				"Accept: a|b\nContent-Length: 5\nContent-Type: text/css\nUser-Agent: test\nX-Forwarded-For: 198.51.100.1, 192.0.2.7\n" +
				"X-Rouse-Activation: abc\nX-Rouse-Deadline: 4102444800000\n",
		},
		"plain": {
			rouse.Event{Data: []byte(`{"a":1}`)},
			"POST / localhost HTTP/1.1\n{\"a\":1}\nContent-Length: 7\nContent-Type: application/json\n" +
				"X-Rouse-Activation: abc\nX-Rouse-Deadline: 4102444800000\n",
		},
		"plain text": {
			rouse.Event{ContentType: "text/plain", Data: []byte("a")},
			"POST / localhost HTTP/1.1\na\nContent-Length: 1\nContent-Type: text/plain\n" +
				"X-Rouse-Activation: abc\nX-Rouse-Deadline: 4102444800000\n",
		},
		"path that looks like another host": {
			rouse.Event{HTTP: &rouse.Request{Method: "GET", Path: "//example.org/../x"}},
			"GET //example.org/../x localhost HTTP/1.1\n\nX-Rouse-Activation: abc\nX-Rouse-Deadline: 4102444800000\n",
		},
	} {
		a, err := i.Answer(ctx, rouse.Invocation{ID: "abc", Event: c.event})
		if err != nil || string(a.Result) != c.want || a.Status != rouse.StatusAnswered || a.Size != int64(len(c.want)) {
			t.Errorf("%s: %v, %v\n%s\nwant\n%s", name, a.Status, err, a.Result, c.want)
		}
	}
	if n := room.dials.Load(); n != 2 { // the one of Boot, and one that is kept
		t.Errorf("%d connections", n)
	}
}

func TestAnswer(t *testing.T) {
	i, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/json":
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			fmt.Fprint(w, `{"a":1}`)
		case "/not-json":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"a":`)
		case "/image":
			w.Header().Set("Content-Type", "image/png")
			w.Write([]byte{0x89, 'P'})
		case "/missing":
			w.WriteHeader(404)
		case "/broken":
			w.WriteHeader(503)
			fmt.Fprint(w, "sorry")
		case "/elsewhere":
			http.Redirect(w, r, "/json", http.StatusFound)
		case "/packed":
			w.Header().Set("Content-Encoding", "gzip")
			w.Write([]byte{0x1f, 0x8b})
		case "/large":
			w.Write(make([]byte, 1<<20+1))
		case "/full":
			w.Write(make([]byte, 1<<20))
		case "/hops":
			w.Header().Set("Keep-Alive", "timeout=5")
			w.Header().Set("X-Kept", "1")
		}
	})
	for path, c := range map[string]struct {
		http    int
		status  rouse.Status
		kind    string
		failure string
		size    int64
	}{
		"/json":      {200, rouse.StatusAnswered, "", "", 7},
		"/not-json":  {200, rouse.StatusAnswered, "text/plain; charset=utf-8", "", 5},
		"/image":     {200, rouse.StatusAnswered, "image/png", "", 2},
		"/missing":   {404, rouse.StatusAnswered, "text/plain; charset=utf-8", "", 0},
		"/broken":    {503, rouse.StatusFailed, "text/plain; charset=utf-8", "HTTPStatus", 5},
		"/elsewhere": {302, rouse.StatusAnswered, "text/html; charset=utf-8", "", 28},
		"/packed":    {200, rouse.StatusAnswered, "application/octet-stream", "", 2},
		"/large":     {200, rouse.StatusFailed, "", "AnswerTooLarge", 1 << 20},
		"/full":      {200, rouse.StatusAnswered, "application/octet-stream", "", 1 << 20},
		"/hops":      {200, rouse.StatusAnswered, "text/plain; charset=utf-8", "", 0},
	} {
		in := rouse.Invocation{Event: rouse.Event{HTTP: &rouse.Request{Method: "GET", Path: path}}}
		check := func(how string, a rouse.Answer) {
			failure := ""
			if a.Failure != nil {
				failure = a.Failure.Type
			}
			if a.Status != c.status || failure != c.failure || a.Size > c.size || failure != "AnswerTooLarge" && a.Size != c.size {
				t.Errorf("%s %s: %v, %+v, %d bytes, want %+v", path, how, a.Status, a.Failure, a.Size, c)
			}
		}
		a := answer(t, i, in)
		check("held", a)
		if a.ContentType != c.kind {
			t.Errorf("%s: content type %q, want %q", path, a.ContentType, c.kind)
		}
		r := &reply{}
		in.Reply = r
		a = answer(t, i, in)
		if path == "/large" { // what streams has no limit
			c.status, c.failure, c.size = rouse.StatusAnswered, "", int64(r.body.Len())
		}
		check("streamed", a)
		if r.status != c.http || a.Result != nil || int64(r.body.Len()) != a.Size {
			t.Errorf("%s: status %d, %d bytes in the reply, result %q", path, r.status, r.body.Len(), a.Result)
		}
		if path == "/hops" && (r.header["Keep-Alive"] != nil || r.header["X-Kept"] == nil) {
			t.Errorf("headers %v", r.header)
		}
	}
}

func TestAnswerIsStreamed(t *testing.T) {
	next := make(chan struct{})
	i, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for _, s := range []string{"one", "two", "three"} {
			fmt.Fprint(w, s)
			w.(http.Flusher).Flush()
			<-next // the next piece is made only when this one has arrived
		}
	})
	r := &reply{written: func() { next <- struct{}{} }}
	a := answer(t, i, rouse.Invocation{Reply: r})
	if r.body.String() != "onetwothree" || a.Status != rouse.StatusAnswered {
		t.Errorf("%q, %+v", r.body.String(), a)
	}
	a = answer(t, i, rouse.Invocation{Reply: &reply{err: errors.New("gone"), written: nil}})
	if a.Status != rouse.StatusFailed || a.Failure.Type != "ReplyClosed" {
		t.Errorf("%+v", a)
	}
	close(next)
}

func TestConnectionLost(t *testing.T) {
	var r *room
	i, r := serve(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/die" {
			r.dies(rouse.Exit{Signal: "SIGSEGV"})
		}
		if q.URL.Path == "/half" || q.URL.Path == "/die" {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "half")
			w.(http.Flusher).Flush()
		}
		c, b, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if q.URL.Path == "/garbage" {
			b.WriteString("220 mail ready\r\n\r\n")
			b.Flush()
		}
		c.Close()
	})
	for _, c := range []struct{ path, kind, says string }{
		{"/close", "Crashed", "closed the connection"},
		{"/half", "Crashed", "closed the connection"},
		{"/garbage", "InvalidAnswer", "not HTTP/1.1"},
		{"/die", "Crashed", "SIGSEGV"},
	} {
		a := answer(t, i, rouse.Invocation{Event: rouse.Event{HTTP: &rouse.Request{Method: "POST", Path: c.path}}})
		if a.Failure == nil || a.Failure.Type != c.kind || !strings.Contains(a.Failure.Message, c.says) {
			t.Errorf("%s: %v %+v", c.path, a.Status, a.Failure)
		}
	}
}

func TestContextEnds(t *testing.T) {
	asked := make(chan struct{})
	i, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			fmt.Fprint(w, "half")
			w.(http.Flusher).Flush()
		}
		close(asked)
		<-r.Context().Done() // the connection is closed
	})
	for _, path := range []string{"/", "/body"} {
		asked = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-asked; cancel() }()
		if _, err := i.Answer(ctx, rouse.Invocation{Event: rouse.Event{HTTP: &rouse.Request{Path: path}}}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestBoot(t *testing.T) {
	boot := func(ctx context.Context, r *room) error {
		_, err := Contract{}.Boot(ctx, rouse.Function{}, r, nil)
		select {
		case <-r.done:
		default:
			if err != nil {
				t.Error("the sandbox was left open")
			}
		}
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	late := &room{addr: l.Addr().String(), done: make(chan struct{})}
	late.refuse.Store(5)
	if err := boot(t.Context(), late); err != nil {
		t.Error("code that listens late:", err)
	}
	dead := &room{done: make(chan struct{})}
	dead.refuse.Store(1 << 40)
	dead.dies(rouse.Exit{Code: 3})
	err = boot(t.Context(), dead)
	if e, ok := errors.AsType[*rouse.BootError](err); !ok || e.Status != rouse.StatusCrashed || !strings.Contains(e.Message, "code 3 before it listened") {
		t.Errorf("code that ends: %v", err)
	}
	deaf := &room{done: make(chan struct{})}
	deaf.refuse.Store(1 << 40)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = boot(ctx, deaf)
	if e, ok := errors.AsType[*rouse.BootError](err); !ok || e.Status != rouse.StatusTimedOut || !strings.Contains(e.Message, "$PORT") {
		t.Errorf("code that does not listen: %v", err)
	}
}

// FuzzRequest sends events that nobody checked: whatever is in them, the code
// sees exactly one request, with none of the platform's headers forged.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/", "a=1", "Accept", "*/*", []byte("x"))
	f.Add("PO ST", "\x00", "a b", "X-Rouse-Activation", "forged", []byte{})
	f.Add("", "no/slash", "\r\nX: y", "Transfer-Encoding", "chunked", []byte("0\r\n\r\nGET / HTTP/1.1\r\n\r\n"))
	f.Add("GET", "/%zz", "%zz", "Host", "a\r\nb", []byte{})
	f.Add("GET", "//x", "", "Connection", "X-Rouse-Activation", []byte{})
	var seen atomic.Int64
	var body atomic.Pointer[[]byte]
	i, _ := serve(f, func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body.Store(&b)
		if r.Header.Get(headerActivation) == "true" && len(r.Header[headerActivation]) == 1 {
			seen.Add(1)
		}
	})
	f.Fuzz(func(t *testing.T, method, path, query, name, value string, data []byte) {
		before := seen.Load()
		in := rouse.Invocation{ID: "true", Event: rouse.Event{Data: data, HTTP: &rouse.Request{
			Method: method, Path: path, Query: query, Header: map[string][]string{name: {value}}, Remote: value,
		}}}
		a, err := i.Answer(t.Context(), in)
		switch {
		case err != nil && rouse.KindOf(err) != rouse.Invalid:
			t.Errorf("got %v", err)
		case err != nil && seen.Load() != before:
			t.Error("refused, but sent")
		case err == nil && a.Failure == nil && seen.Load() != before+1:
			t.Errorf("the code saw %d requests", seen.Load()-before)
		case err == nil && a.Failure == nil && !bytes.Equal(*body.Load(), data):
			t.Errorf("the code saw body %q", *body.Load())
		}
	})
}
