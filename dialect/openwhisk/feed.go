package openwhisk

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/rouse-run/rouse"
)

// What feeds are told of a trigger's life. The last one we tell ourselves.
const (
	lifeCreate  = "CREATE"
	lifeRead    = "READ"
	lifeUpdate  = "UPDATE"
	lifeDelete  = "DELETE"
	lifePause   = "PAUSE"
	lifeUnpause = "UNPAUSE"
	lifeExpire  = "EXPIRE"
)

// Texts of what feeds refuse, as their clients know them.
const (
	textNoTriggerName = "no trigger name parameter was provided"
	textNoLifecycle   = "unsupported lifecycleEvent"
	textNothingNew    = "no updatable parameters were specified"
)

// A feed is what is kept of a trigger that a feed of ours makes fire. It is there
// for as long as the feed was not told to delete it, be the trigger there or not.
type feed struct {
	Alarm   *alarm     `json:"alarm,omitempty"`
	Hook    *hook      `json:"hook,omitempty"`
	Stream  *fedStream `json:"stream,omitempty"`
	Paused  bool       `json:"paused,omitempty"`
	Changed int64      `json:"changed"` // ms since 1970
}

// An order is what a feed is told to do for a trigger, in the namespace of who
// tells it: feeds run as copies there, and so need no key.
type order struct {
	ns    rouse.Namespace
	name  string // of the trigger
	life  string
	given parameters
}

// A feeder is one of the feeds. Its methods are about the trigger of an order.
type feeder interface {
	// create makes the trigger fire.
	create(ctx context.Context, o order) (any, error)

	// read shows f, which is this feeder's.
	read(o order, f feed) (map[string]any, error)

	// update changes what is given, pause stops firings or goes on, and remove
	// ends them.
	update(ctx context.Context, o order, f feed) error
	pause(ctx context.Context, o order, f feed) error
	remove(ctx context.Context, o order, f feed) error
}

// success is what feeds answer where there is no more to say.
var success = map[string]string{"status": "success"}

// live does what a feed is told.
func (d *Door) live(ctx context.Context, s feeder, ns rouse.Namespace, given parameters) (any, error) {
	o := order{ns: ns, life: given.text("lifecycleEvent"), given: given}
	if o.life == "" {
		o.life = lifeCreate
	}
	if given.text("triggerName") == "" {
		return nil, refuse(http.StatusBadRequest, textNoTriggerName)
	}
	p, err := parseQualified(ns, given.text("triggerName"))
	if err != nil {
		return nil, err
	}
	if p.ns != ns || p.pack != "" {
		return nil, refuse(http.StatusForbidden, "The supplied authentication is not authorized to access '%s'.", p)
	}
	o.name = p.name
	f, _, ok, err := d.feeds.get(ctx, ns, o.name)
	if err != nil {
		return nil, err
	}
	if o.life == lifeCreate {
		said, err := s.create(ctx, o)
		if err == nil && ok {
			err = d.release(ctx, o, f, s)
		}
		return said, err
	}
	if !ok && o.life == lifeDelete { // clients delete also what they could not create
		return success, nil
	}
	if !ok {
		return nil, refuse(http.StatusNotFound, "trigger /%s is fed by no feed of this system", p)
	}
	switch o.life {
	case lifeRead:
		return d.readFeed(ctx, s, o, f)
	case lifeUpdate:
		err = s.update(ctx, o, f)
	case lifePause, lifeUnpause:
		f.Paused = o.life == lifePause
		err = s.pause(ctx, o, f)
	case lifeDelete:
		err = s.remove(ctx, o, f)
	case lifeExpire:
		err = d.expire(ctx, o, f)
	default:
		err = refuse(http.StatusBadRequest, textNoLifecycle)
	}
	return success, err
}

// release ends what there was of another feed for a trigger of this name, which
// was removed without the feed, or is another's now.
func (d *Door) release(ctx context.Context, o order, old feed, now feeder) error {
	_, hooked := now.(githubFeed)
	_, streamed := now.(streamFeed)
	if old.Hook != nil && !hooked {
		_ = githubFeed{d}.take(ctx, old.Hook) // it may be gone, or its token: who makes a new one need not know
	}
	if old.Stream != nil && !streamed {
		return d.leave(ctx, o.ns, o.name)
	}
	return nil
}

// readFeed answers READ.
func (d *Door) readFeed(ctx context.Context, s feeder, o order, f feed) (any, error) {
	config, err := s.read(o, f)
	if err != nil {
		return nil, err
	}
	changed := time.UnixMilli(f.Changed).UTC()
	status := map[string]any{"active": !f.Paused, "dateChanged": f.Changed, "dateChangedISO": changed.Format(time.RFC3339)}
	if f.Paused {
		status["reason"] = map[string]string{"kind": "USER", "message": "Paused by the lifecycle event PAUSE"}
	}
	over, err := d.stopped(ctx, o, f)
	if err != nil {
		return nil, err
	}
	if over != "" {
		status["active"], status["reason"] = false, map[string]string{"kind": "AUTO", "message": over}
	}
	config["name"], config["namespace"] = o.name, string(o.ns)
	return map[string]any{"config": config, "status": status}, nil
}

// native makes the trigger of an order one of a native kind, whose events f is
// about. Errors: those of the native kind.
func (d *Door) native(ctx context.Context, o order, kind string, config any, f feed) error {
	raw, err := json.Marshal(config)
	if err != nil {
		return err
	}
	defer d.locks.hold(string(o.ns) + "/" + o.name)()
	t, err := d.Rules.Trigger(ctx, rouse.Ref{Namespace: o.ns, Name: encode(o.name)})
	if rouse.KindOf(err) == rouse.NotFound {
		return refuse(http.StatusNotFound, "trigger /%s/%s does not exist", o.ns, o.name)
	}
	if err != nil {
		return err
	}
	// What it fires is read by what is kept of it, so that is there first.
	before, revision, was, err := d.feeds.get(ctx, o.ns, o.name)
	if err != nil {
		return err
	}
	f.Changed = d.millis()
	if err := d.feeds.put(ctx, o.ns, o.name, f, revision); err != nil {
		return err
	}
	t.Kind, t.Config = kind, raw
	if _, err = d.Rules.SetTrigger(ctx, t); err == nil {
		return nil
	}
	if was {
		if e := d.feeds.put(ctx, o.ns, o.name, before, revision+1); e != nil {
			return e
		}
	} else if e := d.feeds.remove(ctx, o.ns, o.name, revision+1); e != nil {
		return e
	}
	return err
}

// keep stores what is kept of a trigger, which stays as it is.
func (d *Door) keep(ctx context.Context, o order, f feed) error {
	defer d.locks.hold(string(o.ns) + "/" + o.name)()
	_, revision, _, err := d.feeds.get(ctx, o.ns, o.name)
	if err != nil {
		return err
	}
	f.Changed = d.millis()
	return d.feeds.put(ctx, o.ns, o.name, f, revision)
}

// unfeed makes a trigger, where it is there, one that only its clients fire.
func (d *Door) unfeed(ctx context.Context, o order) error {
	defer d.locks.hold(string(o.ns) + "/" + o.name)()
	t, err := d.Rules.Trigger(ctx, rouse.Ref{Namespace: o.ns, Name: encode(o.name)})
	switch {
	case err == nil:
		t.Kind, t.Config = kindManual, nil
		_, err = d.Rules.SetTrigger(ctx, t)
	case rouse.KindOf(err) == rouse.NotFound:
		err = nil
	}
	if err != nil {
		return err
	}
	_, revision, ok, err := d.feeds.get(ctx, o.ns, o.name)
	if !ok || err != nil {
		return err
	}
	return d.feeds.remove(ctx, o.ns, o.name, revision)
}

// An occurrence is what a rule brings of an event.
type occurrence struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Subject   string          `json:"subject"`
	Data      json.RawMessage `json:"data"`
	Binary    []byte          `json:"data_base64"`
	Signature string          `json:"signature"`
	Agent     string          `json:"useragent"`
}

// Types of events that are read for what is in them.
const (
	typeFired    = "trigger.fired" // by a client, who has the whole payload in it
	typeSchedule = "schedule.fired"
	typeGitHub   = "github."
)

// occurrencesOf reads what a rule brings: an event, or a list of those of a batch.
func occurrencesOf(b []byte) (os []occurrence, err error) {
	if len(b) > 0 && b[0] == '[' {
		err = json.Unmarshal(b, &os)
	} else {
		os = make([]occurrence, 1)
		err = json.Unmarshal(b, &os[0])
	}
	if err == nil && len(os) == 0 {
		err = errors.New("the list is empty")
	}
	if err != nil {
		return nil, rouse.Errorf(rouse.Invalid, "read event", "", "%w", err)
	}
	return os, nil
}

// payload is what actions get of an event of a trigger: the trigger's parameters,
// and over them what the event says.
func (d *Door) payload(ctx context.Context, ns rouse.Namespace, name string, os []occurrence) (json.RawMessage, error) {
	o := os[0]
	data, err := objectOf(o.Data)
	if err != nil || o.Type == typeFired {
		return data, err
	}
	f, _, _, err := d.feeds.get(ctx, ns, name)
	if err != nil {
		return nil, err
	}
	if o.Type == typeRecord && f.Stream != nil {
		if data, err = f.Stream.messages(os); err != nil {
			return nil, err
		}
	}
	said := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &said); err != nil {
		return nil, err
	}
	switch {
	case o.Type == typeSchedule && f.Alarm != nil:
		own, err := objectOf(said["data"])
		if err != nil {
			return nil, err
		}
		said = map[string]json.RawMessage{}
		if err := json.Unmarshal(own, &said); err != nil {
			return nil, err
		}
	case len(o.Type) > len(typeGitHub) && o.Type[:len(typeGitHub)] == typeGitHub:
		said["__ow_headers"] = o.headers()
	}
	t, err := d.Rules.Trigger(ctx, rouse.Ref{Namespace: ns, Name: encode(name)})
	if rouse.KindOf(err) == rouse.NotFound { // it was removed meanwhile
		return json.Marshal(said)
	}
	if err != nil {
		return nil, err
	}
	n, err := triggerNoteOf(t)
	if err != nil {
		return nil, err
	}
	all := map[string]json.RawMessage{}
	for _, kv := range n.Parameters {
		all[kv.Key] = kv.Value
	}
	maps.Copy(all, said)
	return json.Marshal(all)
}

// headers are those that actions know a delivery of GitHub's by.
func (o occurrence) headers() json.RawMessage {
	h := map[string]string{"content-type": "application/json", "x-github-event": o.Type[len(typeGitHub):], "x-github-delivery": o.ID}
	for k, v := range map[string]string{"x-hub-signature-256": o.Signature, "user-agent": o.Agent} {
		if v != "" {
			h[k] = v
		}
	}
	b, _ := json.Marshal(h) // strings always marshal
	return b
}

// objectOf is the data of an event, in an object where it is none.
func objectOf(data json.RawMessage) (json.RawMessage, error) {
	switch {
	case len(data) == 0 || string(data) == "null":
		return json.RawMessage("{}"), nil
	case data[0] == '{':
		return data, nil
	}
	return json.Marshal(map[string]json.RawMessage{"payload": data})
}

// parameters are what a function of the Door is given.
type parameters map[string]json.RawMessage

// has reports whether something is given that JavaScript takes for true.
func (p parameters) has(key string) bool {
	switch v := string(p[key]); v {
	case "", "null", "false", `""`, "0":
		return false
	}
	return true
}

// text is what is given where that is a string, or else its JSON.
func (p parameters) text(key string) string {
	var s string
	if v := p[key]; json.Unmarshal(v, &s) == nil || string(v) == "null" {
		return s
	}
	return string(p[key])
}

// is reports whether what is given is true.
func (p parameters) is(key string) bool { return string(p[key]) == "true" }
