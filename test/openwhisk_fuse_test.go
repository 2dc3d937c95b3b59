package test

import (
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

// An action that fires the trigger that it is roused by goes round. The fuse
// parks what has come too far; the trigger works as before, and who looks can
// name its rule.
func TestAnOpenWhiskTriggerGoesOnAfterTheFuse(t *testing.T) {
	s := start(t, "")
	w := s.whisk("default")
	code := `
import base64, os, urllib.request
def main(args):
    r = urllib.request.Request(os.environ['__OW_API_HOST'] + '/api/v1/namespaces/_/triggers/lt', b'{}', method='POST', headers={
        'Content-Type': 'application/json', 'Authorization': 'Basic ' + base64.b64encode(os.environ['__OW_API_KEY'].encode()).decode()})
    urllib.request.urlopen(r).read()
    return {}
`
	ok := func(method, path string, body any) reply {
		t.Helper()
		r := w.ask(method, path, body)
		if r.status/100 != 2 {
			t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
		}
		return r
	}
	ok("PUT", "_/actions/loop", map[string]any{"exec": map[string]string{"kind": "python:3", "code": code}, "annotations": []object{{"key": "provide-api-key", "value": true}}})
	furnish := func() {
		ok("PUT", "_/triggers/lt", object{})
		ok("PUT", "_/rules/lr", object{"trigger": "/_/lt", "action": "/_/loop"})
	}
	dead := func(n int) []rouse.DeadLetter {
		t.Helper()
		var ds []rouse.DeadLetter
		eventually(t, "an event is parked", func() bool {
			var err error
			if ds, _, err = s.DeadEvents(t.Context(), "trigger:lt", 0, 10); err != nil {
				t.Fatal(err)
			}
			return len(ds) == n
		})
		return ds
	}
	furnish()
	for i := range 2 {
		id := ok("POST", "_/triggers/lt", object{}).text(t, "activationId")
		if ds := dead(i + 1); !strings.HasPrefix(ds[i].Reason, "fuse: it has come through") {
			t.Errorf("%+v", ds[i])
		}
		if r := w.ask("GET", "_/activations/"+id, nil); r.status != 200 {
			t.Errorf("the activation that was promised: %d %s", r.status, r.body)
		}
	}
	before := len(s.activationsOf("loop"))
	if n, err := s.RedriveEvents(t.Context(), "trigger:lt", dead(2)[0].ID); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	eventually(t, "it goes round again", func() bool { return len(s.activationsOf("loop")) > before })
	dead(2)
	if _, err := s.PauseRule(t.Context(), "trigger:lt", "lunch"); err != nil {
		t.Fatal(err)
	}
	if r, err := s.ResumeRule(t.Context(), "trigger:lt"); err != nil || r.Paused != "" {
		t.Errorf("%+v %v", r, err)
	}
	ok("DELETE", "_/rules/lr", nil)
	ok("DELETE", "_/triggers/lt", nil)
	if _, err := s.Rule(t.Context(), "trigger:lt"); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("%v", err)
	}
	furnish()
	if r, err := s.Rule(t.Context(), "trigger:lt"); err != nil || r.Status.Dead != 0 || r.Status.Waiting != 0 || r.Paused != "" {
		t.Errorf("%+v %v", r.Status, err)
	}
}
