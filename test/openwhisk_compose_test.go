package test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

// leads is a conductor that answers with what a list says, one after the other.
const leads = `
def main(args):
    step = args.get('step', 0)
    if step == len(LIST) or 'error' in args: return {'params': {'steps': step, 'error_': args.get('error')}}
    return {'action': LIST[step], 'params': {}, 'state': {'step': step + 1}}
`

func (w *whisk) conductor(name, code string) {
	w.t.Helper()
	w.python(name, code, annotations(map[string]any{"conductor": true}))
}

func (w *whisk) leads(name string, list ...string) {
	w.t.Helper()
	text, err := json.Marshal(list)
	if err != nil {
		w.t.Fatal(err)
	}
	w.conductor(name, "LIST = "+string(text)+leads)
}

// count is how many activations a namespace has of a name.
func (w *whisk) count(name string) int {
	w.t.Helper()
	n, _ := w.ask("GET", "_/activations?count=true&name="+name, nil).get(w.t, "activations").(float64)
	return int(n)
}

// However conductors call each other, they share the bounds of one: 50 actions,
// and 101 runs of conductors.
func TestConductorsShareTheirBounds(t *testing.T) {
	s := start(t, "")
	w := s.whisk("default")
	run := func(name string) string {
		t.Helper()
		r := w.ask("POST", "_/actions/"+name+"?blocking=true&result=true", "{}")
		return string(r.body)
	}
	t.Run("of its own", func(t *testing.T) {
		w.conductor("again", "def main(args): return {'action': 'again'}\n")
		if got := run("again"); !strings.Contains(got, "Too many actions in the composition.") {
			t.Errorf("%s", got)
		}
		// Its runs, and the compositions that these were for.
		if n := w.count("again"); n > 2*101+1 {
			t.Errorf("%d activations", n)
		}
	})
	t.Run("of each other", func(t *testing.T) {
		w.conductor("ping", "def main(args): return {'action': 'pong'}\n")
		w.conductor("pong", "def main(args): return {'action': 'ping'}\n")
		if got := run("ping"); !strings.Contains(got, "Too many actions in the composition.") {
			t.Errorf("%s", got)
		}
		if n := w.count("ping") + w.count("pong"); n > 2*101+1 {
			t.Errorf("%d activations", n)
		}
	})
	t.Run("by a sequence", func(t *testing.T) {
		w.conductor("round", "def main(args): return {'action': 'row'}\n")
		w.must("PUT", "actions/row", object{"exec": object{"kind": "sequence", "components": []string{"/_/round", "/_/round", "/_/round"}}})
		if got := run("row"); !strings.Contains(got, "Too many actions in the composition.") {
			t.Errorf("%s", got)
		}
		if n := w.count("round"); n > 3*(2*101+2) {
			t.Errorf("%d activations", n)
		}
	})
	t.Run("of components", func(t *testing.T) {
		w.python("plain", echoes, nil)
		steps := make([]string, 20)
		for i := range steps {
			steps[i] = "plain"
		}
		w.leads("inner", steps...)
		w.leads("outer", "inner", "inner", "inner")
		run("outer")
		if n := w.count("plain"); n != 50 {
			t.Errorf("%d components ran, not 50", n)
		}
	})
	t.Run("each composition anew", func(t *testing.T) {
		before := w.count("plain")
		w.must("PUT", "actions/twice", object{"exec": object{"kind": "sequence", "components": []string{"/_/inner", "/_/inner", "/_/inner"}}})
		if got := run("twice"); !strings.Contains(got, "20") {
			t.Errorf("%s", got)
		}
		if n := w.count("plain") - before; n != 60 {
			t.Errorf("%d components ran, not 60", n)
		}
	})
}

// A composition without end that was accepted comes to its end, also where the
// server was killed while it ran.
func TestCompositionsEndAfterAKill(t *testing.T) {
	s := start(t, "")
	w := s.whisk("default")
	// Its hundred runs take seconds: it is killed among them.
	w.conductor("again", "import time\ndef main(args):\n time.sleep(0.03)\n return {'action': 'again'}\n")
	id := w.ask("POST", "_/actions/again", "{}").text(t, "activationId")
	eventually(t, "it runs", func() bool { return w.count("again") > 0 })
	if a, err := s.Activation(t.Context(), id, 0); err != nil || a.Status != rouse.StatusPending {
		t.Fatalf("it is %v before the server is killed: %v", a.Status, err)
	}
	s.kill()
	again := start(t, s.data)
	w = &whisk{again, w.auth}
	eventually(t, "it ends", func() bool { return w.ask("GET", "_/activations/"+id, nil).status == 200 })
	if r := w.ask("GET", "_/activations/"+id, nil); !strings.Contains(string(r.body), "Too many actions in the composition.") {
		t.Errorf("%s", r.body)
	}
}

// The components of an action's composition are the composition's, not the
// action's that asked for it.
func TestAnActionLeadsToAComposition(t *testing.T) {
	w := start(t, "").whisk("default")
	w.python("plain", echoes, nil)
	w.must("PUT", "actions/row", object{"exec": object{"kind": "sequence", "components": []string{"/_/plain"}}})
	w.python("asks", `
import base64, json, os, urllib.request
def main(args):
    r = urllib.request.Request(os.environ['__OW_API_HOST'] + '/api/v1/namespaces/_/actions/row?blocking=true', b'{}', method='POST')
    r.add_header('Authorization', 'Basic ' + base64.b64encode(os.environ['__OW_API_KEY'].encode()).decode())
    r.add_header('Content-Type', 'application/json')
    return json.load(urllib.request.urlopen(r))
`, annotations(map[string]any{"provide-api-key": true}))
	r := w.ask("POST", "_/actions/asks?blocking=true", "{}")
	row := r.text(t, "response.result.activationId")
	logs, _ := r.get(t, "response.result.logs").([]any)
	if row == "" || len(logs) != 1 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	id, _ := logs[0].(string)
	if part := w.ask("GET", "_/activations/"+id, nil); part.text(t, "cause") != row {
		t.Errorf("%s, not caused by %s", part.body, row)
	}
	if whole := w.ask("GET", "_/activations/"+row, nil); !strings.Contains(string(whole.body), `{"key":"cause","value":"`+r.text(t, "activationId")+`"}`) {
		t.Errorf("%s", whole.body)
	}
}
