// Package webhook makes an event of each call that somebody's service makes
// when something happens there. Calls are signed with a secret that both sides
// know, so callers need no token of the platform.
package webhook

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/internal/ident"
	"github.com/rouse-run/rouse/trigger"
)

// A Config says with what a Source works.
type Config struct {
	Emitter event.Emitter
	Now     func() time.Time // nil is time.Now
	Log     *slog.Logger     // nil discards
}

func (c Config) filled() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Log = trigger.Logger(c.Log)
	return c
}

// A Source serves triggers of the kind "webhook": calls signed with an HMAC of
// the body in a header. It implements event.Server.
type Source struct{ Config }

// New returns a Source, which holds nothing.
func New(c Config) *Source { return &Source{c.filled()} }

// A config is what a trigger of this kind is told.
type config struct {
	Secret    string `json:"secret" doc:"that both sides know, of 8 characters at least" required:"true"`
	Header    string `json:"header" doc:"that has the signature"`
	Algorithm string `json:"algorithm" doc:"of the HMAC that signs" values:"sha1,sha256,sha512"`
	Encoding  string `json:"encoding" doc:"of the signature" values:"hex,base64"`
	Prefix    string `json:"prefix" doc:"before the signature"`
	ID        string `json:"id,omitempty" doc:"the header that tells a repeated call"`
	Type      string `json:"type,omitempty" doc:"the header that says what happened"`
}

// minSecret is how many characters a secret has at least.
const minSecret = 8

var algorithms = map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

// Describe says what triggers of the kind webhook are.
func Describe() trigger.Kind {
	return trigger.Kind{Name: "webhook", About: "Calls of a service to the trigger's address, /on/NAME, that are signed with an HMAC of the body, so that callers need no token.",
		Fields: trigger.Describe(defaults()),
		Event: trigger.Event{Type: "webhook.received, or webhook. and what the header says that type names", Subject: "the path below the trigger's address",
			ID: "the header that id names; else a new one", Data: []trigger.Field{{Name: "(all)", Type: "any JSON", About: "the body where that is JSON; else {\"body\", \"encoding\"}, as of kind web"}}},
		Example: "payments: {webhook: {secret: \"${PAYMENTS_SECRET}\", header: X-Signature, id: X-Delivery}}"}
}

func defaults() config {
	return config{Header: "X-Signature-256", Algorithm: "sha256", Encoding: "hex", Prefix: "sha256="}
}

func read(raw json.RawMessage) (config, error) {
	c := defaults()
	if err := trigger.Decode(raw, &c); err != nil {
		return c, err
	}
	switch {
	case len(c.Secret) < minSecret:
		return c, short(c.Secret)
	case c.Header == "":
		return c, invalid("header", "the name of the header with the signature is wanted, such as X-Signature-256")
	case algorithms[c.Algorithm] == nil:
		return c, invalid("algorithm", "there is no %q; there are sha1, sha256 and sha512", c.Algorithm)
	case c.Encoding != "hex" && c.Encoding != "base64":
		return c, invalid("encoding", "there is no %q; there are hex and base64", c.Encoding)
	}
	return c, nil
}

// short says that a secret is, and does not show it.
func short(secret string) error {
	return invalid("secret", "it has %d characters, %d are the least", len(secret), minSecret)
}

func invalid(field, format string, args ...any) error {
	return &rouse.Error{Op: "read config", Kind: rouse.Invalid, On: field, Err: fmt.Errorf(format, args...)}
}

// Kind implements event.Source.
func (s *Source) Kind() string { return "webhook" }

// Secrets implements event.Secretive.
func (s *Source) Secrets() []string { return []string{"secret"} }

// Check implements event.Source.
func (s *Source) Check(raw json.RawMessage) (json.RawMessage, error) {
	c, err := read(raw)
	if err != nil {
		return nil, err
	}
	return trigger.Encode(c)
}

// Start implements event.Source; calls come by themselves.
func (s *Source) Start(t event.Trigger) (func(), error) {
	_, err := read(t.Config)
	return func() {}, err
}

// Open implements event.Server: callers sign.
func (s *Source) Open(event.Trigger) bool { return true }

// Serve implements event.Server.
func (s *Source) Serve(w http.ResponseWriter, r *http.Request, t event.Trigger, path string) {
	c, err := read(t.Config)
	if err != nil {
		refuse(s.Config, w, t, err)
		return
	}
	body, err := signed(w, r, c)
	if err != nil {
		refuse(s.Config, w, t, err)
		return
	}
	e := rouse.Event{Type: "webhook.received", Source: "trigger:" + t.Name, Subject: path, Time: s.Now().UTC(), ContentType: "application/json"}
	if c.Type != "" && r.Header.Get(c.Type) != "" {
		e.Type = "webhook." + r.Header.Get(c.Type)
	}
	if e.ID, err = delivery(r, c.ID); err == nil {
		e.Data, err = payload(body)
	}
	if err == nil {
		err = s.Emitter.Emit(r.Context(), t.Ref, []rouse.Event{e}, nil)
	}
	if err != nil {
		refuse(s.Config, w, t, err)
		return
	}
	trigger.Answer(w, http.StatusAccepted, map[string]string{"event": e.ID})
}

func refuse(c Config, w http.ResponseWriter, t event.Trigger, err error) {
	if rouse.KindOf(err) == rouse.Internal {
		c.Log.Error("serve request", "trigger", t.Ref.String(), "error", err)
	}
	trigger.Refuse(w, err)
}

// maxID is how many bytes a caller's ID has at most.
const maxID = 256

// delivery returns the ID that a caller gave, or a new one.
func delivery(r *http.Request, header string) (string, error) {
	if header == "" {
		return ident.New(), nil
	}
	id := r.Header.Get(header)
	if id == "" || len(id) > maxID {
		return "", rouse.Errorf(rouse.Invalid, "read request", header, "the header must have an id of 1 to %d bytes, so that a repeated call is told", maxID)
	}
	return id, nil
}

// payload returns a body where it is JSON, else what stands for it.
func payload(b []byte) ([]byte, error) {
	p := trigger.Read(b)
	if p.Encoding == "json" {
		return p.Value, nil
	}
	return trigger.Encode(struct {
		Body     json.RawMessage `json:"body"`
		Encoding string          `json:"encoding"`
	}{p.Value, p.Encoding})
}

// signed returns the body of a request when its signature is right. Errors:
// Unauthenticated, TooLarge.
func signed(w http.ResponseWriter, r *http.Request, c config) ([]byte, error) {
	given := r.Header.Get(c.Header)
	if given == "" {
		return nil, rouse.Errorf(rouse.Unauthenticated, "check signature", c.Header, "the header is missing")
	}
	body, err := trigger.Body(w, r)
	if err != nil {
		return nil, err
	}
	text, ok := strings.CutPrefix(given, c.Prefix)
	sum, err := decode(c.Encoding, text)
	mac := hmac.New(algorithms[c.Algorithm], []byte(c.Secret))
	_, _ = mac.Write(body) // a hash takes all
	if !hmac.Equal(sum, mac.Sum(nil)) || !ok || err != nil {
		return nil, rouse.Errorf(rouse.Unauthenticated, "check signature", c.Header, "it is not that of the body with the secret of the trigger")
	}
	return body, nil
}

func decode(encoding, s string) ([]byte, error) {
	if encoding == "hex" {
		return hex.DecodeString(s)
	}
	return base64.StdEncoding.DecodeString(s)
}
