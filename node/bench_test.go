package node

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rouse-run/rouse"
)

// echo is a reactor of wasip1 whose "handle" prints {"hello":"ada"}.
const echo = "0061736d01000000010c0260047f7f7f7f017f60000002230116776173695f736e617073686f745f70726576696577310866645f7772697465000003" +
	"0201010503010001071302066d656d6f727902000668616e646c6500010a0f010d00410141004101410810001a0b0b25010041000b1f100000000f00" +
	"000000000000000000007b2268656c6c6f223a22616461227d"

// sink is a ResponseWriter that costs nothing but its header.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

// BenchmarkWarm is all that the platform does for a call of a module that is warm,
// with what net/http and the kernel do left out.
func BenchmarkWarm(b *testing.B) {
	n, err := New(b.Context(), Config{Data: b.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ran := make(chan error, 1)
	go func() { ran <- n.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ran; err != nil {
			b.Error(err)
		}
	}()
	module, err := hex.DecodeString(echo)
	if err != nil {
		b.Fatal(err)
	}
	var code bytes.Buffer
	z := zip.NewWriter(&code)
	w, err := z.Create("main.wasm")
	if err == nil {
		_, err = w.Write(module)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
	f := rouse.Function{Ref: rouse.Ref{Namespace: rouse.DefaultNamespace, Name: "f"}, Runtime: "wasm", Public: true}
	if _, err := n.registry.Deploy(b.Context(), f, &code, nil); err != nil {
		b.Fatal(err)
	}
	payload := []byte(`{"name":"ada"}`)
	body := bytes.NewReader(payload)
	r := httptest.NewRequest("POST", "/fn/f", io.NopCloser(body))
	r.ContentLength = int64(len(payload))
	r.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	n.handler.ServeHTTP(answer, r)
	if answer.Body.String() != `{"hello":"ada"}` {
		b.Fatal(answer.Code, answer.Body)
	}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(payload)
		n.handler.ServeHTTP(&sink{http.Header{}}, r)
	}
}
