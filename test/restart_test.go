package test

import (
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func TestARestartForgetsNothing(t *testing.T) {
	s := start(t, "")
	s.python("f", "def main(event):\n    print('one')\n    return 1\n", wire.Options{})
	s.python("f", "import six\ndef main(event):\n    print('two')\n    return six.__version__\n", wire.Options{})
	s.deploy("f", wire.Options{}, map[string]string{"main.py": "import six\ndef main(event):\n    print('three')\n    return six.__version__\n", "requirements.txt": "six==1.16.0\n"})
	if _, err := s.SetAlias(t.Context(), "f", "old", wire.AliasTarget{Version: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SetRoute(t.Context(), "GET /one/{x}", wire.RouteOptions{To: "f", Qualifier: "old", Public: true}); err != nil {
		t.Fatal(err)
	}
	a := s.call("f", nil)
	for _, end := range []func(*server){(*server).stop, (*server).kill} {
		end(s)
		s = start(t, s.data)
		for qualifier, want := range map[string]string{"": `"1.16.0"`, "1": "1", "old": "1"} {
			got, err := s.Invoke(t.Context(), client.Call{Function: "f", Qualifier: qualifier})
			if err != nil || string(got.Result) != want {
				t.Errorf("%q: %s %+v %v", qualifier, got.Result, got.Failure, err)
			}
		}
		if r, body := s.get("/one/2"); r.StatusCode != 200 || body != "1" {
			t.Errorf("its route: %s %s", r.Status, body)
		}
		stored, err := s.Activation(t.Context(), a.ID, 0)
		if err != nil || stored.Status != rouse.StatusAnswered || string(stored.Result) != `"1.16.0"` || stored.Version != 3 {
			t.Errorf("%+v %v", stored, err)
		}
		lines, err := s.ActivationLines(t.Context(), a.ID, 0)
		if err != nil || len(lines) != 1 || lines[0].Text != "three" {
			t.Errorf("%+v %v", lines, err)
		}
		versions, err := s.Versions(t.Context(), "f")
		if err != nil || len(versions) != 3 {
			t.Errorf("%d versions %v", len(versions), err)
		}
	}
}
