package client_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/nativetest"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func dial(t *testing.T) (*nativetest.Platform, *client.Client) {
	t.Helper()
	p := nativetest.New()
	p.Code("fails", func(_ context.Context, _ rouse.Invocation, print func(string)) rouse.Answer {
		print("about to fail")
		return rouse.Answer{Status: rouse.StatusFailed, Failure: &rouse.Failure{Type: "ValueError", Message: "no", Stack: "line 1\nline 2"}}
	})
	p.Code("busy", func(context.Context, rouse.Invocation, func(string)) rouse.Answer {
		return rouse.Answer{Status: rouse.StatusThrottled}
	})
	s := httptest.NewServer(native.New(native.Services{Services: p.Services()}, native.Config{MaxPayload: 1000, MaxCode: 1 << 20}))
	t.Cleanup(s.Close)
	c, err := client.New(s.URL, nativetest.Token, s.Client())
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

func code(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	_, err := z.Create("main.py")
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func deploy(t *testing.T, c *client.Client, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := c.Deploy(t.Context(), name, wire.Options{}, bytes.NewReader(code(t)), nil); err != nil {
			t.Fatal(err)
		}
	}
}

func want(t *testing.T, err error, k rouse.Kind, says string) {
	t.Helper()
	if e, ok := errors.AsType[*rouse.Error](err); !ok || e.Kind != k || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want %v saying %q", err, k, says)
	}
}

func TestDeployAndReadBack(t *testing.T) {
	_, c := dial(t)
	o := wire.Options{
		Runtime: "steps", Handler: "app.run", Contract: "http", Env: map[string]string{"A": "1"}, Egress: true, Public: true,
		Limits: rouse.Limits{Memory: 64 << 20, Timeout: rouse.Duration(1500 * time.Millisecond), Concurrency: 2},
		Retry:  rouse.Retry{Attempts: 2, Backoff: rouse.Duration(time.Second)},
	}
	var steps []string
	f, err := c.Deploy(t.Context(), "app", o, bytes.NewReader(code(t)), func(s string) { steps = append(steps, s) })
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(steps, []string{"resolving dependencies", "installing dependencies"}); d != "" {
		t.Error(d)
	}
	got := wire.Options{Runtime: f.Runtime, Handler: f.Handler, Contract: f.Contract, Env: f.Env, Limits: f.Limits, Egress: f.Egress, Public: f.Public, Retry: f.Retry}
	if d := cmp.Diff(got, o); d != "" {
		t.Error(d)
	}
	again, err := c.Function(t.Context(), "app", "1")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(again, f); d != "" {
		t.Error(d)
	}
	deploy(t, c, "app", "b", "c")
	if vs, err := c.Versions(t.Context(), "app"); err != nil || len(vs) != 2 || vs[1].Version != 2 {
		t.Errorf("versions %v, %v", vs, err)
	}
	page, err := c.Functions(t.Context(), "app", 1)
	if err != nil || len(page.Functions) != 1 || page.Functions[0].Name != "b" || page.Next != "b" {
		t.Errorf("page %+v, %v", page, err)
	}
	if err := c.Remove(t.Context(), "app"); err != nil {
		t.Error(err)
	}
	_, err = c.Function(t.Context(), "app", "")
	want(t, err, rouse.NotFound, "default/app: there is no such function")
}

func TestDeployFails(t *testing.T) {
	_, c := dial(t)
	for _, o := range []wire.Options{{}, {Runtime: "steps"}} { // before and after the answer began
		_, err := c.Deploy(t.Context(), "app", o, strings.NewReader("no zip"), nil)
		want(t, err, rouse.Invalid, "not a zip archive")
	}
	_, err := c.Deploy(t.Context(), "app", wire.Options{Runtime: "cobol"}, bytes.NewReader(code(t)), nil)
	want(t, err, rouse.Invalid, "python3.12")
	_, err = c.Deploy(t.Context(), "app", wire.Options{}, bytes.NewReader(make([]byte, 32<<20)), nil)
	want(t, err, rouse.TooLarge, "1048576 bytes")
	_, err = c.Deploy(t.Context(), "app", wire.Options{}, io.MultiReader(strings.NewReader("PK"), broken{}), nil)
	want(t, err, rouse.Denied, "the disk says no")
	_, err = c.Deploy(t.Context(), "not a name", wire.Options{}, bytes.NewReader(code(t)), nil)
	want(t, err, rouse.Invalid, "a name is")
	_, err = c.Function(t.Context(), "app", "")
	want(t, err, rouse.NotFound, "app")
}

// broken fails as a file can that is being packed.
type broken struct{}

func (broken) Read([]byte) (int, error) {
	return 0, rouse.Errorf(rouse.Denied, "read code", "main.py", "the disk says no")
}

// A server that refuses does so before the code is sent.
func TestDeployAsksBeforeItSends(t *testing.T) {
	_, good := dial(t)
	c, err := client.New(good.Server(), "wrong", nil)
	if err != nil {
		t.Fatal(err)
	}
	sent := &counter{r: bytes.NewReader(make([]byte, 64<<20))}
	_, err = c.Deploy(t.Context(), "app", wire.Options{}, sent, nil)
	want(t, err, rouse.Unauthenticated, "token")
	if sent.n > 1<<20 {
		t.Errorf("%d bytes were sent in vain", sent.n)
	}
}

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func TestInvoke(t *testing.T) {
	_, c := dial(t)
	deploy(t, c, "echo", "fails", "busy")
	a, err := c.Invoke(t.Context(), client.Call{Function: "echo", Payload: []byte(`{"a": 1 }`)})
	if err != nil || a.Status != rouse.StatusAnswered || string(a.Result) != `{"a": 1 }` || a.ContentType != "" || !a.Cold || a.Init != rouse.Duration(2*time.Millisecond) || a.ID == "" {
		t.Errorf("json: %+v, %v", a, err)
	}
	a, err = c.Invoke(t.Context(), client.Call{Function: "echo", Qualifier: "1", Payload: []byte{0xff}, ContentType: "image/png"})
	if err != nil || string(a.Result) != "\xff" || a.ContentType != "image/png" || a.Cold {
		t.Errorf("bytes: %+v, %v", a, err)
	}
	a, err = c.Invoke(t.Context(), client.Call{Function: "fails"})
	if d := cmp.Diff(a.Failure, &rouse.Failure{Type: "ValueError", Message: "no", Stack: "line 1\nline 2"}); err != nil || a.Status != rouse.StatusFailed || d != "" {
		t.Errorf("failure: %+v, %v, %s", a, err, d)
	}
	a, err = c.Invoke(t.Context(), client.Call{Function: "busy"})
	want(t, err, rouse.Throttled, "busy")
	if a.ID == "" {
		t.Error("the throttled invocation's activation is not named")
	}
	_, err = c.Invoke(t.Context(), client.Call{Function: "echo", Qualifier: "9"})
	want(t, err, rouse.NotFound, "default/echo:9")
	_, err = c.Invoke(t.Context(), client.Call{Function: "echo", Payload: bytes.Repeat([]byte("1"), 1001)})
	want(t, err, rouse.TooLarge, "1000 bytes")
}

func TestRecordHasAllOfTheActivation(t *testing.T) {
	_, c := dial(t)
	deploy(t, c, "echo", "fails")
	for _, k := range []client.Call{
		{Function: "echo", Payload: []byte(`{"a":"<&>"}`)},
		{Function: "echo", Payload: []byte("text & more"), ContentType: "text/plain"},
		{Function: "echo", Payload: []byte{0xff, 0x00}, ContentType: "image/png"},
		{Function: "echo", Payload: []byte("null")},
		{Function: "echo"},
		{Function: "fails"},
	} {
		a, err := c.Record(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		if a.Status == rouse.StatusAnswered && !bytes.Equal(a.Result, k.Payload) {
			t.Errorf("result %q, want %q", a.Result, k.Payload)
		}
		stored, err := c.Activation(t.Context(), a.ID, time.Second)
		if d := cmp.Diff(stored, a); err != nil || d != "" {
			t.Errorf("the stored one differs: %v %s", err, d)
		}
		listed, next, err := c.Activations(t.Context(), rouse.ActivationQuery{Function: k.Function, Limit: 1, Statuses: []rouse.Status{rouse.StatusAnswered, rouse.StatusFailed}, Since: a.Started})
		if err != nil || len(listed) != 1 || next != a.ID || cmp.Diff(listed[0], a) != "" {
			t.Errorf("listed: %+v, %q, %v", listed, next, err)
		}
	}
	_, err := c.Activation(t.Context(), strings.Repeat("0", 32), 0)
	want(t, err, rouse.NotFound, "no such activation")
}

func TestAsyncAndDeadLetters(t *testing.T) {
	_, c := dial(t)
	deploy(t, c, "echo", "fails")
	id, err := c.Accept(t.Context(), client.Call{Function: "echo", Payload: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.Activation(t.Context(), id, time.Minute); err != nil || string(a.Result) != "1" {
		t.Errorf("%+v, %v", a, err)
	}
	ids, err := c.AcceptBatch(t.Context(), "fails", "1", [][]byte{[]byte("{\n\"n\": 1\n}"), []byte("2"), []byte("3")})
	if err != nil || len(ids) != 3 {
		t.Fatalf("batch: %v, %v", ids, err)
	}
	_, err = c.AcceptBatch(t.Context(), "fails", "", [][]byte{[]byte("1"), []byte("{")})
	want(t, err, rouse.Invalid, "payload 1 is not JSON")
	ds, next, err := c.DeadLetters(t.Context(), "fails", 0, 2)
	if err != nil || len(ds) != 2 || next != ds[1].ID {
		t.Fatalf("dead letters: %+v, %d, %v", ds, next, err)
	}
	var in rouse.Invocation
	if err := json.Unmarshal(ds[0].Body, &in); err != nil || string(in.Event.Data) != `{"n":1}` || in.ID != ids[0] {
		t.Errorf("the first letter: %+v, %v", in, err)
	}
	if n, err := c.Redrive(t.Context(), "fails", ds[0].ID); err != nil || n != 1 {
		t.Errorf("redrive one: %d, %v", n, err)
	}
	if n, err := c.Redrive(t.Context(), "fails"); err != nil || n != 2 {
		t.Errorf("redrive all: %d, %v", n, err)
	}
}

func TestLogs(t *testing.T) {
	p, c := dial(t)
	deploy(t, c, "fails")
	a, err := c.Invoke(t.Context(), client.Call{Function: "fails"})
	if err != nil {
		t.Fatal(err)
	}
	ls, err := c.ActivationLines(t.Context(), a.ID, time.Second)
	if err != nil || len(ls) != 1 || ls[0].Text != "about to fail" || ls[0].Stream != rouse.Stdout {
		t.Fatalf("%+v, %v", ls, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	err = c.Logs(ctx, "fails", client.LogQuery{Follow: true, Since: ls[0].Time, Limit: 10}, func(l rouse.Line) bool {
		got = append(got, l.Text)
		switch l.Text {
		case "about to fail":
			<-p.Following()
			l.Text = "more"
			p.Print(l)
		case "more":
			cancel()
		}
		return true
	})
	if d := cmp.Diff(got, []string{"about to fail", "more"}); err != nil || d != "" {
		t.Errorf("followed: %v %s", err, d)
	}
	err = c.Logs(t.Context(), "nosuch", client.LogQuery{Follow: true}, func(rouse.Line) bool { return true })
	want(t, err, rouse.NotFound, "nosuch")
}

func TestAliases(t *testing.T) {
	_, c := dial(t)
	deploy(t, c, "echo", "echo")
	a, err := c.SetAlias(t.Context(), "echo", "prod", wire.AliasTarget{Version: 1, Other: 2, Weight: 0.25})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Alias(t.Context(), "echo", "prod"); err != nil || got != a {
		t.Errorf("%+v, %v", got, err)
	}
	if as, err := c.Aliases(t.Context(), "echo"); err != nil || len(as) != 1 || as[0] != a || a.Weight != 0.25 {
		t.Errorf("%+v, %v", as, err)
	}
	if err := c.RemoveAlias(t.Context(), "echo", "prod"); err != nil {
		t.Error(err)
	}
	_, err = c.Alias(t.Context(), "echo", "prod")
	want(t, err, rouse.NotFound, "no such alias")
}

func TestNamespacesAreKeptApart(t *testing.T) {
	_, c := dial(t)
	other := *c
	other.Namespace = "other"
	deploy(t, &other, "echo")
	_, err := c.Function(t.Context(), "echo", "")
	want(t, err, rouse.NotFound, "default/echo")
	if f, err := other.Function(t.Context(), "echo", ""); err != nil || f.Namespace != "other" {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestServersThatGoAway(t *testing.T) {
	asked := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		if strings.HasSuffix(r.URL.Path, "/logs") {
			return // the log ends
		}
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	c, err := client.New(s.URL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Invoke(t.Context(), client.Call{Function: "echo"})
	want(t, err, rouse.Unavailable, "it may have done what was asked for")
	if client.Unreachable(err) || len(asked) != 1 {
		t.Errorf("%v, and it was asked %d times", err, len(asked))
	}
	err = c.Logs(t.Context(), "echo", client.LogQuery{Follow: true}, func(rouse.Line) bool { return true })
	want(t, err, rouse.Unavailable, "follow again when it is back")
	if err := c.Logs(t.Context(), "echo", client.LogQuery{}, func(rouse.Line) bool { return true }); err != nil {
		t.Error(err)
	}
}

func TestServersThatAreNone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	c, err := client.New(address, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Node(t.Context())
	want(t, err, rouse.Unavailable, "connection refused")
	if !client.Unreachable(err) {
		t.Errorf("%v does not say that nobody answered", err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "<h1>hello", 404) }))
	defer web.Close()
	if c, err = client.New(web.URL, "", nil); err != nil {
		t.Fatal(err)
	}
	_, err = c.Node(t.Context())
	want(t, err, rouse.Unavailable, "is the address right?")
	if client.Unreachable(err) {
		t.Error("it did answer")
	}
	for _, bad := range []string{"ftp://x", "http://", "::", "http://a b"} {
		_, err := client.New(bad, "", nil)
		want(t, err, rouse.Invalid, "it must be an address")
	}
	if c, err := client.New("", "", nil); err != nil || c.Server() != client.DefaultServer {
		t.Errorf("default server: %v, %v", c, err)
	}
}
