// Package web makes an event of each HTTP request to a route, and answers when
// it is durable.
package web

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
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

// A Source serves triggers of the kind "web". It implements event.Server.
type Source struct{ Config }

// New returns a Source, which holds nothing.
func New(c Config) *Source {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Log = trigger.Logger(c.Log)
	return &Source{c}
}

// A config is what a trigger of this kind is told.
type config struct {
	Methods []string `json:"methods" doc:"that are taken"`
	Path    string   `json:"path" doc:"a template of the path below the trigger's address, such as /orders/{id}; none is any path"`
	Respond respond  `json:"respond" doc:"the answer"`
	Public  bool     `json:"public,omitempty" doc:"callers show no token"`
	ID      string   `json:"id,omitempty" doc:"the header that tells a repeated request, such as Idempotency-Key"`
}

// A respond is what a caller is told.
type respond struct {
	Status int             `json:"status" doc:"of the answer, from 200 to 299"`
	Body   json.RawMessage `json:"body,omitempty" doc:"of the answer, of which a text is sent as such; by default the id of the event"`
}

// Describe says what triggers of this kind are.
func Describe() trigger.Kind {
	return trigger.Kind{Name: "web", About: "HTTP requests to the trigger's address, /on/NAME, which are answered when the event is durable.",
		Fields:  trigger.Describe(defaults()),
		Event:   trigger.Event{Type: "http.request", Subject: "the method and the path, such as POST /orders/7", ID: "the header that id names; else a new one", Data: trigger.Describe(body{})},
		Example: "orders: {web: {methods: [POST], path: \"/{customer}\", public: true}}"}
}

func defaults() config {
	return config{Methods: []string{http.MethodPost}, Respond: respond{Status: http.StatusAccepted}}
}

func read(raw json.RawMessage) (c config, t template, err error) {
	c = defaults()
	if err := trigger.Decode(raw, &c); err != nil {
		return c, nil, err
	}
	if len(c.Methods) == 0 {
		return c, nil, invalid("methods", "none is named, such as POST")
	}
	for i, m := range c.Methods {
		c.Methods[i] = strings.ToUpper(m)
		if m == "" || strings.ContainsFunc(m, func(r rune) bool { return r < 'A' || r > 'z' || r > 'Z' && r < 'a' }) {
			return c, nil, invalid("methods", "%q is no method such as POST", m)
		}
	}
	if c.Respond.Status == 0 {
		c.Respond.Status = http.StatusAccepted
	}
	if c.Respond.Status < 200 || c.Respond.Status > 299 {
		return c, nil, invalid("respond.status", "it is %d; it must be from 200 to 299, as it is answered when all is well", c.Respond.Status)
	}
	t, err = parse(c.Path)
	return c, t, err
}

func invalid(field, format string, args ...any) error {
	return &rouse.Error{Op: "read config", Kind: rouse.Invalid, On: field, Err: fmt.Errorf(format, args...)}
}

// Kind implements event.Source.
func (s *Source) Kind() string { return "web" }

// Check implements event.Source.
func (s *Source) Check(raw json.RawMessage) (json.RawMessage, error) {
	c, _, err := read(raw)
	if err != nil {
		return nil, err
	}
	return trigger.Encode(c)
}

// Start implements event.Source; requests come by themselves.
func (s *Source) Start(t event.Trigger) (func(), error) {
	_, _, err := read(t.Config)
	return func() {}, err
}

// Open implements event.Server.
func (s *Source) Open(t event.Trigger) bool {
	c, _, err := read(t.Config)
	return err == nil && c.Public
}

// hidden are headers that functions must not see: they let their reader act as
// the caller.
var hidden = []string{"Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key", "X-Functions-Key"}

// A body is the data of an event.
type body struct {
	Method   string            `json:"method" doc:"of the request"`
	Path     string            `json:"path" doc:"below the trigger's address"`
	Values   map[string]string `json:"values,omitempty" doc:"of the names in the template"`
	Query    map[string]any    `json:"query,omitempty" doc:"a text of each name, or a list where it comes more than once"`
	Headers  map[string]string `json:"headers,omitempty" doc:"with names in lower case, but for those that are credentials"`
	Body     json.RawMessage   `json:"body,omitempty" doc:"JSON as it is, other text as a text, other bytes in base64"`
	Encoding string            `json:"encoding,omitempty" doc:"which of these body is" values:"json,text,base64"`
	Remote   string            `json:"remote,omitempty" doc:"the caller's address"`
}

// Serve implements event.Server.
func (s *Source) Serve(w http.ResponseWriter, r *http.Request, t event.Trigger, path string) {
	c, route, err := read(t.Config)
	if err != nil {
		s.refuse(w, t, err)
		return
	}
	values, ok := route.match(escaped(r, path))
	if !ok {
		trigger.RefuseAs(w, http.StatusNotFound, rouse.NotFound, fmt.Sprintf("path %q does not fit %s", path, c.Path))
		return
	}
	if !slices.Contains(c.Methods, r.Method) {
		w.Header().Set("Allow", strings.Join(c.Methods, ", "))
		trigger.RefuseAs(w, http.StatusMethodNotAllowed, rouse.Invalid, fmt.Sprintf("method %s is not among %s", r.Method, strings.Join(c.Methods, ", ")))
		return
	}
	e, err := s.event(w, r, c, path, values)
	if err == nil {
		e.Source = "trigger:" + t.Name
		err = s.Emitter.Emit(r.Context(), t.Ref, []rouse.Event{e}, nil)
	}
	if err != nil {
		s.refuse(w, t, err)
		return
	}
	answer(w, c.Respond, e.ID)
}

func (s *Source) refuse(w http.ResponseWriter, t event.Trigger, err error) {
	if rouse.KindOf(err) == rouse.Internal {
		s.Log.Error("serve request", "trigger", t.Ref.String(), "error", err)
	}
	trigger.Refuse(w, err)
}

func (s *Source) event(w http.ResponseWriter, r *http.Request, c config, path string, values map[string]string) (e rouse.Event, err error) {
	sent, err := trigger.Body(w, r)
	if err != nil {
		return e, err
	}
	b := body{Method: r.Method, Path: path, Values: values, Query: flat(r.URL.Query()), Headers: map[string]string{}, Remote: r.RemoteAddr}
	for name, all := range r.Header {
		if !slices.Contains(hidden, name) {
			b.Headers[strings.ToLower(name)] = strings.Join(all, ", ")
		}
	}
	if len(sent) > 0 {
		p := trigger.Read(sent)
		b.Body, b.Encoding = p.Value, p.Encoding
	}
	data, err := trigger.Encode(b)
	if err != nil {
		return e, err
	}
	id := ident.New()
	if c.ID != "" {
		if key := r.Header.Get(c.ID); len(key) > 256 {
			return e, rouse.Errorf(rouse.Invalid, "read request", c.ID, "it has %d bytes, 256 are the most", len(key))
		} else if key != "" {
			id = key
		}
	}
	return rouse.Event{ID: id, Type: "http.request", Subject: r.Method + " " + path, Time: s.Now().UTC(), ContentType: "application/json", Data: data}, nil
}

func flat(q url.Values) map[string]any {
	out := make(map[string]any, len(q))
	for name, all := range q {
		if out[name] = all; len(all) == 1 {
			out[name] = all[0]
		}
	}
	return out
}

func answer(w http.ResponseWriter, r respond, id string) {
	w.Header().Set("X-Rouse-Event", id)
	var text string
	switch {
	case r.Status == http.StatusNoContent:
		w.WriteHeader(r.Status)
	case len(r.Body) == 0:
		trigger.Answer(w, r.Status, map[string]string{"event": id})
	case json.Unmarshal(r.Body, &text) == nil:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(r.Status)
		_, _ = w.Write([]byte(text))
	default:
		trigger.Answer(w, r.Status, r.Body)
	}
}

// A template is a path in parts; one that begins with "{" stands for any, and
// the last for all that follow where it ends with "...}".
type template []string

func parse(s string) (template, error) {
	if s == "" {
		return nil, nil
	}
	if !strings.HasPrefix(s, "/") {
		return nil, invalid("path", "%q does not begin with a slash, as in /orders/{id}", s)
	}
	names := map[string]bool{}
	parts := strings.Split(s[1:], "/")
	for i, p := range parts {
		if !strings.ContainsAny(p, "{}") {
			continue
		}
		name, rest := strings.CutSuffix(strings.TrimSuffix(strings.TrimPrefix(p, "{"), "}"), "...")
		switch {
		case !strings.HasPrefix(p, "{") || !strings.HasSuffix(p, "}") || name == "" || strings.ContainsAny(name, "{}"):
			return nil, invalid("path", "%q is no part such as {id}", p)
		case rest && i < len(parts)-1:
			return nil, invalid("path", "%q must be the last part", p)
		case names[name]:
			return nil, invalid("path", "{%s} comes twice", name)
		}
		names[name] = true
	}
	return parts, nil
}

// escaped returns path as it is in the URL of r, of which it is the end: a slash
// within a part is none between two.
func escaped(r *http.Request, path string) string {
	whole := r.URL.EscapedPath()
	for i := range len(whole) {
		if whole[i] != '/' {
			continue
		}
		if tail, err := url.PathUnescape(whole[i:]); err == nil && tail == path {
			return whole[i:]
		}
	}
	return (&url.URL{Path: path}).EscapedPath()
}

// match returns what stands for a template's names in an escaped path.
func (t template) match(path string) (map[string]string, bool) {
	if t == nil {
		return nil, true
	}
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, p := range parts {
		if plain, err := url.PathUnescape(p); err == nil {
			parts[i] = plain
		}
	}
	values := map[string]string{}
	for i, p := range t {
		name, named := strings.CutPrefix(p, "{")
		name = strings.TrimSuffix(name, "}")
		if rest, ok := strings.CutSuffix(name, "..."); ok && named {
			values[rest] = strings.Join(parts[min(i, len(parts)):], "/")
			return values, true
		}
		switch {
		case i >= len(parts), named && parts[i] == "", !named && parts[i] != p:
			return nil, false
		case named:
			values[name] = parts[i]
		}
	}
	return values, len(parts) == len(t)
}
