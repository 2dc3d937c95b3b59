// Package triggertest is what the tests of triggers whose events come in as
// requests have in common.
package triggertest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/rule/inbox"
	"github.com/rouse-run/rouse/store/sqlite"
)

// A Store is a real inbox that can be out of reach. It is an event.Emitter.
type Store struct {
	*inbox.Inbox
	Down error // what Emit returns, where not nil
}

// Emit implements event.Emitter.
func (s *Store) Emit(ctx context.Context, r rouse.Ref, es []rouse.Event, state []byte) error {
	if s.Down != nil {
		return s.Down
	}
	return s.Add(ctx, r, es, state)
}

// Open makes a Store that is empty and lasts as long as the test.
func Open(t testing.TB) *Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	keys, err := s.Keys(t.Context(), "event")
	if err != nil {
		t.Fatal(err)
	}
	return &Store{Inbox: inbox.New(inbox.Config{Keys: keys})}
}

// All returns the events that were stored, those of one trigger in order.
func (s *Store) All(t testing.TB) (es []rouse.Event) {
	t.Helper()
	shards, err := s.Shards(t.Context(), rouse.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	for _, shard := range shards {
		b, err := s.Read(t.Context(), data.FeedQuery{Ref: rouse.Ref{Namespace: "default", Name: inbox.Name}, Shard: shard.ID})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Entries {
			es = append(es, e.Event)
		}
	}
	return es
}

// Serve serves a trigger named shop with a config, and returns its URL.
func Serve(t testing.TB, source event.Server, config string) (url string) {
	t.Helper()
	raw, err := source.Check(json.RawMessage(config))
	if err != nil {
		t.Fatal(err)
	}
	tr := event.Trigger{Ref: rouse.Ref{Namespace: "default", Name: "shop"}, Config: raw}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		source.Serve(w, r, tr, strings.TrimPrefix(r.URL.Path, "/t"))
	}))
	t.Cleanup(server.Close)
	return server.URL + "/t"
}

// Do sends a request with headers, which are names and values by turns, and
// returns the answer's status, body and header.
func Do(t testing.TB, method, url, body string, headers ...string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if len(headers)%2 != 0 {
		t.Fatalf("the header %q has no value", headers[len(headers)-1])
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, strings.TrimSpace(string(b)), answer.Header
}
