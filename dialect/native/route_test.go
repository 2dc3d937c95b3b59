package native

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/nativetest"
)

// inspect answers with the Event it was given, as JSON.
func inspect(_ context.Context, in rouse.Invocation, _ func(string)) rouse.Answer {
	b, err := json.Marshal(in)
	if err != nil {
		panic(err)
	}
	in.Reply.Start(201, map[string][]string{"X-Color": {"red", "blue"}, "Connection": {"close"}, "Rouse-Activation": {"forged"}})
	_, _ = in.Reply.Write(b)
	return rouse.Answer{Status: rouse.StatusAnswered}
}

func TestRouteHandsTheRequestOver(t *testing.T) {
	p, s := platform(t, Config{})
	p.Code("echo", inspect)
	for _, c := range []struct {
		url, path, query, qualifier string
	}{
		{"/fn/echo", "/", "", ""},
		{"/fn/echo/", "/", "", ""},
		{"/fn/echo/a/b?x=1&x=2&namespace=mine", "/a/b", "x=1&x=2&namespace=mine", ""},
		{"/fn/echo/a//../b%20c?q=%zz", "/a//../b c", "q=%zz", ""},
		{"/fn/echo:1/a:2", "/a:2", "", "1"},
	} {
		r := request(t, "PROPFIND", s.URL+"/", "the body")
		path, query, _ := strings.Cut(c.url, "?")
		r.URL.Opaque, r.URL.RawQuery = "//"+r.URL.Host+path, query
		r.Header.Set("Content-Type", "text/plain")
		r.Header.Set("Connection", "X-Secret")
		r.Header.Set("X-Secret", "for the proxy only")
		r.Header.Set("Te", "trailers")
		r.Header["X-Many"] = []string{"1", "2"}
		resp, body := do(t, r)
		var in rouse.Invocation
		if err := json.Unmarshal([]byte(body), &in); err != nil {
			t.Fatalf("%s: %v in %s", c.url, err, body)
		}
		h := in.Event.HTTP
		if h.Method != "PROPFIND" || h.Path != c.path || h.Query != c.query || in.Qualifier != c.qualifier || h.Remote == "" {
			t.Errorf("%s: %+v, qualifier %q", c.url, h, in.Qualifier)
		}
		if string(in.Event.Data) != "the body" || in.Event.ContentType != "text/plain" {
			t.Errorf("%s: data %q of %q", c.url, in.Event.Data, in.Event.ContentType)
		}
		if !slices.Equal(h.Header["X-Many"], []string{"1", "2"}) || len(h.Header["Host"]) != 1 {
			t.Errorf("%s: headers %v", c.url, h.Header)
		}
		for _, gone := range []string{"Connection", "X-Secret", "Te", "Authorization"} {
			if h.Header[gone] != nil {
				t.Errorf("%s: header %s came through", c.url, gone)
			}
		}
		if resp.StatusCode != 201 || !slices.Equal(resp.Header["X-Color"], []string{"red", "blue"}) || resp.Close {
			t.Errorf("%s: answer %d %v", c.url, resp.StatusCode, resp.Header)
		}
		if id := resp.Header.Get("Rouse-Activation"); id != in.ID || checkID(id) != nil {
			t.Errorf("%s: activation %q, the invocation's was %q", c.url, id, in.ID)
		}
	}
}

func TestRouteOfAPublicFunction(t *testing.T) {
	p, s := platform(t, Config{})
	p.Code("open", inspect)
	p.Code("openfails", func(context.Context, rouse.Invocation, func(string)) rouse.Answer {
		return rouse.Answer{Status: rouse.StatusFailed, Failure: &rouse.Failure{Type: "KeyError", Message: "name", Stack: "secret path"}}
	})
	for _, name := range []string{"open", "openfails"} {
		add(t, p, rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: name}, Public: true})
	}
	for name, public := range map[string]bool{"closed": false, "mended": true} {
		p.Code(name, inspect)
		f := rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: name}, Public: true}
		add(t, p, f)
		f.Public = public
		add(t, p, f) // version 2
		if err := p.SetAlias(t.Context(), rouse.Alias{Function: f.Ref, Name: "first", Version: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		url, token, want string
		status           int
	}{
		{"/fn/open:1", "none", `"qualifier":"1"`, 201},
		{"/fn/open:1", "their-own", `"Authorization":["Bearer their-own"]`, 201},
		{"/fn/closed", "none", "unauthenticated", 401},
		{"/fn/closed", nativetest.Token, `"method":"GET"`, 201},
		{"/fn/closed:1", "none", "unauthenticated", 401}, // or it would never be closed
		{"/fn/closed:1", nativetest.Token, `"qualifier":"1"`, 201},
		{"/fn/closed:first", "none", `"qualifier":"1"`, 201}, // somebody wants it so
		{"/fn/mended:1", "none", "unauthenticated", 401},
		{"/fn/mended:2", "none", `"qualifier":"2"`, 201},
		{"/fn/mended", "none", `"qualifier":"2"`, 201},
		{"/fn/openfails", "none", `"type":"KeyError"`, 502},
		{"/fn/openfails", nativetest.Token, `"stack":"secret path"`, 502},
		{"/fn/nosuch", nativetest.Token, "no such function", 404},
		{"/fn/", nativetest.Token, "a name is", 400},
		{"/fn/a%20b", nativetest.Token, "a name is", 400},
	} {
		r := request(t, "GET", s.URL+c.url, "")
		r.Header.Set("Authorization", "Bearer "+c.token)
		resp, body := do(t, r)
		if resp.StatusCode != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s with token %s: %d %s", c.url, c.token, resp.StatusCode, body)
		}
		if c.token != nativetest.Token && strings.Contains(body, "secret path") {
			t.Errorf("%s shows its stack to anyone", c.url)
		}
		if c.token == nativetest.Token && strings.Contains(body, nativetest.Token) {
			t.Errorf("%s sees the platform's token", c.url)
		}
	}
	p.Break(errors.New("no disk"))
	r := request(t, "GET", s.URL+"/fn/open:1", "")
	r.Header.Set("Authorization", "none")
	if resp, body := do(t, r); resp.StatusCode != 500 || !strings.Contains(body, "internal error") {
		t.Errorf("with a broken registry: %d %s", resp.StatusCode, body)
	}
}

func TestRouteBeforeAnAnswerHasBegun(t *testing.T) {
	_, s := platform(t, Config{MaxPayload: 10})
	for name, status := range map[string]int{"fails": 502, "crashes": 502, "hungers": 502, "hangs": 504, "busy": 429, "refused": 503} {
		resp, body := do(t, request(t, "GET", s.URL+"/fn/"+name, ""))
		id := resp.Header.Get("Rouse-Activation")
		if resp.StatusCode != status || checkID(id) != nil || !strings.Contains(body, `"activation":"`+id+`"`) {
			t.Errorf("%s: %d, activation %q, %s", name, resp.StatusCode, id, body)
		}
	}
	if resp, body := do(t, request(t, "POST", s.URL+"/fn/echo", "01234567890")); resp.StatusCode != 413 {
		t.Errorf("too large: %d %s", resp.StatusCode, body)
	}
	// "texts" leaves its result to the Activation.
	if resp, body := do(t, request(t, "GET", s.URL+"/fn/texts", "")); body != "plain & simple" || resp.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("a result without a reply: %v %s", resp.Header, body)
	}
}

// Each piece must reach the client before the function makes the next.
func TestRouteStreams(t *testing.T) {
	p, s := platform(t, Config{})
	next := make(chan bool)
	p.Code("echo", func(ctx context.Context, in rouse.Invocation, _ func(string)) rouse.Answer {
		in.Reply.Start(200, map[string][]string{"Content-Type": {"text/event-stream"}})
		for _, piece := range []string{"data: 1\n", "data: 2\n"} {
			if _, err := io.WriteString(in.Reply, piece); err != nil {
				return rouse.Answer{Status: rouse.StatusFailed}
			}
			<-next
		}
		return rouse.Answer{Status: rouse.StatusAnswered}
	})
	r := request(t, "GET", s.URL+"/fn/echo", "")
	r.Header.Set("Authorization", "Bearer "+nativetest.Token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	for _, want := range []string{"data: 1\n", "data: 2\n"} {
		if got, err := in.ReadString('\n'); got != want || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
		next <- true
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestRouteAfterAnAnswerHasBegun(t *testing.T) {
	p, s := platform(t, Config{})
	for _, c := range []struct {
		name   string
		http   int
		status rouse.Status
		whole  bool
	}{
		{"answers", 200, rouse.StatusAnswered, true},
		{"fails while it streams", 200, rouse.StatusFailed, false},
		{"crashes", 200, rouse.StatusCrashed, false},
		{"times out", 500, rouse.StatusTimedOut, false},
		{"says that it failed", 500, rouse.StatusFailed, true},
		{"throttled", 200, rouse.StatusThrottled, false},
		{"informs", 103, rouse.StatusAnswered, true},
	} {
		p.Code("echo", func(_ context.Context, in rouse.Invocation, _ func(string)) rouse.Answer {
			in.Reply.Start(c.http, nil)
			_, _ = io.WriteString(in.Reply, "half")
			return rouse.Answer{Status: c.status, Failure: &rouse.Failure{Type: "T", Message: "m"}}
		})
		r := request(t, "GET", s.URL+"/fn/echo", "")
		r.Header.Set("Authorization", "Bearer "+nativetest.Token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != "half" || (err == nil) != c.whole {
			t.Errorf("%s: %q, %v", c.name, b, err)
		}
		if want := max(c.http, 200); c.http != 103 && resp.StatusCode != want {
			t.Errorf("%s: status %d", c.name, resp.StatusCode)
		}
		if c.http == 103 && resp.StatusCode != 502 {
			t.Errorf("%s: status %d", c.name, resp.StatusCode)
		}
	}
}
