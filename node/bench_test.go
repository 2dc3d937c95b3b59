package node

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
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

// platform runs a node until the benchmark ends.
func platform(b *testing.B) *Node {
	n, err := New(b.Context(), Config{Data: b.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(b.Context()))
	ran := make(chan error, 1)
	go func() { ran <- n.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			b.Error(err)
		}
	})
	return n
}

// deploy makes echo a function.
func (n *Node) deploy(b *testing.B, name string) {
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
	if err := errors.Join(err, z.Close()); err != nil {
		b.Fatal(err)
	}
	f := rouse.Function{Ref: rouse.Ref{Namespace: rouse.DefaultNamespace, Name: name}, Runtime: "wasm", Public: true}
	if _, err := n.registry.Deploy(b.Context(), f, &code, nil); err != nil {
		b.Fatal(err)
	}
}

// first calls a function and looks at its answer.
func (n *Node) first(b *testing.B, name string) {
	answer := httptest.NewRecorder()
	n.handler.ServeHTTP(answer, httptest.NewRequest("POST", "/fn/"+name, strings.NewReader(`{"name":"ada"}`)))
	if answer.Body.String() != `{"hello":"ada"}` {
		b.Fatal(answer.Code, answer.Body)
	}
}

// BenchmarkWarm is all that the platform does for a call of a module that is warm,
// with what net/http and the kernel do left out.
func BenchmarkWarm(b *testing.B) {
	n := platform(b)
	n.deploy(b, "f")
	n.first(b, "f")
	payload := []byte(`{"name":"ada"}`)
	body := bytes.NewReader(payload)
	r := httptest.NewRequest("POST", "/fn/f", io.NopCloser(body))
	r.ContentLength = int64(len(payload))
	r.Header.Set("Content-Type", "application/json")
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(payload)
		n.handler.ServeHTTP(&sink{http.Header{}}, r)
	}
}

// BenchmarkCold is all that it does for the first call of a function whose module
// others run.
func BenchmarkCold(b *testing.B) {
	const functions = 500
	n := platform(b)
	for {
		b.StopTimer()
		for i := range functions {
			n.deploy(b, strconv.Itoa(i))
		}
		b.StartTimer()
		for i := range functions {
			if !b.Loop() {
				return
			}
			n.first(b, strconv.Itoa(i))
		}
	}
}
