package event

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"strings"
)

// A Secretive is a Source whose Configs hold secrets.
type Secretive interface {
	Source

	// Secrets names the fields of a Config that are secrets: texts, or objects
	// of which each value is one.
	Secrets() []string
}

// Hidden stands for a secret where a Config is shown. In a Config that is set it
// stands for the secret that is there.
const Hidden = "***"

// Bounds of what a digest of a secret is made of. Somebody who sees it and
// guesses has to do as much for each guess.
const (
	saltSize   = 8
	digestSize = 16
	rounds     = 20_000
)

// Hide returns what is shown of a secret: Hidden, a salt and a digest, by which
// who knows the secret can tell that it is the same. It takes some
// milliseconds.
func Hide(secret string) string {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails, its documentation says
	return hide(secret, salt)
}

func hide(secret string, salt []byte) string {
	digest, err := pbkdf2.Key(sha256.New, secret, salt, rounds, digestSize)
	if err != nil { // never with these sizes
		return Hidden
	}
	return Hidden + ":" + hex.EncodeToString(salt) + ":" + hex.EncodeToString(digest)
}

// IsHidden reports whether a text is what Hide returns, or Hidden alone.
func IsHidden(text string) bool {
	if text == Hidden {
		return true
	}
	_, ok := saltOf(text)
	return ok
}

func saltOf(text string) ([]byte, bool) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 || parts[0] != Hidden || len(parts[2]) != 2*digestSize {
		return nil, false
	}
	salt, err := hex.DecodeString(parts[1])
	_, err2 := hex.DecodeString(parts[2])
	return salt, err == nil && err2 == nil && len(salt) == saltSize
}

// IsOf reports whether a hidden text with a digest is one of a secret.
func IsOf(hidden, secret string) bool {
	salt, ok := saltOf(hidden)
	return ok && subtle.ConstantTimeCompare([]byte(hide(secret, salt)), []byte(hidden)) == 1
}

// HideSecrets returns a Config with hide's result in the place of each secret in
// the fields of these names; nil hides them as Hidden.
func HideSecrets(config json.RawMessage, names []string, hide func(secret string) string) json.RawMessage {
	if hide == nil {
		hide = func(string) string { return Hidden }
	}
	out, err := EachSecret(config, names, func(_ []string, secret string) (string, error) {
		if secret == "" {
			return "", nil
		}
		return hide(secret), nil
	})
	if err != nil { // it is no object: nothing of it is known to be fit to be seen
		return json.RawMessage(`"` + Hidden + `"`)
	}
	return out
}

// EachSecret returns a Config in which each secret in the fields of these names
// is replaced by what f makes of it and its path. What else there is stays.
func EachSecret(config json.RawMessage, names []string, f func(path []string, secret string) (string, error)) (json.RawMessage, error) {
	if len(names) == 0 {
		return config, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(config, &fields); err != nil {
		return config, err
	}
	changed := false
	for _, name := range names {
		value, ok := fields[name]
		if !ok {
			continue
		}
		var text string
		var several map[string]string
		var v any
		var err error
		switch {
		case json.Unmarshal(value, &text) == nil:
			v, err = f([]string{name}, text)
		case json.Unmarshal(value, &several) == nil:
			for k, secret := range several {
				if several[k], err = f([]string{name, k}, secret); err != nil {
					return config, err
				}
			}
			v = several
		default:
			continue // who checks it says what is wrong
		}
		if err != nil {
			return config, err
		}
		if fields[name], err = json.Marshal(v); err != nil {
			return config, err
		}
		changed = true
	}
	if !changed {
		return config, nil
	}
	return json.Marshal(fields)
}
