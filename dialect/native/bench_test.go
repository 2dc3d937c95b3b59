package native

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/nativetest"
	"github.com/rouse-run/rouse/dialect/native/wire"
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
	h := New(Services{Services: services}, Config{})
	payload := []byte(`{"name":"ada"}`)
	r := request(b, "POST", "http://127.0.0.1"+path, "")
	token := []string{"Bearer " + nativetest.Token}
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(payload))
	body := bytes.NewReader(payload)
	r.Body = io.NopCloser(body)
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(payload)
		r.Header["Authorization"] = token // a route takes it away
		h.ServeHTTP(sink{http.Header{}}, r)
	}
}

// BenchmarkAppend is what a record costs through the whole of it, in batches of
// 100 and at eight clients.
func BenchmarkAppend(b *testing.B) {
	w := newWorld(b, Config{})
	if _, err := w.SetStream(b.Context(), "s", wire.StreamOptions{Shards: 4}); err != nil {
		b.Fatal(err)
	}
	rs := make([]data.Record, 100)
	for i := range rs {
		rs[i] = data.Record{Key: strconv.Itoa(i), Data: []byte(`{"page":"/","user":"ada"}`)}
	}
	b.SetParallelism(8)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := w.Append(b.Context(), "s", rs...); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N*len(rs))/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkObject stores and fetches objects of 8 MiB.
func BenchmarkObject(b *testing.B) {
	w := newWorld(b, Config{})
	if _, err := w.SetBucket(b.Context(), "b", wire.BucketOptions{}); err != nil {
		b.Fatal(err)
	}
	body := make([]byte, 8<<20)
	b.SetBytes(2 * int64(len(body)))
	for b.Loop() {
		if _, err := w.PutObject(b.Context(), "b", "k", client.ObjectPut{Size: int64(len(body))}, bytes.NewReader(body)); err != nil {
			b.Fatal(err)
		}
		_, r, err := w.GetObject(b.Context(), "b", "k", client.ObjectGet{})
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if err := errors.Join(err, r.Close()); err != nil || n != int64(len(body)) {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkPutItem is what an item costs through the whole of it.
func BenchmarkPutItem(b *testing.B) {
	w := newWorld(b, Config{})
	if _, err := w.SetTable(b.Context(), "t", wire.TableOptions{Key: data.Attribute{Name: "k"}}); err != nil {
		b.Fatal(err)
	}
	var n atomic.Int64
	b.SetParallelism(16)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			item := data.Item{"k": data.Text(strconv.FormatInt(n.Add(1), 10)), "color": data.Text("red")}
			if _, err := w.PutItem(b.Context(), "t", wire.Put{Item: item}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
