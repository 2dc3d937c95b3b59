package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestCallsAreAnswered(t *testing.T) {
	var calls atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := calls.Add(1)
		switch r.URL.Path {
		case "/chunks":
			for _, part := range []string{"one", " and ", "two"} {
				fmt.Fprint(w, part)
				w.(http.Flusher).Flush()
			}
		case "/whole":
			fmt.Fprint(w, "one and two")
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		default:
			http.Error(w, fmt.Sprint("broken ", n), http.StatusTeapot)
		}
	}))
	defer s.Close()
	addr := s.Listener.Addr().String()
	for i, path := range []string{"/chunks", "/whole", "/chunks", "/whole"} {
		c := post(addr, path, "token", "{}").wants("one and two")
		c.awake = i > 1
		calls.Store(0)
		n, took, err := c.load(t.Context(), 3, func(done int) bool { return done < 5 })
		if err != nil || n != 15 || calls.Load() != 15 || took <= 0 {
			t.Errorf("%s: %d of %d calls, %v", path, n, calls.Load(), err)
		}
		if err := c.wants("three").once(t.Context()); err == nil || !strings.Contains(err.Error(), "one and two") {
			t.Errorf("%s: another answer is no error: %v", path, err)
		}
		if v, err := c.latency(t.Context(), time.Millisecond); err != nil || v <= 0 {
			t.Errorf("%s: %v ms, %v", path, v, err)
		}
	}
	if err := post(addr, "/empty", "", "").once(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := post(addr, "/wrong", "", "").throughput(t.Context(), 2, time.Second); err == nil || !strings.Contains(err.Error(), "418") {
		t.Errorf("a refusal is no error: %v", err)
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 999 \r\nContent-Length: 99999999999\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, size, err := parseAnswer(b, nil)
		if err != nil {
			return
		}
		if size > 0 && !bytes.HasPrefix(b, []byte("HTTP/1.1 ")) || len(a.body) > len(b) || size > len(b) {
			t.Errorf("%d bytes, %d of a body, were read from %d", size, len(a.body), len(b))
		}
		// It is whole as soon as its last byte has come, and not before.
		for cut := range size {
			if _, n, err := parseAnswer(b[:cut], nil); n != 0 || err != nil {
				t.Fatalf("%q is taken for an answer of %d bytes: %v", b[:cut], n, err)
			}
		}
	})
}
