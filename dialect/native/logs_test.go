package native

import (
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/nativetest"
	"github.com/rouse-run/rouse/internal/ident"
)

func TestFollowSendsStoredLinesThenNewOnesEachOnce(t *testing.T) {
	p, s := platform(t, Config{})
	ref := rouse.Ref{Namespace: "default", Name: "echo"}
	line := func(text string) rouse.Line {
		return rouse.Line{Activation: ident.New(), Function: ref, Time: time.Now().UTC(), Stream: rouse.Stderr, Text: text}
	}
	p.Print(line("stored"))
	r := request(t, "GET", s.URL+"/v1/functions/echo/logs?follow=true", "")
	r.Header.Set("Authorization", "Bearer "+nativetest.Token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	in := json.NewDecoder(resp.Body)
	expect := func(want string) {
		t.Helper()
		var got rouse.Line
		if err := in.Decode(&got); err != nil || got.Text != want || got.Stream != rouse.Stderr {
			t.Fatalf("got %+v, %v; want %q", got, err, want)
		}
	}
	expect("stored")
	<-p.Following()
	for _, text := range []string{"live", "live again"} {
		p.Print(line(text))
		expect(text)
	}
	other := line("of another")
	other.Function.Name = "fails"
	p.Print(other)
	p.Print(line("last"))
	expect("last")
	resp.Body.Close()
	s.Close() // waits for the handler, which ends because the client has gone
}

// A line that the store has and the tail brings as well is sent once.
func TestFollowSendsAnOverlapOnce(t *testing.T) {
	p, _ := platform(t, Config{})
	ref := rouse.Ref{Namespace: "default", Name: "echo"}
	twice := rouse.Line{Function: ref, Time: time.Now(), Stream: rouse.Stdout, Text: "twice"}
	p.Print(twice)
	services := p.Services()
	services.Tail = tail{twice, {Function: ref, Time: time.Now(), Stream: rouse.Stdout, Text: "new"}}
	_, s := serve(t, services)
	_, body := do(t, request(t, "GET", s+"/v1/functions/echo/logs?follow=true", ""))
	if n := countLines(t, body); n != 2 {
		t.Errorf("%d lines, want 2:\n%s", n, body)
	}
}

// A tail that brings its lines and ends.
type tail []rouse.Line

func TestWaitEndsWithTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := nativetest.New()
		s := &server{Services: Services{Services: p.Services()}}
		id := ident.New()
		look := func(wait string) (rouse.Activation, error) {
			r, err := http.NewRequestWithContext(t.Context(), "GET", "/v1/activations/"+id+"?wait="+wait, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.SetPathValue("id", id)
			c := &call{r: r}
			if err := c.readQuery([]string{"wait"}); err != nil {
				t.Fatal(err)
			}
			return s.activation(c)
		}
		start := time.Now()
		if _, err := look("10s"); rouse.KindOf(err) != rouse.NotFound || time.Since(start) != 10*time.Second {
			t.Errorf("nothing there: %v after %v", err, time.Since(start))
		}
		go func() {
			time.Sleep(3 * time.Second)
			_ = p.Post(t.Context(), []rouse.Activation{{ID: id, Function: rouse.Ref{Namespace: "default", Name: "f"}, Status: rouse.StatusFailed}}, nil)
		}()
		start = time.Now()
		a, err := look("10s")
		if waited := time.Since(start); err != nil || a.Status != rouse.StatusFailed || waited < 3*time.Second || waited > 4*time.Second {
			t.Errorf("posted after 3s: %v, %v after %v", a.Status, err, waited)
		}
	})
}
