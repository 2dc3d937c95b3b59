package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
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
		var dead []rouse.DeadLetter
		eventually(t, "the last event of the "+kind+" is parked", func() bool {
			var err error
			if dead, _, err = s.DeadEvents(t.Context(), kind, 0, 10); err != nil {
				t.Fatal(err)
			}
			return len(dead) > 0
		})
		as := s.activationsOf(kind)
		if len(dead) != 1 || !strings.Contains(dead[0].Reason, "16 activations") || len(as) != 16 { // the first was called
			t.Errorf("%s: %+v, and it ran %d times", kind, dead, len(as))
		}
		if r, err := s.Rule(t.Context(), kind); err != nil || r.Paused != "" || r.Status.Dead != 1 {
			t.Errorf("%s: %+v %v", kind, r.Status, err)
		}
		x, err := s.Explain(t.Context(), as[len(as)-1].ID)
		if err != nil {
			t.Fatal(err)
		}
		led := 0
		for _, c := range x.Causes {
			if c.Activation != nil && c.Rule != "" {
				led++
			}
		}
		if led < 5 {
			t.Errorf("%s: of the chain %d steps are told: %s", kind, led, fmt.Sprint(x.Causes))
		}
		first, last := as[0].ID, as[len(as)-1].ID
		if first > last {
			first = last
		}
		if x, err = s.Explain(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		on := 0
		for effects := x.Effects; len(effects) > 0; effects = effects[0].Effects {
			on++
		}
		if on != 15 {
			t.Errorf("%s: of what the first led to %d steps are told", kind, on)
		}
	}
}

// A webhook that is a trigger of the same server is a circle as well. What others
// say of how far an event has come is not believed.
func TestACircleThroughAWebhook(t *testing.T) {
	s := start(t, "")
	s.python("f", "def main(event):\n    return event.get('rousehops')\n", wire.Options{})
	s.set("triggers", "t", map[string]any{"kind": "events", "config": map[string]any{"public": true}})
	s.set("rules", "round", map[string]any{"on": map[string]any{"trigger": "t"}, "to": map[string]any{"webhook": "http://" + s.addr + "/on/t"}})
	s.set("rules", "call", map[string]any{"on": map[string]any{"trigger": "t"}, "to": map[string]any{"function": "f"}})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.addr+"/on/t", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"specversion": "1.0", "id": "1", "source": "/x", "type": "t", "rousehops": "1000", "rousecause": "x", "rouseactivation": "call/bad"} {
		r.Header.Set("ce-"+k, v)
	}
	r.Header.Set("Rouse-Hop", "1000.x.00")
	answer, err := http.DefaultClient.Do(r)
	if err != nil || answer.StatusCode != http.StatusAccepted {
		t.Fatalf("%+v %v", answer, err)
	}
	_ = answer.Body.Close()
	for _, rule := range []string{"round", "call"} {
		eventually(t, "an event of "+rule+" is parked", func() bool {
			dead, _, err := s.DeadEvents(t.Context(), rule, 0, 10)
			return err == nil && len(dead) == 1 && strings.Contains(dead[0].Reason, "16 activations")
		})
	}
	eventually(t, "all are recorded", func() bool { return len(s.activationsOf("f")) == 16 })
	seen := map[string]bool{}
	for _, a := range s.activationsOf("f") {
		seen[string(a.Result)] = true
	}
	if len(seen) != 16 || !seen["null"] || !seen[`"15"`] {
		t.Errorf("hops %v", seen)
	}
}

// So is one that leads to the function itself, by its route.
func TestACircleThroughAWebhookToAFunction(t *testing.T) {
	s := start(t, "")
	s.python("f", "def main(event): return 1\n", wire.Options{Public: true})
	s.set("rules", "round", map[string]any{"on": map[string]any{"function": "f"}, "to": map[string]any{"webhook": "http://" + s.addr + "/fn/f/"}})
	s.call("f", nil)
	eventually(t, "an event is parked", func() bool {
		dead, _, err := s.DeadEvents(t.Context(), "round", 0, 10)
		return err == nil && len(dead) == 1 && strings.Contains(dead[0].Reason, "activations")
	})
	if n := len(s.activationsOf("f")); n > 20 {
		t.Errorf("it ran %d times", n)
	}
}
