package native

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/nativetest"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
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
	h := New(Services{Services: p.Services()}, Config{MaxCode: 1 << 16})
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
		r.Header.Set("Accept", wire.NDJSON)
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
	h := New(Services{Services: p.Services()}, Config{MaxPayload: 100, MaxBatch: 1000})
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
	all := services(f, p)
	h := New(all, Config{MaxPayload: 1000})
	fill(f, all)
	for _, s := range []string{"/fn/echo/a%2fb", "/fn/echo:1", "/fn/:", "/fn//", "/v1/functions/echo", "/v1/functions/%2e%2e", "/v1/activations/0123456789abcdef0123456789abcdef",
		"/v1/activations", "/v1/functions/echo/logs", "/v1//x", "/", "*", "/v1/functions/echo/aliases/x"} {
		for _, m := range []string{"GET", "POST", "PUT"} {
			f.Add(m, s, "limit=1&since=1h", "Connection", "close, X-A", []byte(`{"version":1}`))
		}
	}
	for _, op := range operations() {
		path := strings.NewReplacer("{name}", "x", "{alias}", "a", "{id}", "e", "{id...}", "e/1", "{key...}", "k//../k", "{path...}", "a").Replace(op.Path)
		for _, body := range []string{"", `{}`, `{"key":{"k":"a"},"item":{"k":"a"},"if":{"n":{"gt":1}},"return":"old"}`, `{"messages":[{"body":1}],"records":[{"dataBase64":"AA=="}],"events":[{"data":1}]}`,
			`{"key":{"k":"a"}}`, `{"key":"a","sort":{"op":"ge","values":[1]},"limit":1}`, `{"writes":[{"op":"put","table":"x","item":{"k":"b"}}]}`, `{"receipts":["AAAA"]}`, `{"receipt":"AAAA"}`,
			`{"records":[{"key":"a","data":{"a":[1,"<"]}}]}`, `{"messages":[{"body":"x","delay":"1s","ttl":0}]}`, `{"events":[{"id":"e/1","data":1}]}`, `{"kind":"door"}`,
			`{"on":{"trigger":"x"},"to":{"function":"echo"},"when":{"a":[1]}}`, `{"since":"1h"}`, `{"shards":2}`, `{"shard":"000000000000"}`, `{"from":{"key":"k"},"to":"l"}`} {
			f.Add(op.Method, path, "limit=2", "Range", "bytes=0-1", []byte(body))
		}
	}
	for _, h := range [][2]string{{"Range", "bytes=-"}, {"Range", "bytes=9223372036854775807-"}, {"Range", "bytes=0-9223372036854775807"}, {"Range", "bytes=-9223372036854775807"},
		{"If-Match", `"a", *`}, {"If-None-Match", "*"}, {"If-Modified-Since", "x"}, {"If-Unmodified-Since", "Thu, 26 Nov 2026 09:00:00 GMT"}, {"Content-Md5", "x"}, {"Rouse-Meta-", "x"}} {
		for _, m := range []string{"GET", "PUT", "HEAD", "DELETE"} {
			f.Add(m, "/v1/buckets/x/objects/k", "", h[0], h[1], []byte("body"))
		}
	}
	f.Add("GET", "/v1/activations", "status=failed,timed-out&before=x", "Content-Type", "multipart/form-data; boundary=x", []byte("--x--"))
	f.Fuzz(func(t *testing.T, method, path, query, key, value string, body []byte) {
		if strings.Contains(query, "follow") || strings.Contains(query, "wait") || bytes.Contains(bytes.ToLower(body), []byte("wait")) || bytes.Contains(body, []byte(`\u`)) {
			t.Skip("these wait, as they are told to")
		}
		r := httptest.NewRequest("GET", "/", bytes.NewReader(body))
		r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
		r.Header[http.CanonicalHeaderKey(key)] = []string{value}
		answered(t, h, r)
	})
}

// fill makes one of each thing, by the name "x".
func fill(f *testing.F, s Services) {
	ref := rouse.Ref{Namespace: rouse.DefaultNamespace, Name: "x"}
	ctx := f.Context()
	_, err1 := s.Data.Streams.Create(ctx, data.Stream{Ref: ref})
	_, err2 := s.Data.Queues.Create(ctx, data.DefaultQueue(ref))
	_, err3 := s.Data.Tables.CreateTable(ctx, data.Table{Ref: ref, Key: data.Attribute{Name: "k"}})
	_, err4 := s.Data.Buckets.CreateBucket(ctx, data.Bucket{Ref: ref})
	_, err5 := s.Rules.SetTrigger(ctx, event.Trigger{Ref: ref, Kind: "door", Config: []byte("{}")})
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		f.Fatal(err)
	}
}

// FuzzByteRange reads ranges, and what they pick is inside of the object.
func FuzzByteRange(f *testing.F) {
	for _, s := range []string{"bytes=0-0", "bytes=-5", "bytes=5-", "bytes=5-4", "bytes=-0", "bytes=", "bytes=-", "bytes=0-1,3-4", "items=0-1", "bytes=18446744073709551616-", "bytes=9223372036854775807-9223372036854775807"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, s string, size int64) {
		r := byteRange(s)
		if r == nil || size <= 0 || r.From >= size {
			return
		}
		if from, length := extent(r, size); from < 0 || length < 1 || length > size-from {
			t.Errorf("%q of %d bytes picks %d from %d", s, size, length, from)
		}
	})
}

// FuzzContent checks that bytes come back as they were.
func FuzzContent(f *testing.F) {
	for _, s := range []string{"", "a", `"a"`, ` "a"`, "1", "{}", "[1, 2]", "\xff", "null", "<>&", "\x00", "\u2028", "{\"a\":\"\u2028\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m wire.Message
		m.Body, m.BodyBase64 = wire.Content(b)
		var text bytes.Buffer
		if err := lines(&text).Encode(m); err != nil {
			t.Fatal(err)
		}
		var back wire.Message
		if err := json.Unmarshal(text.Bytes(), &back); err != nil {
			t.Fatalf("%s: %v", text.Bytes(), err)
		}
		got, err := wire.Bytes("body", back.Body, back.BodyBase64)
		if err != nil {
			t.Fatal(err)
		}
		want := b
		if json.Valid(b) && back.BodyBase64 == nil && back.Body[0] != '"' { // which may be spaced differently
			var compact bytes.Buffer
			if err := json.Compact(&compact, b); err != nil {
				t.Fatal(err)
			}
			want = compact.Bytes()
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%q came back as %q", want, got)
		}
	})
}
