package native

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/blob/file"
	"github.com/rouse-run/rouse/bucket"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/nativetest"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/meta"
	"github.com/rouse-run/rouse/queue"
	routetable "github.com/rouse-run/rouse/route"
	"github.com/rouse-run/rouse/rule"
	"github.com/rouse-run/rouse/rule/inbox"
	"github.com/rouse-run/rouse/store/sqlite"
	streamengine "github.com/rouse-run/rouse/stream"
	"github.com/rouse-run/rouse/table"
)

// A world is the platform in memory with the real data services and rules over
// a real store, served and with a client.
type world struct {
	*client.Client
	platform *nativetest.Platform
	services Services
	url      string
}

// newWorld runs what services returns until the test ends.
func newWorld(t testing.TB, c Config) *world {
	t.Helper()
	p, plain := platform(t, c)
	plain.Close()
	w := &world{platform: p, services: services(t, p)}
	s := httptest.NewServer(New(w.services, c))
	t.Cleanup(s.Close)
	w.url = s.URL
	var err error
	if w.Client, err = client.New(s.URL, nativetest.Token, s.Client()); err != nil {
		t.Fatal(err)
	}
	return w
}

// services returns p with real data services and rules. Triggers are of the
// kinds "button", which nobody but a test presses, and "door", which serves
// requests and is open where its config says so.
func services(t testing.TB, p *nativetest.Platform) Services {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	store, err := sqlite.Open(context.Background(), sqlite.Config{Dir: t.TempDir()})
	must(err)
	keys := func(name string) rouse.Keys {
		k, err := store.Keys(context.Background(), name)
		must(err)
		return k
	}
	blobs, err := file.Open(t.TempDir())
	must(err)
	streams, queues := streamengine.New(streamengine.Config{Keys: keys("stream")}), queue.New(queue.Config{Keys: keys("queue")})
	d := data.Services{Streams: streams, Queues: queues, Tables: table.New(table.Config{Keys: keys("table")}),
		Buckets: bucket.New(bucket.Config{Keys: keys("bucket"), Blobs: blobs})}
	rules := rule.New(rule.Config{Meta: meta.New(keys("meta")), Keys: keys("rule"), Queue: queues.Plain(),
		Inbox: inbox.New(inbox.Config{Keys: keys("event"), Poll: 10 * time.Millisecond}), Data: d, Registry: p, Invoker: p, Poll: 20 * time.Millisecond})
	served := door{kind: "door", rules: rules}
	rules.Use(door{kind: "button"}, served)
	must(rules.Load(context.Background()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rules.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for _, err := range []error{<-done, streams.Close(), queues.Close(), store.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	routes, err := routetable.Open(t.Context(), routetable.Config{Meta: meta.New(keys("meta")), Registry: p, Reserved: Paths()})
	must(err)
	return Services{Services: p.Services(), Data: d, Rules: rules, Control: rules, Routes: routes, Servers: func(kind string) event.Server {
		if kind == "door" {
			return served
		}
		return nil
	}}
}

// A door is a source whose triggers make an event of each request.
type door struct {
	kind  string
	rules *rule.Engine
}

func (d door) Kind() string { return d.kind }

func (d door) Check(c json.RawMessage) (json.RawMessage, error) {
	var config struct {
		Open bool `json:"open"`
	}
	if err := json.Unmarshal(c, &config); err != nil {
		return nil, rouse.Errorf(rouse.Invalid, "check", "open", "it must be true or false")
	}
	return json.Marshal(config)
}

func (d door) Start(event.Trigger) (func(), error) { return func() {}, nil }

func (d door) Open(t event.Trigger) bool { return string(t.Config) == `{"open":true}` }

func (d door) Serve(w http.ResponseWriter, r *http.Request, t event.Trigger, path string) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	if err := d.rules.Emit(r.Context(), t.Ref, []rouse.Event{{Type: "door.opened", Data: b}}, nil); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "%s %s %q", r.Method, path, r.Header.Get("Authorization"))
}
