package webhook

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/internal/shape"
	"github.com/rouse-run/rouse/trigger"
)

// A GitHub serves triggers of the kind "github". It implements event.Server.
//
// Source: docs.github.com, "Webhook events and payloads" and "Validating
// webhook deliveries".
type GitHub struct{ Config }

// NewGitHub returns a GitHub, which holds nothing.
func NewGitHub(c Config) *GitHub { return &GitHub{c.filled()} }

// A hook is what a trigger of this kind is told.
type hook struct {
	Secret     string   `json:"secret" doc:"of the webhook at GitHub, of 8 characters at least" required:"true"`
	Events     []string `json:"events" doc:"that make events here, such as push; * is all, and none is all but ping"`
	Repository string   `json:"repository,omitempty" doc:"the full name of the only one, such as octocat/hello; none is any"`
}

// DescribeGitHub says what triggers of the kind github are.
func DescribeGitHub() trigger.Kind {
	return trigger.Kind{Name: "github", About: "Deliveries of a webhook of GitHub's to the trigger's address, /on/NAME.",
		Fields: trigger.Describe(hook{Events: []string{}}),
		Event: trigger.Event{Type: "github. and GitHub's name of the event, such as github.push", Subject: "the full name of the repository", ID: "GitHub's of the delivery",
			Data: []trigger.Field{{Name: "(all)", Type: "an object", About: "the payload, as GitHub describes it. The attributes signature and useragent are those of the delivery"}}},
		Example: "hook: {github: {secret: \"${GITHUB_SECRET}\", events: [push, delete]}}"}
}

func readHook(raw json.RawMessage) (hook, error) {
	h := hook{Events: []string{}}
	if err := trigger.Decode(raw, &h); err != nil {
		return h, err
	}
	if len(h.Secret) < minSecret {
		return h, short(h.Secret)
	}
	for _, e := range h.Events {
		if e == "" || e != "*" && strings.Trim(e, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return h, invalid("events", "%q is no event such as push or pull_request", e)
		}
	}
	if owner, name, ok := strings.Cut(h.Repository, "/"); h.Repository != "" && (!ok || owner == "" || name == "" || strings.Contains(name, "/")) {
		return h, invalid("repository", "%q is no full name such as octocat/hello", h.Repository)
	}
	return h, nil
}

// Kind implements event.Source.
func (g *GitHub) Kind() string { return "github" }

// Secrets implements event.Secretive.
func (g *GitHub) Secrets() []string { return []string{"secret"} }

// Check implements event.Source.
func (g *GitHub) Check(raw json.RawMessage) (json.RawMessage, error) {
	h, err := readHook(raw)
	if err != nil {
		return nil, err
	}
	return trigger.Encode(h)
}

// Start implements event.Source; calls come by themselves.
func (g *GitHub) Start(t event.Trigger) (func(), error) {
	_, err := readHook(t.Config)
	return func() {}, err
}

// Open implements event.Server: callers sign.
func (g *GitHub) Open(event.Trigger) bool { return true }

// Serve implements event.Server.
func (g *GitHub) Serve(w http.ResponseWriter, r *http.Request, t event.Trigger, _ string) {
	h, err := readHook(t.Config)
	if err != nil {
		refuse(g.Config, w, t, err)
		return
	}
	body, err := signed(w, r, config{Secret: h.Secret, Header: "X-Hub-Signature-256", Algorithm: "sha256", Encoding: "hex", Prefix: "sha256="})
	if err != nil {
		refuse(g.Config, w, t, err)
		return
	}
	kind := r.Header.Get("X-GitHub-Event")
	e, why, err := g.event(r, h, kind, body)
	switch {
	case err != nil:
		refuse(g.Config, w, t, err)
		return
	case kind == "ping" && e.ID == "":
		trigger.Answer(w, http.StatusOK, map[string]string{"answer": "pong"})
		return
	case why != "":
		w.Header().Set("X-Rouse-Ignored", why) // an answer of this status has no body
		w.WriteHeader(http.StatusNoContent)
		return
	}
	e.Source = "trigger:" + t.Name
	if err := g.Emitter.Emit(r.Context(), t.Ref, []rouse.Event{e}, nil); err != nil {
		refuse(g.Config, w, t, err)
		return
	}
	trigger.Answer(w, http.StatusAccepted, map[string]string{"event": e.ID})
}

// event makes an event of a delivery, or says why it makes none.
func (g *GitHub) event(r *http.Request, h hook, kind string, body []byte) (e rouse.Event, why string, err error) {
	if kind == "" {
		return e, "", rouse.Errorf(rouse.Invalid, "read request", "X-GitHub-Event", "the header is missing")
	}
	if body, err = unwrap(r, body); err != nil {
		return e, "", err
	}
	var about struct {
		Repository struct {
			FullName string `json:"full_name"`
		} `json:"repository"`
	}
	if err := json.Unmarshal(body, &about); err != nil {
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			err = fmt.Errorf("%s is %s", cmp.Or(t.Field, "it"), shape.Named(t.Value))
		}
		return e, "", rouse.Errorf(rouse.Invalid, "read request", "payload", "it is not what is sent of a repository: %w", err)
	}
	wanted := slices.Contains(h.Events, kind) || slices.Contains(h.Events, "*")
	if kind == "ping" && !wanted {
		return e, "", nil // it says only that the hook was made
	}
	if len(h.Events) > 0 && !wanted {
		return e, "the trigger does not want " + kind, nil
	}
	if h.Repository != "" && !strings.EqualFold(h.Repository, about.Repository.FullName) {
		return e, "the trigger wants only what happens in " + h.Repository, nil
	}
	id, err := delivery(r, "X-GitHub-Delivery")
	return rouse.Event{ID: id, Type: "github." + kind, Subject: about.Repository.FullName, Time: g.Now().UTC(), ContentType: "application/json", Data: body,
		Attributes: attributes(r, map[string]string{attributeSignature: "X-Hub-Signature-256", attributeAgent: "User-Agent"})}, "", err
}

// The names of Attributes that events of the kind "github" have besides.
const (
	attributeSignature = "signature" // of the delivery as it came in, such as "sha256=..."
	attributeAgent     = "useragent" // of who delivered
)

// attributes are the values of headers, bounded, where they are there.
func attributes(r *http.Request, headers map[string]string) map[string]string {
	const most = 256
	all := map[string]string{}
	for name, header := range headers {
		if v := r.Header.Get(header); v != "" && len(v) <= most && utf8.ValidString(v) {
			all[name] = v
		}
	}
	return all
}

// unwrap returns the JSON of a payload, which a form has in a field.
func unwrap(r *http.Request, body []byte) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(body))
		if err != nil || !form.Has("payload") {
			return nil, rouse.Errorf(rouse.Invalid, "read request", "payload", "the form has no such field")
		}
		return []byte(form.Get("payload")), nil
	case err == nil && kind == "application/json":
		return body, nil
	}
	return nil, rouse.Errorf(rouse.Invalid, "read request", "Content-Type", "it is %q; it must be application/json or application/x-www-form-urlencoded", r.Header.Get("Content-Type"))
}
