package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/trigger/triggertest"
)

func TestARequestIsAnEvent(t *testing.T) {
	s := triggertest.Open(t)
	url := triggertest.Serve(t, New(Config{Emitter: s}), `{"methods": ["post", "PUT"], "path": "/orders/{id}/{rest...}"}`)
	status, body, _ := triggertest.Do(t, "POST", url+"/orders/7/a/b?x=1&y=2&y=3", `{"n": [1]}`, "Authorization", "Bearer secret", "Cookie", "secret", "X-Mark", "m")
	es := s.All(t)
	if status != 202 || len(es) != 1 || body != `{"event":"`+es[0].ID+`"}` {
		t.Fatalf("%d %s %v", status, body, es)
	}
	e := es[0]
	var d map[string]any
	if err := json.Unmarshal(e.Data, &d); err != nil {
		t.Fatal(err)
	}
	headers := d["headers"].(map[string]any)
	if e.Type != "http.request" || e.Source != "trigger:shop" || e.Subject != "POST /orders/7/a/b" || headers["x-mark"] != "m" || strings.Contains(string(e.Data), "secret") {
		t.Errorf("%+v %s", e, e.Data)
	}
	delete(d, "headers")
	delete(d, "remote")
	got, _ := json.Marshal(d)
	if want := `{"body":{"n":[1]},"encoding":"json","method":"POST","path":"/orders/7/a/b","query":{"x":"1","y":["2","3"]},"values":{"id":"7","rest":"a/b"}}`; string(got) != want {
		t.Errorf("%s", got)
	}
	for _, c := range []struct {
		method, path string
		status       int
	}{{"GET", "/orders/7/", 405}, {"POST", "/orders", 404}, {"POST", "/orders//x", 404}, {"POST", "/order/7/x", 404}, {"PUT", "/orders/7", 202}} {
		if status, body, h := triggertest.Do(t, c.method, url+c.path, "x"); status != c.status || status == 405 && h.Get("Allow") != "POST, PUT" {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, body)
		}
	}
}

func TestBodies(t *testing.T) {
	s := triggertest.Open(t)
	url := triggertest.Serve(t, New(Config{Emitter: s}), `{}`)
	for body, want := range map[string]string{"plain": `"body":"plain","encoding":"text"`, "\xff": `"body":"/w==","encoding":"base64"`, "": `"path":"","headers"`, `"<"`: `"body":"<","encoding":"json"`} {
		_, _, h := triggertest.Do(t, "POST", url, body)
		e, err := s.Find(t.Context(), "default", h.Get("X-Rouse-Event"))
		if err != nil || !strings.Contains(string(e.Data), want) {
			t.Errorf("%q: %s %v", body, e.Data, err)
		}
	}
	for _, size := range []int{1 << 20, 1<<20 + 1} { // the first is too large with what is around it
		if status, body, _ := triggertest.Do(t, "POST", url, strings.Repeat("x", size)); status != 413 || !strings.Contains(body, "too large") {
			t.Errorf("%d bytes: %d %s", size, status, body)
		}
	}
}

func TestAnswers(t *testing.T) {
	s := triggertest.Open(t)
	for config, want := range map[string]string{
		`{"respond": {"status": 200, "body": {"ok": true}}}`: `200 {"ok":true} application/json`,
		`{"respond": {"body": "thanks"}}`:                    `202 thanks text/plain; charset=utf-8`,
		`{"respond": {"status": 204}}`:                       `204  `,
	} {
		status, body, h := triggertest.Do(t, "POST", triggertest.Serve(t, New(Config{Emitter: s}), config), "")
		if got := fmt.Sprintf("%d %s %s", status, body, h.Get("Content-Type")); got != want {
			t.Errorf("%s: %s", config, got)
		}
	}
	for err, want := range map[error]string{
		rouse.Errorf(rouse.Unavailable, "emit", "x", "away"): `503 {"error":{"kind":"unavailable","message":"emit x: away"}}`,
		errors.New("secret"): `500 {"error":{"kind":"internal","message":"internal error"}}`,
	} {
		s.Down = err
		status, body, _ := triggertest.Do(t, "POST", triggertest.Serve(t, New(Config{Emitter: s}), `{}`), "")
		if got := fmt.Sprintf("%d %s", status, body); got != want {
			t.Errorf("%v: %s", err, got)
		}
	}
}

func TestARepeatedRequestIsOneEvent(t *testing.T) {
	s := triggertest.Open(t)
	url := triggertest.Serve(t, New(Config{Emitter: s}), `{"id": "Idempotency-Key"}`)
	for range 2 {
		if status, body, _ := triggertest.Do(t, "POST", url, "", "Idempotency-Key", "k1"); status != 202 || body != `{"event":"k1"}` {
			t.Errorf("%d %s", status, body)
		}
		triggertest.Do(t, "POST", url, "")
	}
	if n := len(s.All(t)); n != 3 {
		t.Errorf("%d events", n)
	}
	if status, _, _ := triggertest.Do(t, "POST", url, "", "Idempotency-Key", strings.Repeat("k", 300)); status != 400 {
		t.Errorf("%d", status)
	}
}

func TestCheckNamesTheField(t *testing.T) {
	for config, field := range map[string]string{
		`{"methods": []}`: "methods", `{"methods": ["G T"]}`: "methods", `{"path": "x"}`: "path", `{"path": "/{a}/{a}"}`: "path", `{"path": "/{a...}/b"}`: "path",
		`{"path": "/x{a}"}`: "path", `{"path": "/{}"}`: "path", `{"respond": {"status": 500}}`: "respond.status", `{"respond": {"state": 1}}`: "respond", `{"publik": true}`: "publik",
	} {
		_, err := New(Config{}).Check(json.RawMessage(config))
		e, ok := errors.AsType[*rouse.Error](err)
		if !ok || e.Kind != rouse.Invalid || e.On != field {
			t.Errorf("%s: %v", config, err)
		}
	}
	source := New(Config{})
	for config, open := range map[string]bool{`{}`: false, `{"public": true}`: true, `{"public": 1}`: false} {
		if got := source.Open(event.Trigger{Config: json.RawMessage(config)}); got != open {
			t.Errorf("%s is open: %v", config, got)
		}
	}
}

// A slash that is written as %2F is none between two parts.
func TestEscapedPaths(t *testing.T) {
	s := triggertest.Open(t)
	url := triggertest.Serve(t, New(Config{Emitter: s}), `{"path": "/orders/{id}/{rest...}"}`)
	for path, want := range map[string]string{"/orders/7%2F%C3%BC/a": `{"id":"7/ü","rest":"a"}`, "/orders/7/a%2Fb/c": `{"id":"7","rest":"a/b/c"}`, "/orders/%7B/": `{"id":"{","rest":""}`} {
		if status, body, _ := triggertest.Do(t, "POST", url+path, "x"); status != 202 {
			t.Errorf("%s: %d %s", path, status, body)
			continue
		}
		found := false
		for _, e := range s.All(t) {
			found = found || strings.Contains(string(e.Data), `"values":`+want)
		}
		if !found {
			t.Errorf("%s: %s is not among %v", path, want, s.All(t))
		}
	}
	if status, _, _ := triggertest.Do(t, "POST", url+"/orders%2F7/a", "x"); status != 404 {
		t.Errorf("another path is taken: %d", status)
	}
}
