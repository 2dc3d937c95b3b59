package rule

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// A storedTrigger is what is kept of a trigger.
type storedTrigger struct {
	event.Trigger
	Before json.RawMessage `json:"before,omitempty"` // so that a change of a secret can be taken back
}

// secretsOf names the fields of a source's configs that are secrets.
func secretsOf(s event.Source) []string {
	if x, ok := s.(event.Secretive); ok {
		return x.Secrets()
	}
	return nil
}

// reveal returns t's config with secrets in the place of hidden ones: those of
// old, which has the place that t is to take, or those before them. Nil is none.
func reveal(s event.Source, t event.Trigger, old *running) (json.RawMessage, error) {
	var there []json.RawMessage
	if old != nil && old.Kind == t.Kind {
		there = []json.RawMessage{old.Config, old.before}
	}
	config, err := event.EachSecret(t.Config, secretsOf(s), func(path []string, secret string) (string, error) {
		if !event.IsHidden(secret) {
			return secret, nil
		}
		name := strings.Join(path, ".")
		for i, c := range there {
			candidate := secretAt(c, s, path)
			switch {
			case candidate == "":
			case secret == event.Hidden && i == 0, event.IsOf(secret, candidate):
				return candidate, nil
			}
		}
		if secret == event.Hidden {
			return "", rouse.Errorf(rouse.Invalid, "set trigger", name, "%s stands for the secret that is there, and there is none: give the secret itself", event.Hidden)
		}
		return "", rouse.Errorf(rouse.Conflict, "set trigger", name, "the secret is another one by now: give the secret itself")
	})
	if err != nil && !known(err) {
		return t.Config, nil // it is no object: Check says so
	}
	return config, err
}

// secretAt returns the secret of a config at a path; "" is none.
func secretAt(config json.RawMessage, s event.Source, path []string) (found string) {
	if config == nil {
		return ""
	}
	_, err := event.EachSecret(config, secretsOf(s), func(p []string, secret string) (string, error) {
		if slices.Equal(p, path) {
			found = secret
		}
		return secret, nil
	})
	if err != nil {
		return ""
	}
	return found
}

// Show implements event.Viewer.
func (e *Engine) Show(t event.Trigger, digests bool) event.Trigger {
	hide := event.Hide
	if !digests {
		hide = nil
	}
	if names := secretsOf(e.sources[t.Kind]); len(names) > 0 {
		t.Config = event.HideSecrets(t.Config, names, hide)
	}
	return t
}
