// Package events takes CloudEvents 1.0 over HTTP, in the structured, the binary
// and the batched mode, and answers when they are durable.
//
// Source: github.com/cloudevents/spec, "HTTP Protocol Binding", version 1.0.2.
package events

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/binding"
	cloud "github.com/cloudevents/sdk-go/v2/event"
	cloudhttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/trigger"
)

// A Config says with what a Source works.
type Config struct {
	Emitter event.Emitter
	Now     func() time.Time // for events without a time; nil is time.Now
	Log     *slog.Logger     // nil discards
}

// A Source serves triggers of the kind "events". It implements event.Server.
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
	Types  []string `json:"types" doc:"that are taken, the others are dropped; none is all"`
	Public bool     `json:"public,omitempty" doc:"callers show no token"`
}

// Describe says what triggers of this kind are.
func Describe() trigger.Kind {
	return trigger.Kind{Name: "events", About: "CloudEvents 1.0 that are posted to the trigger's address, /on/NAME: structured, binary or batched.",
		Fields: trigger.Describe(config{Types: []string{}}),
		Event: trigger.Event{Type: "the event's own", Subject: "the event's own", ID: "the event's own source and id",
			Data: []trigger.Field{{Name: "(all)", Type: "any JSON", About: "the event's own; its extensions are attributes"}}},
		Example: "ear: {events: {types: [com.example.order.placed], public: true}}"}
}

func read(raw json.RawMessage) (config, error) {
	c := config{Types: []string{}}
	if err := trigger.Decode(raw, &c); err != nil {
		return c, err
	}
	if slices.Contains(c.Types, "") {
		return c, rouse.Errorf(rouse.Invalid, "read config", "types", "a type is empty; they are such as com.example.order.placed")
	}
	return c, nil
}

// Kind implements event.Source.
func (s *Source) Kind() string { return "events" }

// Check implements event.Source.
func (s *Source) Check(raw json.RawMessage) (json.RawMessage, error) {
	c, err := read(raw)
	if err != nil {
		return nil, err
	}
	return trigger.Encode(c)
}

// Start implements event.Source; requests come by themselves.
func (s *Source) Start(t event.Trigger) (func(), error) {
	_, err := read(t.Config)
	return func() {}, err
}

// Open implements event.Server.
func (s *Source) Open(t event.Trigger) bool {
	c, err := read(t.Config)
	return err == nil && c.Public
}

// Serve implements event.Server.
func (s *Source) Serve(w http.ResponseWriter, r *http.Request, t event.Trigger, _ string) {
	c, err := read(t.Config)
	if err != nil {
		s.refuse(w, t, err)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		trigger.RefuseAs(w, http.StatusMethodNotAllowed, rouse.Invalid, "events are posted")
		return
	}
	body, err := trigger.Body(w, r)
	if err != nil {
		s.refuse(w, t, err)
		return
	}
	given, err := decode(r.Header, body)
	if errors.Is(err, errUnknown) {
		trigger.RefuseAs(w, http.StatusUnsupportedMediaType, rouse.Invalid, err.Error())
		return
	}
	var taken []rouse.Event
	ids := []string{}
	for i, g := range given {
		if err != nil {
			break
		}
		if len(c.Types) > 0 && !slices.Contains(c.Types, g.Type()) {
			continue
		}
		var e rouse.Event
		if e, err = s.convert(g); err != nil {
			err = at(i, len(given), err)
		}
		taken, ids = append(taken, e), append(ids, e.ID)
	}
	if err == nil && len(taken) > 0 {
		err = s.Emitter.Emit(r.Context(), t.Ref, taken, nil)
	}
	switch {
	case err != nil:
		s.refuse(w, t, err)
	case len(taken) == 0:
		trigger.Answer(w, http.StatusOK, map[string]any{"events": ids, "ignored": len(given)})
	default:
		trigger.Answer(w, http.StatusAccepted, map[string]any{"events": ids, "ignored": len(given) - len(taken)})
	}
}

func (s *Source) refuse(w http.ResponseWriter, t event.Trigger, err error) {
	if rouse.KindOf(err) == rouse.Internal {
		s.Log.Error("serve request", "trigger", t.Ref.String(), "error", err)
	}
	trigger.Refuse(w, err)
}

var errUnknown = errors.New(`the request is no event: its Content-Type is not application/cloudevents+json or application/cloudevents-batch+json, and it has no header ce-specversion`)

// decode reads the events of a request. Errors: errUnknown, Invalid with the
// attribute that is wrong.
func decode(h http.Header, body []byte) (es []cloud.Event, err error) {
	h = header(h)
	mode := cloudhttp.NewMessage(h, http.NoBody).ReadEncoding()
	var given []map[string]any
	switch mode {
	case binding.EncodingBatch:
		err = json.Unmarshal(body, &given)
	case binding.EncodingStructured:
		given = make([]map[string]any, 1)
		err = json.Unmarshal(body, &given[0])
	case binding.EncodingBinary:
		given = []map[string]any{attributes(h)}
	default:
		if v := h.Get("Ce-Specversion"); v != "" {
			return nil, invalid("specversion", fmt.Errorf("it is %q; it must be 1.0", v))
		}
		return nil, errUnknown
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil, rouse.Errorf(rouse.Invalid, "read event", "", "it can't be read: the body is of the JSON type %s; a batch is a list of events, and an event an object", wrong.Value)
	}
	if err != nil {
		return nil, rouse.Errorf(rouse.Invalid, "read event", "", "it can't be read: %w", err)
	}
	for i, one := range given {
		if wrong := blame(one); wrong != nil {
			return nil, at(i, len(given), wrong)
		}
	}
	if mode != binding.EncodingBinary {
		// The parser takes spaces before data_base64 for part of it.
		var b bytes.Buffer
		if err := json.Compact(&b, body); err != nil {
			return nil, rouse.Errorf(rouse.Invalid, "read event", "", "it can't be read: %w", err)
		}
		body = b.Bytes()
	}
	message := cloudhttp.NewMessage(h, io.NopCloser(bytes.NewReader(body)))
	if mode == binding.EncodingBatch {
		es, err = binding.ToEvents(context.Background(), message, message.BodyReader)
	} else {
		es, err = one(message)
	}
	if err != nil {
		return nil, rouse.Errorf(rouse.Invalid, "read event", "", "it can't be read: %w", err)
	}
	for i, e := range es {
		if wrong := validate(e); wrong != nil {
			return nil, at(i, len(es), wrong)
		}
	}
	return es, nil
}

func one(m *cloudhttp.Message) ([]cloud.Event, error) {
	e, err := binding.ToEvent(context.Background(), m)
	if err != nil {
		return nil, err
	}
	return []cloud.Event{*e}, nil
}

// header drops parameters of the content type, which the parser does not know
// but where it is that of the data, and decodes attributes, which it does not do.
func header(h http.Header) http.Header {
	h = h.Clone()
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err == nil && strings.HasPrefix(kind, "application/cloudevents") {
		h.Set("Content-Type", kind)
		return h
	}
	for name, values := range h {
		for i := range values {
			if strings.HasPrefix(name, "Ce-") {
				values[i] = decoded(values[i])
			}
		}
	}
	return h
}

// decoded is what the value of a header stands for: see 3.1.3.2 of the
// specification. What is not well encoded stands for itself.
func decoded(value string) string {
	if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
		value = quoted.ReplaceAllString(value[1:n-1], "$1")
	}
	if plain, err := url.PathUnescape(value); err == nil && utf8.ValidString(plain) {
		return plain
	}
	return value
}

// quoted is a character with the backslash before it.
var quoted = regexp.MustCompile(`\\(.)`)

func attributes(h http.Header) map[string]any {
	all := map[string]any{}
	for name, values := range h {
		if name, ok := strings.CutPrefix(strings.ToLower(name), "ce-"); ok {
			all[name] = values[0]
		}
	}
	return all
}

// blame returns which attribute keeps an event from being read, or nil.
func blame(given map[string]any) error {
	for _, name := range []string{"specversion", "id", "source", "type"} {
		if s, ok := given[name].(string); !ok || s == "" {
			return invalid(name, errors.New("it is missing, or no text"))
		}
	}
	if given["specversion"] != "1.0" {
		return invalid("specversion", fmt.Errorf("it is %q; it must be 1.0", given["specversion"]))
	}
	parsers := map[string]func(string) error{
		"source":     func(s string) error { return unless(types.ParseURIRef(s) != nil, "no URI reference") },
		"dataschema": func(s string) error { return unless(types.ParseURI(s) != nil, "no URI") },
		"time": func(s string) error {
			_, err := types.ParseTime(s)
			return err
		},
	}
	for _, name := range slices.Sorted(maps.Keys(parsers)) {
		v, ok := given[name]
		if !ok {
			continue
		}
		s, ok := v.(string)
		if !ok {
			return invalid(name, errors.New("it is no text"))
		}
		if err := parsers[name](s); err != nil {
			return invalid(name, err)
		}
	}
	if given["data"] != nil && given["data_base64"] != nil {
		return invalid("data_base64", errors.New("there is data as well: one of the two is enough"))
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !extension(name) && name != "data_base64" {
			return invalid(name, errors.New("names of attributes have only a-z and 0-9"))
		}
	}
	return nil
}

func extension(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

func unless(ok bool, why string) error {
	if ok {
		return nil
	}
	return errors.New(why)
}

// validate says what the specification does not allow.
func validate(e cloud.Event) error {
	if e.SpecVersion() != cloud.CloudEventsVersionV1 {
		return invalid("specversion", fmt.Errorf("it is %q; it must be 1.0", e.SpecVersion()))
	}
	err := e.Validate()
	if v, ok := errors.AsType[cloud.ValidationError](err); ok && len(v) > 0 {
		name := slices.Sorted(maps.Keys(v))[0]
		return invalid(name, v[name])
	}
	return err
}

func invalid(attribute string, err error) error {
	return &rouse.Error{Op: "read event", Kind: rouse.Invalid, On: attribute, Err: err}
}

// at says which of several events an error is about.
func at(i, n int, err error) error {
	if n < 2 {
		return err
	}
	e, ok := errors.AsType[*rouse.Error](err)
	if !ok {
		return err
	}
	return &rouse.Error{Op: fmt.Sprintf("%s %d", e.Op, i), Kind: e.Kind, On: e.On, Err: e.Err}
}

// attributeID has the ID that the sender gave, which is unique only together
// with the source.
const attributeID = "originalid"

// maxID is how many bytes an ID may have that is kept readable.
const maxID = 512

// escape spells a source so that the first # after it begins the ID: a source may
// have a fragment itself.
var escape = strings.NewReplacer("%", "%25", "#", "%23")

// convert makes a CloudEvent ours. Its ID is its source and its own ID, so that
// one that is sent again is known.
func (s *Source) convert(g cloud.Event) (rouse.Event, error) {
	id := escape.Replace(g.Source()) + "#" + g.ID()
	if len(id) > maxID {
		sum := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(sum[:])
	}
	e := rouse.Event{ID: id, Type: g.Type(), Source: g.Source(), Subject: g.Subject(), Time: g.Time().UTC(),
		ContentType: g.DataContentType(), Data: g.Data(), Attributes: map[string]string{attributeID: g.ID()}}
	if e.Time.IsZero() {
		e.Time = s.Now().UTC()
	}
	if schema := g.DataSchema(); schema != "" {
		e.Attributes["dataschema"] = schema
	}
	for name, v := range g.Extensions() {
		text, err := types.Format(v)
		if err != nil {
			return e, invalid(name, err)
		}
		if name != attributeID { // it is ours to say
			e.Attributes[name] = text
		}
	}
	return e, nil
}
