package native

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/nativetest"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// form is a multipart body of parts, each a name and its bytes.
func form(t testing.TB, parts ...string) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		p, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf("form-data; name=%q", parts[i])}})
		if err == nil {
			_, err = io.WriteString(p, parts[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.String()
}

func TestDeploy(t *testing.T) {
	zip := string(archive(t, "main.py", "x"))
	for _, c := range []struct {
		name   string
		parts  []string
		status int
		want   []string // in the answer, in this order
	}{
		{"all options", []string{"options", `{"runtime":"python3","handler":"app.run","contract":"http","env":{"A":"b"},"egress":true,"public":true,
			"limits":{"memory":1048576,"timeout":"3s","concurrency":4,"min":1,"max":2},"retry":{"attempts":5,"backoff":1500}}`, "code", zip}, 200,
			[]string{`"version":1`, `"handler":"app.run"`, `"contract":"http"`, `"env":{"A":"b"}`, `"memory":1048576`, `"timeout":3000`, `"concurrency":4`, `"egress":true`, `"public":true`, `"attempts":5`, `"backoff":1500`}},
		{"no options", []string{"code", zip}, 200, []string{`"runtime":"python3.12"`}},
		{"an error after steps nobody asked for", []string{"options", `{"runtime":"steps"}`, "code", "no zip"}, 400, []string{`"kind":"invalid"`}},
		{"steps", []string{"options", `{"runtime":"steps"}`, "code", zip}, 200,
			[]string{"{\"step\":\"resolving dependencies\"}\n{\"step\":\"installing dependencies\"}\n{\"function\":{"}},
		{"an error after steps", []string{"options", `{"runtime":"steps"}`, "code", "no zip"}, 200,
			[]string{"{\"step\":\"installing dependencies\"}\n{\"error\":{\"kind\":\"invalid\"", "the code is not a zip archive"}},
		{"an error at once", []string{"code", "no zip"}, 400, []string{`"kind":"invalid"`, "the code is not a zip archive"}},
		{"unknown runtime", []string{"options", `{"runtime":"cobol"}`, "code", zip}, 400, []string{"it has python3.12"}},
		{"unknown field", []string{"options", `{"memory":1}`, "code", zip}, 400, []string{`unknown field \"memory\"`}},
		{"unknown field within", []string{"options", `{"limits":{"ram":1}}`, "code", zip}, 400, []string{`unknown field \"ram\"`}},
		{"wrong type", []string{"options", `{"limits":{"memory":"1"}}`, "code", zip}, 400, []string{`\"limits.memory\" is a text`}},
		{"bad duration", []string{"options", `{"limits":{"timeout":"soon"}}`, "code", zip}, 400, []string{`invalid duration`}},
		{"options too large", []string{"options", `"` + strings.Repeat("x", maxDocument) + `"`, "code", zip}, 413, []string{"1048576 bytes"}},
		{"options twice", []string{"options", `{}`, "options", `{}`, "code", zip}, 400, []string{`part \"options\" is not expected`}},
		{"another part", []string{"function", `{}`, "code", zip}, 400, []string{`part \"function\" is not expected`}},
		{"options after code", []string{"code", zip, "options", `{"public":true}`}, 400, []string{`part \"options\" is not expected: a deploy has \"options\", at most once, and then \"code\"`}},
		{"no code", []string{"options", `{}`}, 400, []string{`part \"code\" is missing`}},
		{"code too large", []string{"code", zip + strings.Repeat("x", 2000)}, 413, []string{"larger than 2000 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, s := platform(t, Config{MaxCode: 2000})
			r := request(t, "PUT", s.URL+"/v1/functions/new", "")
			var body string
			contentType, body := form(t, c.parts...)
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Type", contentType)
			if c.name == "steps" || c.name == "an error after steps" {
				r.Header.Set("Accept", "application/x-ndjson")
			}
			resp, got := do(t, r)
			if resp.StatusCode != c.status {
				t.Errorf("status %d, want %d", resp.StatusCode, c.status)
			}
			rest := got
			for _, w := range c.want {
				_, after, ok := strings.Cut(rest, w)
				if !ok {
					t.Fatalf("no %q in its place in:\n%s", w, got)
				}
				rest = after
			}
		})
	}
}

func TestDeployRefusesWhatIsNoForm(t *testing.T) {
	_, s := platform(t, Config{})
	for _, contentType := range []string{"", "application/zip", "multipart/form-data", "multipart/form-data; boundary=x"} {
		r := request(t, "PUT", s.URL+"/v1/functions/new", "PK")
		r.Header.Set("Content-Type", contentType)
		resp, body := do(t, r)
		if resp.StatusCode != 400 || !strings.Contains(body, `"kind":"invalid"`) {
			t.Errorf("content type %q: %d %s", contentType, resp.StatusCode, body)
		}
	}
}

// A cut connection must not deploy the part of the code that came through.
func TestDeployRefusesATornUpload(t *testing.T) {
	p, s := platform(t, Config{})
	contentType, body := form(t, "code", string(archive(t, "main.py", "x")))
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /v1/functions/torn HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		nativetest.Token, contentType, len(body), body[:len(body)-100])
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(answer, []byte("400 Bad Request")) || !bytes.Contains(answer, []byte("can't be read to its end")) {
		t.Errorf("answer:\n%s", answer)
	}
	if _, err := p.Function(t.Context(), rouse.Ref{Namespace: "default", Name: "torn"}, ""); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("the torn function is there: %v", err)
	}
}

func TestAnInternalErrorShowsAnIDAndIsLoggedUnderIt(t *testing.T) {
	var logged bytes.Buffer
	p, s := platform(t, Config{Log: quiet(&logged)})
	p.Break(errors.New("disk /dev/sda is on fire"))
	resp, body := do(t, request(t, "GET", s.URL+"/v1/functions/echo", ""))
	var got wire.ErrorBody
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 500 || got.Error.Kind != "internal" || got.Error.Message != "internal error" || len(got.Error.ID) != 16 {
		t.Errorf("answer: %d %s", resp.StatusCode, body)
	}
	if !strings.Contains(logged.String(), got.Error.ID) || !strings.Contains(logged.String(), "sda is on fire") {
		t.Errorf("log: %s", &logged)
	}
}

func TestEveryKindAndStatusHasItsHTTPStatus(t *testing.T) {
	for k := rouse.Internal; k <= rouse.NotImplemented; k++ {
		if kindStatus[k] < 400 {
			t.Errorf("kind %v has status %d", k, kindStatus[k])
		}
	}
	for i := range rouse.Statuses() {
		if endStatus[rouse.Status(i)] == 0 {
			t.Errorf("status %v has none", rouse.Status(i))
		}
	}
}

func TestIndexShowsTheTable(t *testing.T) {
	_, s := platform(t, Config{})
	resp, err := http.Get(s.URL + "/v1") // without a token
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var page struct {
		Operations []struct{ Method, Path, Summary string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		t.Fatal(err)
	}
	if len(page.Operations) != len(operations()) {
		t.Errorf("%d operations shown, %d in the table", len(page.Operations), len(operations()))
	}
	for _, op := range page.Operations {
		if op.Method == "" || op.Path == "" || op.Summary == "" {
			t.Errorf("not described: %+v", op)
		}
	}
}

// Whatever the table does not mark as open asks for the token.
func TestEveryOperationAsksForTheToken(t *testing.T) {
	_, s := platform(t, Config{})
	open := 0
	for _, op := range operations() {
		if op.Open {
			open++
			continue
		}
		path := strings.NewReplacer("{name}", "echo", "{alias}", "a", "{id}", "x").Replace(op.Path)
		r := request(t, op.Method, s.URL+path, "")
		r.Header.Set("Authorization", "Bearer ")
		if resp, body := do(t, r); resp.StatusCode != 401 {
			t.Errorf("%s %s: %d %s", op.Method, op.Path, resp.StatusCode, body)
		}
	}
	if open != 7 {
		t.Errorf("%d open operations; a new one must be meant to be", open)
	}
}

func TestReadinessAndMetrics(t *testing.T) {
	_, s := platform(t, Config{
		Ready:   func() error { return errors.New("the store is full") },
		Metrics: func(w io.Writer) { _, _ = io.WriteString(w, "rouse_up 1\n") },
	})
	if resp, body := do(t, request(t, "GET", s.URL+"/readyz", "")); resp.StatusCode != 503 || !strings.Contains(body, "the store is full") {
		t.Errorf("readyz: %d %s", resp.StatusCode, body)
	}
	if resp, body := do(t, request(t, "GET", s.URL+"/metrics", "")); resp.StatusCode != 200 || body != "rouse_up 1\n" {
		t.Errorf("metrics: %d %s", resp.StatusCode, body)
	}
}

func TestBatchBoundsItsLines(t *testing.T) {
	_, s := platform(t, Config{})
	for lines, status := range map[int]int{maxLines: 202, maxLines + 1: 413} {
		if resp, body := do(t, request(t, "POST", s.URL+"/v1/functions/echo/batch", strings.Repeat("1\n", lines))); resp.StatusCode != status {
			t.Errorf("%d lines: %d %.200s", lines, resp.StatusCode, body)
		}
	}
}
