package native

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/nativetest"
)

// platform returns a served platform with the functions that the tests call:
// each is named for what it does.
func platform(t testing.TB, c Config) (*nativetest.Platform, *httptest.Server) {
	t.Helper()
	p := nativetest.New()
	fail := func(s rouse.Status, f rouse.Failure) nativetest.Code {
		return func(context.Context, rouse.Invocation, func(string)) rouse.Answer {
			return rouse.Answer{Status: s, Failure: &f}
		}
	}
	p.Code("fails", fail(rouse.StatusFailed, rouse.Failure{Type: "ValueError", Message: "no <such> city", Stack: "File \"main.py\", line 3"}))
	p.Code("crashes", fail(rouse.StatusCrashed, rouse.Failure{Type: "Crashed", Message: "the function's process was ended by SIGSEGV"}))
	p.Code("hangs", fail(rouse.StatusTimedOut, rouse.Failure{Type: "Timeout", Message: "no answer within 1s"}))
	p.Code("hungers", fail(rouse.StatusOutOfMemory, rouse.Failure{Type: "OutOfMemory", Message: "too much"}))
	p.Code("refused", fail(rouse.StatusRefused, rouse.Failure{Type: "Refused", Message: "no runtime"}))
	p.Code("busy", fail(rouse.StatusThrottled, rouse.Failure{Type: "Throttled", Message: "busy"}))
	p.Code("texts", func(context.Context, rouse.Invocation, func(string)) rouse.Answer {
		return rouse.Answer{Status: rouse.StatusAnswered, Result: []byte("plain & simple"), ContentType: "text/plain"}
	})
	p.Code("pictures", func(context.Context, rouse.Invocation, func(string)) rouse.Answer {
		return rouse.Answer{Status: rouse.StatusAnswered, Result: []byte{0xff, 0xd8}, ContentType: "image/jpeg"}
	})
	p.Code("prints", func(_ context.Context, in rouse.Invocation, print func(string)) rouse.Answer {
		print("one <1>")
		print("two")
		return rouse.Answer{Status: rouse.StatusAnswered, Result: []byte("null")}
	})
	for _, name := range []string{"echo", "fails", "crashes", "hangs", "hungers", "refused", "busy", "texts", "pictures", "prints"} {
		add(t, p, rouse.Function{Ref: rouse.Ref{Namespace: rouse.DefaultNamespace, Name: name}})
	}
	s := httptest.NewServer(New(Services{Services: p.Services()}, c))
	t.Cleanup(s.Close)
	return p, s
}

func add(t testing.TB, p *nativetest.Platform, f rouse.Function) {
	t.Helper()
	if _, err := p.Deploy(t.Context(), f, bytes.NewReader(archive(t, "main.py", "def main(event, context): return event\n")), func(string) {}); err != nil {
		t.Fatal(err)
	}
}

func archive(t testing.TB, name, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// do sends a request with the token and returns the answer and all of its body.
func do(t testing.TB, r *http.Request) (*http.Response, string) {
	t.Helper()
	if r.Header.Get("Authorization") == "" {
		r.Header.Set("Authorization", "Bearer "+nativetest.Token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func request(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// quiet is a log that a test reads.
func quiet(b *bytes.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func serve(t testing.TB, services rouse.Services) (http.Handler, string) {
	h := New(Services{Services: services}, Config{})
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return h, s.URL
}

func countLines(t testing.TB, ndjson string) int {
	t.Helper()
	return strings.Count(ndjson, "\n")
}

func (ls tail) Follow(_ context.Context, _ rouse.Ref, f func(rouse.Line) bool) error {
	for _, l := range ls {
		if !f(l) {
			break
		}
	}
	return nil
}
