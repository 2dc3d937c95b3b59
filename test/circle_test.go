package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

// A function that writes to what it is roused by goes round, and no rule says so.
// The fuse of its rule sees it: what a function writes knows what led to it.
func TestACircleThroughAService(t *testing.T) {
	s := start(t, "")
	s.set("streams", "s", map[string]any{"shards": 1})
	s.set("queues", "q", map[string]any{})
	s.set("tables", "t", map[string]any{"key": map[string]any{"name": "k"}, "changes": "1h"})
	s.set("buckets", "b", map[string]any{})
	for _, c := range []struct{ kind, name, write string }{
		{"stream", "s", "rouse.stream('s').append({})"},
		{"queue", "q", "rouse.queue('q').send({})"},
		{"table", "t", "rouse.table('t').put({'k': context.activation})"},
		{"bucket", "b", "rouse.bucket('b').put(context.activation, 'x')"},
	} {
		s.python(c.kind, "import rouse\ndef main(event, context):\n    "+c.write+"\n", wire.Options{Allow: []string{c.kind + ":" + c.name + " rw"}})
		s.set("rules", c.kind, map[string]any{"on": map[string]any{c.kind: c.name}, "to": map[string]any{"function": c.kind}})
		if a := s.call(c.kind, nil); a.Failure != nil { // begins it
			t.Fatalf("%s: %+v", c.kind, a.Failure)
		}
	}
	for _, kind := range []string{"stream", "queue", "table", "bucket"} {
		var r struct{ Paused string }
		eventually(t, "the rule of the "+kind+" is paused", func() bool {
			if err := s.Do(t.Context(), http.MethodGet, []string{"rules", kind}, nil, nil, &r); err != nil {
				t.Fatal(err)
			}
			return r.Paused != ""
		})
		as := s.activationsOf(kind)
		if !strings.Contains(r.Paused, "16 activations") || len(as) != 16 { // the first was called
			t.Errorf("%s: %q, and it ran %d times", kind, r.Paused, len(as))
		}
		x, err := s.Explain(t.Context(), as[len(as)-1].ID)
		if err != nil {
			t.Fatal(err)
		}
		// A message is gone once it was delivered: the chain ends there.
		led := 0
		for _, c := range x.Causes {
			if c.Activation != nil && c.Rule != "" {
				led++
			}
		}
		if kind != "queue" && led < 5 {
			t.Errorf("%s: of the chain %d steps are told: %s", kind, led, fmt.Sprint(x.Causes))
		}
	}
}
