package test

import (
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

// What an activation shows of its action is as it was, on disk too, whatever became
// of the action; and names may be as long as OpenWhisk has them.
func TestOpenWhiskActivationsOutliveTheirActions(t *testing.T) {
	s := start(t, "")
	provider := strings.Repeat("z", 120)
	w, guest := s.whisk(rouse.Namespace(provider)), s.whisk("guest")
	shared := strings.Repeat("p", 256) + "/" + strings.Repeat("n", 256)
	w.must("PUT", "packages/"+shared[:256], object{"publish": true})
	w.python(shared, echoes, map[string]any{"limits": map[string]any{"timeout": 12345, "memory": 128, "logs": 3}})
	w.python("slow", "import time\ndef main(args): time.sleep(9)\n", map[string]any{"limits": map[string]any{"timeout": 150}})
	shown := map[string]string{}
	run := func(who *whisk, path string, status int) {
		t.Helper()
		r := who.ask("POST", path+"?blocking=true", "{}")
		if r.status != status {
			t.Fatalf("%s: %d %s", path, r.status, r.body)
		}
		id := r.text(t, "activationId")
		shown[id] = string(who.ask("GET", "_/activations/"+id, nil).body)
	}
	run(w, "_/actions/"+shared, 200)
	run(guest, "namespaces/"+provider+"/actions/"+shared, 200)
	run(w, "_/actions/slow", 502)
	for id, is := range shown {
		for _, want := range []string{`{"key":"kind","value":"python:`, `{"key":"path","value":"` + provider + `/`, `"version":"0.0.1"`} {
			if !strings.Contains(is, want) {
				t.Errorf("%s is not in %s of %s", want, is, id)
			}
		}
	}
	w.python(shared, echoes, map[string]any{"limits": map[string]any{"timeout": 60000, "memory": 256}})
	w.must("DELETE", "packages/"+shared[:256]+"?force=true", nil)
	w.must("DELETE", "actions/slow", nil)
	s.stop()
	again := start(t, s.data)
	for id, want := range shown {
		got := ""
		for _, who := range []*whisk{{again, w.auth}, {again, guest.auth}} {
			if r := who.ask("GET", "_/activations/"+id, nil); r.status == 200 {
				got = string(r.body)
			}
		}
		if got != want {
			t.Errorf("%s\nwas\n%s", got, want)
		}
		if strings.Contains(want, `"timeout":150`) && !strings.Contains(got, "The action exceeded its time limits of 150 milliseconds") {
			t.Errorf("%s", got)
		}
	}
}
