package rule

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// A safe is a source whose triggers have secrets.
type safe struct{ button }

func (safe) Kind() string { return "safe" }

func (safe) Secrets() []string { return []string{"secret", "users"} }

// Secrets are hidden where a trigger is shown; what is shown can be put back and
// keeps them, or brings back the one before.
func TestSecretsOfTriggers(t *testing.T) {
	w := newWorld(t, safe{})
	set := func(config string) (event.Trigger, error) {
		return w.SetTrigger(t.Context(), event.Trigger{Ref: ref("s"), Kind: "safe", Config: json.RawMessage(config)})
	}
	must := func(config, want string) event.Trigger {
		t.Helper()
		stored, err := set(config)
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		if json.Unmarshal(stored.Config, &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
			t.Fatalf("%s", stored.Config)
		}
		if x, _ := json.Marshal(a); string(x) != string(mustJSON(t, b)) {
			t.Fatalf("it is %s, want %s", stored.Config, want)
		}
		return stored
	}
	if _, err := set(`{"secret": "***"}`); rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), "secret: *** stands for") {
		t.Errorf("hidden, of none: %v", err)
	}
	first := must(`{"secret": "one", "n": 1, "users": {"ada": "a"}}`, `{"secret": "one", "n": 1, "users": {"ada": "a"}}`)
	if shown := w.Show(first, false); string(shown.Config) != `{"n":1,"secret":"***","users":{"ada":"***"}}` {
		t.Errorf("%s", shown.Config)
	}
	got := string(w.Show(first, true).Config)
	must(`{"secret": "***", "n": 2, "users": {"ada": "***", "bob": "b"}}`, `{"secret": "one", "n": 2, "users": {"ada": "a", "bob": "b"}}`)
	must(got, `{"secret": "one", "n": 1, "users": {"ada": "a"}}`)
	must(`{"secret": "two"}`, `{"secret": "two"}`)
	w.stop()
	w.start()                                                     // what was before is known after a restart
	must(got, `{"secret": "one", "n": 1, "users": {"ada": "a"}}`) // taken back
	must(`{"secret": "three"}`, `{"secret": "three"}`)
	must(`{"secret": "four"}`, `{"secret": "four"}`)
	if _, err := set(got); rouse.KindOf(err) != rouse.Conflict || !strings.Contains(err.Error(), "secret: the secret is another one") {
		t.Errorf("one that is forgotten: %v", err)
	}
	if _, err := set(`{"secret": "four", "users": {"eve": "***"}}`); rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), "users.eve") {
		t.Errorf("hidden, of nobody: %v", err)
	}
	must(`{"secret": ["***"]}`, `{"secret": ["***"]}`) // its source would refuse it
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
