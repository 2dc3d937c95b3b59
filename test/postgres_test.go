package test

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/store/postgres/pgtest"
)

// On PostgreSQL all is as on SQLite: deployed, called at once and later,
// recorded, delivered, and there again after a restart.
func TestOnPostgreSQL(t *testing.T) {
	url := pgtest.Start(t)
	s := start(t, "", "--store", url)
	s.python("hello", "def main(event):\n    print('hello')\n    return event\n", wire.Options{})
	if a := s.call("hello", 1); string(a.Result) != "1" {
		t.Errorf("%+v", a)
	}
	id, err := s.Accept(t.Context(), client.Call{Function: "hello", Payload: []byte("2")})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := s.Activation(t.Context(), id, waiting); err != nil || string(a.Result) != "2" {
		t.Errorf("%+v %v", a, err)
	}
	s.set("streams", "clicks", map[string]any{})
	s.set("rules", "r", map[string]any{"on": map[string]any{"stream": "clicks"}, "to": map[string]any{"function": "hello"}})
	s.stop()
	s = start(t, s.data, "--store", url)
	if err := s.Do(t.Context(), http.MethodPost, []string{"streams", "clicks", "records"}, nil, map[string]any{"records": []any{map[string]any{"key": "a", "data": 3}}}, nil); err != nil {
		t.Fatal(err)
	}
	s.awaitActivations("hello", 3)
	ls, err := s.ActivationLines(t.Context(), id, waiting)
	if err != nil || len(ls) != 1 || ls[0].Text != "hello" {
		t.Errorf("%v %v", ls, err)
	}
}

// A database is one node's at a time; one that is killed takes it back at once.
func TestADatabaseIsOneNodes(t *testing.T) {
	url := pgtest.Start(t)
	s := start(t, "", "--store", url)
	second := exec.Command(binary, "up", "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--store", url)
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), "one at a time") {
		t.Errorf("%v: %s", err, out)
	}
	s.kill()
	s = start(t, s.data, "--store", url)
	s.stop()
	start(t, "", "--store", url) // another one, after a stop
}

// What TestKillUnderEvents shows of SQLite holds on PostgreSQL.
func TestKillUnderEventsOnPostgreSQL(t *testing.T) {
	t.Parallel()
	testKills(t, "--store", pgtest.Start(t))
}
