package native

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/rouse-run/rouse/dialect/native/nativetest"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// answered sends a request straight to the handler and checks what holds for
// any: no panic, no 500, and an error is one in JSON.
func answered(t *testing.T, h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	r.Header.Set("Authorization", "Bearer "+nativetest.Token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code >= 400 {
		var e wire.ErrorBody
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Error.Kind == "" || e.Error.Message == "" {
			t.Fatalf("%s %s: %d without a JSON error: %s", r.Method, r.URL, w.Code, w.Body)
		}
		if w.Code == 500 {
			t.Fatalf("%s %s: %s", r.Method, r.URL, w.Body)
		}
	}
	return w
}

func FuzzDeploy(f *testing.F) {
	p, _ := platform(f, Config{})
	h := New(p.Services(), Config{MaxCode: 1 << 16})
	zip := string(archive(f, "main.py", "x"))
	for _, parts := range [][]string{
		{"options", `{"runtime":"python3","limits":{"timeout":"3s"}}`, "code", zip},
		{"options", `{"retry":{"attempts":-1}}`, "code", zip},
		{"code", zip}, {"code", ""}, {"options", "{"}, {"x", "y"}, {},
	} {
		contentType, body := form(f, parts...)
		f.Add(contentType, []byte(body))
		f.Add(contentType, []byte(body[:len(body)/2]))
	}
	f.Add("multipart/form-data; boundary=", []byte("--\r\n"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		r := httptest.NewRequest("PUT", "/v1/functions/new", bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		w := answered(t, h, r)
		if w.Code == 200 {
			last := bytes.Split(bytes.TrimSpace(w.Body.Bytes()), []byte("\n"))
			var e wire.DeployEvent
			if err := json.Unmarshal(last[len(last)-1], &e); err != nil || (e.Function == nil) == (e.Error == nil) {
				t.Fatalf("the answer's end is no function and no error: %s", w.Body)
			}
		}
	})
}

func FuzzBatch(f *testing.F) {
	p, _ := platform(f, Config{})
	h := New(p.Services(), Config{MaxPayload: 100, MaxBatch: 1000})
	for _, s := range []string{"", "\n", "1", "1\n2\n", "{\"a\":1}\r\n\r\n[]", "{", strings.Repeat("1", 101), strings.Repeat("1\n", 600), "\x00\n1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		w := answered(t, h, httptest.NewRequest("POST", "/v1/functions/echo/batch", bytes.NewReader(body)))
		if w.Code != http.StatusAccepted {
			return
		}
		var out wire.AcceptedBatch
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, l := range bytes.Split(body, []byte("\n")) {
			if len(bytes.TrimSpace(l)) > 0 {
				want++
			}
		}
		if len(out.Activations) != want || len(body) > 1000 {
			t.Fatalf("%d accepted of %d lines in %d bytes", len(out.Activations), want, len(body))
		}
	})
}

// FuzzRequest makes any request at all: its path, its query and its headers.
func FuzzRequest(f *testing.F) {
	p, _ := platform(f, Config{})
	p.Code("echo", nil)
	h := New(p.Services(), Config{MaxPayload: 1000})
	for _, s := range []string{"/fn/echo/a%2fb", "/fn/echo:1", "/fn/:", "/fn//", "/v1/functions/echo", "/v1/functions/%2e%2e", "/v1/activations/0123456789abcdef0123456789abcdef",
		"/v1/activations", "/v1/functions/echo/logs", "/v1//x", "/", "*", "/v1/functions/echo/aliases/x"} {
		for _, m := range []string{"GET", "POST", "PUT"} {
			f.Add(m, s, "limit=1&since=1h", "Connection", "close, X-A", []byte(`{"version":1}`))
		}
	}
	f.Add("GET", "/v1/activations", "status=failed,timed-out&before=x", "Content-Type", "multipart/form-data; boundary=x", []byte("--x--"))
	f.Fuzz(func(t *testing.T, method, path, query, key, value string, body []byte) {
		if strings.Contains(query, "follow") || strings.Contains(query, "wait") {
			t.Skip("these wait, as they are told to")
		}
		r := httptest.NewRequest("GET", "/", bytes.NewReader(body))
		r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
		r.Header[http.CanonicalHeaderKey(key)] = []string{value}
		answered(t, h, r)
	})
}
