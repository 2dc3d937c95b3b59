package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// The actions of the system's packages answer as they say they do.
func TestTheSamplesOfTheSystem(t *testing.T) {
	s := start(t, "")
	w := s.whisk("guest")
	ran := 0
	for _, pack := range []string{"utils", "samples"} {
		var p struct{ Actions []struct{ Name string } }
		if err := json.Unmarshal(w.ask("GET", "namespaces/whisk.system/packages/"+pack, nil).body, &p); err != nil {
			t.Fatal(err)
		}
		for _, a := range p.Actions {
			name := "/whisk.system/" + pack + "/" + a.Name
			var says record
			if err := json.Unmarshal(w.ask("GET", "namespaces/whisk.system/actions/"+pack+"/"+a.Name+"?code=false", nil).body, &says); err != nil {
				t.Fatal(err)
			}
			input, output := says.annotation("sampleInput"), says.annotation("sampleOutput")
			switch a.Name {
			case "date", "hosturl", "curl": // they answer otherwise each time, or elsewhere
				continue
			case "namespace":
				input = "{}"
			}
			ran++
			status, got := w.run(name, json.RawMessage(input))
			var want object
			if err := json.Unmarshal([]byte(output), &want); err != nil || status != 200 || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s of %s: %d %v, want %s", name, input, status, got, output)
			}
		}
	}
	if ran < 15 {
		t.Errorf("%d actions ran", ran)
	}
	if _, said := w.run("/whisk.system/utils/date", object{}); len(fmt.Sprint(said["date"])) != len("2016-03-22T00:59:55.961Z") {
		t.Errorf("%v", said)
	}
	if status, said := w.run("/whisk.system/utils/smash", object{"a": 1}); status != 502 || said["error"] != "Expected an argument '$fieldName' of type 'string'." {
		t.Errorf("%d %v", status, said)
	}
	if _, said := w.run("/whisk.system/utils/hosturl", object{"path": "a"}); said["url"] != "http://"+s.addr+"/api/v1/namespaces/guest/actions/a" {
		t.Errorf("%v", said)
	}
	// What leads nowhere is said, not thrown; the platform's own files are no URL.
	if _, said := w.run("/whisk.system/samples/curl", object{"payload": "file:///etc/passwd"}); !strings.Contains(fmt.Sprint(said["error"]), "no URL of http") {
		t.Errorf("%v", said)
	}
}
