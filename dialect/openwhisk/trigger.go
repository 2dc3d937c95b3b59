package openwhisk

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/internal/ident"
)

// prefixTrigger is that of the function, and of the native rule, that hand what
// a trigger makes to the actions of OpenWhisk's rules.
const prefixTrigger = "trigger"

func handOver(ns rouse.Namespace, name string) rouse.Ref {
	return rouse.Ref{Namespace: ns, Name: prefixTrigger + ":" + encode(name)}
}

// kindManual is the native kind of a trigger that only its clients fire.
const kindManual = "manual"

// A triggerNote is what only OpenWhisk knows of a trigger, in its Notes.
type triggerNote struct {
	Version     string `json:"version"`
	Publish     bool   `json:"publish,omitempty"`
	Parameters  pairs  `json:"parameters,omitempty"`
	Annotations pairs  `json:"annotations,omitempty"`
	Updated     int64  `json:"updated"`
}

// noteOf reads a trigger's note; one that was made natively has one as well.
func triggerNoteOf(t event.Trigger) (triggerNote, error) {
	n := triggerNote{Version: "0.0.1", Updated: t.Created.UnixMilli()}
	if raw := t.Notes[Name]; raw != nil {
		if err := json.Unmarshal(raw, &n); err != nil {
			return n, fmt.Errorf("read note of trigger %s: %w", t.Ref, err)
		}
		n.Parameters, n.Annotations = n.Parameters.keyed(), n.Annotations.keyed()
		return n, nil
	}
	n.Annotations = pairs{text("kind", t.Kind)}
	return n, nil
}

// A triggerBody is what a client puts.
type triggerBody struct {
	Version     string   `json:"version"`
	Publish     *bool    `json:"publish"`
	Parameters  *pairs   `json:"parameters"`
	Annotations pairs    `json:"annotations"`
	Deleted     []string `json:"delAnnotations"`
}

// A triggerSeen is a trigger as clients see it.
type triggerSeen struct {
	Namespace   string              `json:"namespace"`
	Name        string              `json:"name"`
	Version     string              `json:"version"`
	Publish     bool                `json:"publish"`
	Annotations pairs               `json:"annotations"`
	Parameters  pairs               `json:"parameters"`
	Limits      struct{}            `json:"limits"`
	Rules       map[string]ruleItem `json:"rules,omitempty"`
	Updated     int64               `json:"updated"`
}

// A ruleItem is a rule in its trigger.
type ruleItem struct {
	Action *pathSeen `json:"action"`
	Status string    `json:"status"`
}

func (n triggerNote) seen(ns rouse.Namespace, name string) triggerSeen {
	return triggerSeen{Namespace: string(ns), Name: name, Version: n.Version, Publish: n.Publish, Annotations: n.Annotations.orEmpty(),
		Parameters: n.Parameters.orEmpty(), Updated: n.Updated}
}

func (d *Door) putTrigger(c *call) error {
	ns, name, err := c.namePath("triggers")
	if err != nil {
		return err
	}
	var in triggerBody
	if err := c.read(&in, maxEntity); err != nil {
		return err
	}
	if feed := in.Annotations.get("feed"); feed != nil {
		if _, err := parseQualified(ns, in.Annotations.text("feed")); err != nil || in.Annotations.text("feed") == "" {
			return refuse(http.StatusBadRequest, "Feed name is not valid")
		}
	}
	ctx := c.r.Context()
	defer d.locks.hold(string(ns) + "/" + name)()
	t, err := d.Rules.Trigger(ctx, rouse.Ref{Namespace: ns, Name: encode(name)})
	var n triggerNote
	switch {
	case rouse.KindOf(err) == rouse.NotFound:
		if err := d.elsewhere(c, ns, name, "triggers"); err != nil {
			return err
		}
		t = event.Trigger{Ref: rouse.Ref{Namespace: ns, Name: encode(name)}, Kind: kindManual}
	case err != nil:
		return err
	case c.r.URL.Query().Get("overwrite") != "true":
		return refuse(http.StatusConflict, textExists)
	default:
		if n, err = triggerNoteOf(t); err != nil {
			return err
		}
	}
	if n.Version, err = nextVersion(in.Version, n.Version); err != nil {
		return err
	}
	if in.Publish != nil {
		n.Publish = *in.Publish
	}
	if in.Parameters != nil {
		n.Parameters = merged(*in.Parameters)
	}
	n.Annotations = n.Annotations.with(in.Annotations...).without(in.Deleted...)
	for what, list := range map[string]pairs{"parameters": n.Parameters, "annotations": n.Annotations} {
		if err := checkPairs(what, list); err != nil {
			return err
		}
	}
	n.Updated = d.millis()
	if err := d.setTrigger(ctx, t, n); err != nil {
		return err
	}
	return c.answer(http.StatusOK, n.seen(ns, name))
}

// setTrigger stores a trigger with its note.
func (d *Door) setTrigger(ctx context.Context, t event.Trigger, n triggerNote) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return err
	}
	notes := maps.Clone(t.Notes)
	if notes == nil {
		notes = rouse.Notes{}
	}
	notes[Name] = raw
	t.Notes = notes
	_, err = d.Rules.SetTrigger(ctx, t)
	return err
}

// trigger is the one that a request names.
func (d *Door) trigger(c *call) (ns rouse.Namespace, name string, t event.Trigger, n triggerNote, err error) {
	if ns, err = c.mine(); err != nil {
		return
	}
	name = c.rest("triggers")
	if err = checkName(name); err != nil {
		return
	}
	t, err = d.Rules.Trigger(c.r.Context(), rouse.Ref{Namespace: ns, Name: encode(name)})
	if rouse.KindOf(err) == rouse.NotFound {
		err = errNotFound
		if d.elsewhere(c, ns, name, "triggers") != nil {
			err = refuse(http.StatusConflict, textElsewhere)
		}
	}
	if err == nil {
		n, err = triggerNoteOf(t)
	}
	return
}

func (d *Door) getTrigger(c *call) error {
	ns, name, _, n, err := d.trigger(c)
	if err != nil {
		return err
	}
	if err := c.may("trigger", encode(name), false); err != nil {
		return err
	}
	s := n.seen(ns, name)
	rules, err := d.rulesOf(c.r.Context(), ns, name)
	if err != nil {
		return err
	}
	why, err := d.paused(c.r.Context(), ns, name)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if s.Rules == nil {
			s.Rules = map[string]ruleItem{}
		}
		if why != "" {
			r.Status = statusInactive
		}
		s.Rules[string(ns)+"/"+r.name] = ruleItem{seen(r.action()), r.Status}
	}
	return c.answer(http.StatusOK, s)
}

func (d *Door) deleteTrigger(c *call) error {
	ns, name, t, n, err := d.trigger(c)
	if err == nil {
		err = c.owner()
	}
	if err != nil {
		return err
	}
	ctx := context.WithoutCancel(c.r.Context())
	release := d.locks.hold(string(ns) + "/" + name)
	err = d.removeTrigger(ctx, t, false)
	release()
	if err != nil {
		return err
	}
	d.unhook(ctx, ns, name)
	return c.answer(http.StatusOK, n.seen(ns, name))
}

func (d *Door) listTriggers(c *call) error {
	ns, err := c.mine()
	if err != nil {
		return err
	}
	var items []item
	for after := ""; ; {
		ts, err := d.Rules.Triggers(c.r.Context(), ns, after, 1000)
		if err != nil {
			return err
		}
		if len(ts) == 0 {
			return c.list("triggers", items)
		}
		for _, t := range ts {
			n, err := triggerNoteOf(t)
			if err != nil {
				return err
			}
			items = append(items, item{Namespace: string(ns), Name: decode(t.Name), Version: n.Version, Publish: n.Publish,
				Annotations: n.Annotations.orEmpty(), Updated: n.Updated})
		}
		after = ts[len(ts)-1].Name
	}
}

// maxPayload bounds the arguments of an invocation, and of a trigger: bytes.
const maxPayload = 1 << 20

func (d *Door) fireTrigger(c *call) error {
	ns, name, t, n, err := d.trigger(c)
	if err == nil {
		err = c.may("trigger", t.Name, true)
	}
	if err != nil {
		return err
	}
	payload := map[string]json.RawMessage{}
	if err := c.read(&payload, maxPayload); err != nil {
		return err
	}
	quota, err := d.quota(c.r.Context(), ns)
	if err == nil {
		err = d.throttle.fire(ns, quota)
	}
	if err != nil {
		return err
	}
	data, err := json.Marshal(d.fired(c.r, n, payload))
	if err != nil {
		return err
	}
	rules, err := d.rulesOf(c.r.Context(), ns, name)
	if err != nil {
		return err
	}
	e := rouse.Event{Type: "trigger.fired", Data: data, Time: d.Now()}
	active := slices.ContainsFunc(rules, func(r namedRule) bool { return r.Status == statusActive })
	if why, err := d.paused(c.r.Context(), ns, name); err != nil {
		return err
	} else if why != "" && active { // an activation that is told would not be there
		return refuse(http.StatusConflict, "The rules of trigger '%s' are paused (%s): enable one of them to go on.", name, why)
	}
	id, ctx := ident.New(), c.r.Context()
	if active {
		ctx = event.WithActivation(ctx, handOver(ns, name).Name, id)
	}
	if err := d.Control.Emit(ctx, t.Ref, []rouse.Event{e}, nil); err != nil {
		return err
	}
	if !active {
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	c.accepted(id)
	return nil
}

// fired is what a trigger's rules get: its parameters, and over them the
// payload. The headers of the request are there too, but for what proves who
// sent it, and nobody can put others in their place.
func (d *Door) fired(r *http.Request, n triggerNote, payload map[string]json.RawMessage) map[string]json.RawMessage {
	all := make(map[string]json.RawMessage, len(payload)+len(n.Parameters)+1)
	for _, kv := range n.Parameters {
		all[kv.Key] = kv.Value
	}
	maps.Copy(all, payload)
	headers := map[string]string{}
	for k, v := range r.Header {
		if !secretHeader(k) {
			headers[strings.ToLower(k)] = strings.Join(v, ", ")
		}
	}
	all["__ow_headers"], _ = json.Marshal(headers) // strings always marshal
	return all
}

// secretHeader reports whether a header is for us alone.
func secretHeader(name string) bool {
	return strings.EqualFold(name, "Authorization") || strings.EqualFold(name, "Cookie") || strings.EqualFold(name, "Proxy-Authorization")
}

// A fireLine is what the log of a trigger's activation says of each rule.
type fireLine struct {
	StatusCode int    `json:"statusCode"`
	Success    bool   `json:"success"`
	Activation string `json:"activationId,omitempty"`
	Error      string `json:"error,omitempty"`
	Rule       string `json:"rule"`
	Action     string `json:"action"`
}

// runTrigger hands an event of a trigger to the actions of its rules.
func (d *Door) runTrigger(ctx context.Context, f rouse.Function, in rouse.Invocation, log func(rouse.Line)) (rouse.Answer, error) {
	name := pathOf(f.Ref).name
	happened, err := occurrencesOf(in.Event.Data)
	if err != nil {
		return rouse.Answer{}, err
	}
	payload, err := d.payload(ctx, f.Namespace, name, happened)
	if err != nil {
		return rouse.Answer{}, err
	}
	rules, err := d.rulesOf(ctx, f.Namespace, name)
	if err != nil {
		return rouse.Answer{}, err
	}
	var ins []rouse.Invocation
	lines := make([]fireLine, len(rules))
	for i, r := range rules {
		to := r.action()
		lines[i] = fireLine{Rule: string(f.Namespace) + "/" + r.name, Action: to.String()}
		if r.Status != statusActive {
			lines[i].StatusCode, lines[i].Error = 1, fmt.Sprintf("Rule '%s' is inactive, action '%s' was not activated.", lines[i].Rule, lines[i].Action)
			continue
		}
		a, err := d.find(ctx, f.Namespace, to)
		if err != nil {
			lines[i].StatusCode, lines[i].Error = 1, refusalOf(err).text
			continue
		}
		lines[i].Success, lines[i].Activation = true, ident.New()
		ins = append(ins, rouse.Invocation{ID: lines[i].Activation, Function: a.f.Ref, Event: rouse.Event{Data: a.given(payload)}, Cause: in.ID, Hops: in.Hops + 1})
	}
	if last, ok, err := d.expiry(ctx, f.Namespace, name, happened[0], in); err != nil {
		return rouse.Answer{}, err
	} else if ok {
		ins = append(ins, last)
	}
	if len(ins) > 0 {
		if _, err := d.Acceptor.Accept(ctx, ins); err != nil {
			return rouse.Answer{}, err
		}
	}
	for _, l := range lines {
		b, err := json.Marshal(l)
		if err != nil {
			return rouse.Answer{}, err
		}
		log(rouse.Line{Time: d.Now(), Stream: rouse.Stdout, Text: string(b)})
	}
	return rouse.Answer{Status: rouse.StatusAnswered, Result: payload, Size: int64(len(payload))}, nil
}
