package event

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestHide(t *testing.T) {
	a, b := Hide("correct horse"), Hide("correct horse")
	if a == b {
		t.Error("two digests of a secret are the same: they have no salt of their own")
	}
	for _, hidden := range []string{a, b} {
		if !IsHidden(hidden) || !IsOf(hidden, "correct horse") || IsOf(hidden, "battery staple") || IsOf(hidden, "") || strings.Contains(hidden, "horse") {
			t.Errorf("%q", hidden)
		}
	}
	if !IsHidden("***") || IsOf("***", "") || IsOf("***", "***") {
		t.Error("what has no digest is of no secret")
	}
	for _, text := range []string{"", "**", "***:", "***:00:00", "a***", "***:0011223344556677:zz", strings.Replace(a, "*", "x", 1), a + ":", a[:len(a)-2]} {
		if IsHidden(text) || IsOf(text, "correct horse") {
			t.Errorf("%q is hidden", text)
		}
	}
}

func TestHideSecrets(t *testing.T) {
	const config = `{"n":1,"password":"p","users":{"a":"1","b":""},"empty":"","odd":[1],"open":"o"}`
	names := []string{"password", "users", "empty", "odd", "missing"}
	if got := HideSecrets(json.RawMessage(config), names, nil); string(got) != `{"empty":"","n":1,"odd":[1],"open":"o","password":"***","users":{"a":"***","b":""}}` {
		t.Errorf("%s", got)
	}
	if got := HideSecrets(json.RawMessage(config), nil, nil); string(got) != config {
		t.Errorf("%s", got)
	}
	if got := HideSecrets(json.RawMessage(`[1]`), names, nil); string(got) != `"***"` {
		t.Errorf("%s", got)
	}
}

// Whatever a config is, no secret of it is shown.
func FuzzHideSecrets(f *testing.F) {
	f.Add(`{"secret":"correct horse","users":{"a":"b"}}`)
	f.Add(`{"secret":{"secret":"x"}}`)
	f.Add(`{"secret":1,"secret":"twice"}`)
	f.Add(`"x"`)
	f.Fuzz(func(t *testing.T, config string) {
		out := HideSecrets(json.RawMessage(config), []string{"secret", "users"}, nil)
		if !json.Valid(out) {
			t.Fatalf("%q is shown as %q", config, out)
		}
		_, _ = EachSecret(out, []string{"secret", "users"}, func(_ []string, s string) (string, error) {
			if s != "" && s != Hidden {
				t.Errorf("%q is shown as %q", config, out)
			}
			return s, nil
		})
	})
}
