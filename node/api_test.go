package node

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/rouse-run/rouse"
)

// FuzzAsked sends any path to an entrance that is allowed one table and one
// bucket: what passes must, as the API's own router reads it, be about these.
func FuzzAsked(f *testing.F) {
	for _, p := range []string{"/v1/tables/seen/get", "/v1/tables/seen/../x/get", "/v1/tables/x%2F..%2Fseen/get", "/v1/buckets/photos/objects/a/../../..",
		"/v1/buckets/photos/objects/%2e%2e", "/v1/tables/seen", "//v1/tables/seen", "/v1/buckets/photos/objects/", "/v1/tables/seen/get?namespace=x&namespace=default",
		"/v1/tables/seen/get?a=%zz;namespace=x", "/v1/buckets/x/objects/..", "/v1/buckets/photos/", "/v1/tables/seen%00/get"} {
		f.Add("GET", p)
		f.Add("POST", p)
	}
	n := &Node{Config: Config{Log: slog.New(slog.DiscardHandler)}}
	e, token, err := n.entrance(rouse.Function{Ref: rouse.Ref{Namespace: "home", Name: "f"}, Allow: []string{"table:seen rw", "bucket:photos r"}}, func() (string, int) { return "id", 3 })
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		passed := false
		mux := http.NewServeMux()
		about := func(want string) http.HandlerFunc {
			return func(_ http.ResponseWriter, r *http.Request) {
				passed = true
				if name := r.PathValue("name"); name != want {
					t.Errorf("%s %s is about %q", method, target, name)
				}
			}
		}
		mux.HandleFunc("/v1/tables/{name}", about("seen"))
		mux.HandleFunc("/v1/tables/{name}/{op}", about("seen"))
		mux.HandleFunc("/v1/buckets/{name}", about("photos"))
		mux.HandleFunc("/v1/buckets/{name}/objects", about("photos"))
		mux.HandleFunc("/v1/buckets/{name}/objects/{key...}", about("photos"))
		mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
			if !passed {
				t.Errorf("%s %s comes through as %s", method, target, r.URL)
			}
		})
		n.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, ok := rouse.PrincipalOf(r.Context())
			if !ok || p.Operator || p.Namespace != "home" || p.Activation != "id" || p.Hops != 3 {
				t.Errorf("%+v asks", p)
			}
			if ns := r.URL.Query()["namespace"]; len(ns) != 1 || ns[0] != "home" {
				t.Errorf("%s %s is about the namespaces %q", method, target, ns)
			}
			// The API takes the keys of objects as they are; a plain router would
			// have the client ask anew.
			if strings.HasPrefix(r.URL.EscapedPath(), "/v1/buckets/photos/objects/") {
				return
			}
			mux.ServeHTTP(w, r)
		})
		r := &http.Request{Method: method, URL: u, Header: http.Header{"Authorization": {"Bearer " + token}}, Body: http.NoBody}
		e.ServeHTTP(httptest.NewRecorder(), r.WithContext(t.Context()))
	})
}

// However many bodies a function sends at once, few are in memory.
func TestBodiesOfOneInstanceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Node{Config: Config{Log: slog.New(slog.DiscardHandler)}}
		e, token, err := n.entrance(rouse.Function{Ref: rouse.Ref{Namespace: "home", Name: "f"}, Allow: []string{"function:* w", "bucket:b w"}}, func() (string, int) { return "", 0 })
		if err != nil {
			t.Fatal(err)
		}
		var held, objects atomic.Int64
		end := make(chan struct{})
		n.handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut { // is not held
				objects.Add(1)
				return
			}
			size, _ := io.Copy(io.Discard, r.Body)
			held.Add(size)
			<-end
		})
		const size = 6 << 20
		var work sync.WaitGroup
		send := func(ctx context.Context, method, path string, length int64) {
			work.Go(func() {
				r := httptest.NewRequestWithContext(ctx, method, path, io.LimitReader(zeros{}, size))
				r.ContentLength = length
				r.Header.Set("Authorization", "Bearer "+token)
				e.ServeHTTP(httptest.NewRecorder(), r)
			})
		}
		for range 3 {
			send(t.Context(), "POST", "/v1/functions/g/invoke", size)
		}
		synctest.Wait()
		if held.Load() != 3*size {
			t.Errorf("%d bytes are held, not %d", held.Load(), 3*size)
		}
		gone, leave := context.WithCancel(t.Context())
		for range 20 {
			send(gone, "POST", "/v1/functions/g/invoke", -1)
			send(gone, "POST", "/v1/functions/g/invoke", size)
		}
		send(t.Context(), "PUT", "/v1/buckets/b/objects/k", size)
		synctest.Wait()
		if n := held.Load(); n > apiBodies {
			t.Errorf("%d bytes are held, more than %d", n, int64(apiBodies))
		}
		if objects.Load() != 1 {
			t.Error("an object waits for bodies that are held")
		}
		leave()
		close(end)
		work.Wait()
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
