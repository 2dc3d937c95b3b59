package native

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/nativetest"
)

// instant is an Invoker that takes no time, so that the door's own is seen.
type instant struct{ result []byte }

func (i instant) Invoke(_ context.Context, in rouse.Invocation) (rouse.Activation, error) {
	a := rouse.Activation{ID: "0123456789abcdef0123456789abcdef", Status: rouse.StatusAnswered, Run: 1000, Queued: 500}
	if in.Reply == nil {
		a.Result = i.result
		return a, nil
	}
	in.Reply.Start(200, map[string][]string{"Content-Type": {"application/json"}, "Content-Length": {"14"}})
	_, err := in.Reply.Write(i.result)
	return a, err
}

// sink is a ResponseWriter that costs nothing but its header.
type sink struct{ header http.Header }

func (s sink) Header() http.Header         { return s.header }
func (s sink) Write(p []byte) (int, error) { return len(p), nil }
func (s sink) WriteHeader(int)             {}

func BenchmarkInvoke(b *testing.B) { benchmark(b, "/v1/functions/echo/invoke") }
func BenchmarkRoute(b *testing.B)  { benchmark(b, "/fn/echo/path") }

func benchmark(b *testing.B, path string) {
	p := nativetest.New()
	services := p.Services()
	services.Invoker = instant{result: []byte(`{"hello":"ada"}`)[:14]}
	h := New(services, Config{})
	payload := []byte(`{"name":"ada"}`)
	r := request(b, "POST", "http://127.0.0.1"+path, "")
	r.Header.Set("Authorization", "Bearer "+nativetest.Token)
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(payload))
	body := bytes.NewReader(payload)
	r.Body = io.NopCloser(body)
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(payload)
		h.ServeHTTP(sink{http.Header{}}, r)
	}
}
