package rule

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// A shy source does not start what is told so, and does not begin some.
type shy struct{ button }

func (shy) Kind() string { return "shy" }

func (shy) Start(t event.Trigger) (func(), error) {
	if string(t.Config) == `"no"` {
		return nil, errors.New("it is shy")
	}
	return func() {}, nil
}

func (shy) CheckNew(config json.RawMessage) error {
	if string(config) == `"late"` {
		return rouse.Errorf(rouse.Invalid, "read config", "time", "it has passed")
	}
	return nil
}

// What is checked is said as if it were set, and nothing is.
func TestChecking(t *testing.T) {
	w := newWorld(t, shy{})
	checked, err := w.CheckTrigger(t.Context(), event.Trigger{Ref: ref("t"), Kind: "shy", Config: json.RawMessage("1")})
	if err != nil || string(checked.Config) != "1" {
		t.Errorf("%+v %v", checked, err)
	}
	if _, err := w.CheckTrigger(t.Context(), event.Trigger{Ref: ref("t"), Kind: "nope"}); rouse.KindOf(err) != rouse.Invalid {
		t.Errorf("%v", err)
	}
	if _, err := w.Trigger(t.Context(), ref("t")); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("it is there: %v", err)
	}
	on := func(name, trigger, to string) event.Rule {
		return event.Rule{Ref: ref(name), On: event.On{Trigger: trigger}, To: event.Target{Function: to}}
	}
	rule := on("r", "soon", "nonew")
	if _, err := w.CheckRule(t.Context(), rule, event.Prospect{}); rouse.KindOf(err) != rouse.NotFound || !strings.Contains(err.Error(), "on") {
		t.Errorf("%v", err)
	}
	p := event.Prospect{There: map[string]bool{"trigger soon": true, "function nonew": true}}
	if got, err := w.CheckRule(t.Context(), rule, p); err != nil || got.Retry.Attempts != 3 {
		t.Errorf("%+v %v", got, err)
	}
	for _, c := range []struct {
		change func(*event.Rule)
		kind   rouse.Kind
	}{
		{func(r *event.Rule) { r.To.Qualifier = "1" }, 0},
		{func(r *event.Rule) { r.To.Qualifier = "prod" }, rouse.NotFound},
		{func(r *event.Rule) { r.When = json.RawMessage(`{"a": []}`) }, rouse.Invalid},
		{func(r *event.Rule) { r.Input = json.RawMessage(`"${a[0]}"`) }, rouse.Invalid},
		{func(r *event.Rule) { r.DeadLetter = &event.Target{Queue: "nosuch"} }, rouse.NotFound},
		{func(r *event.Rule) { r.On = event.On{Function: "nonew"}; r.To = event.Target{Function: "nonew"} }, rouse.Conflict},
	} {
		r := rule
		c.change(&r)
		if _, err := w.CheckRule(t.Context(), r, p); (err == nil) != (c.kind == 0) || err != nil && rouse.KindOf(err) != c.kind {
			t.Errorf("%+v: %v", r, err)
		}
	}
	// A circle by way of a rule that is to be set as well, and none without it.
	back := event.Rule{Ref: ref("back"), On: event.On{Function: "b"}, To: event.Target{Function: "a"}}
	p = event.Prospect{There: map[string]bool{"function a": true, "function b": true}, Rules: map[string]*event.Rule{"back": &back}}
	there := event.Rule{Ref: ref("there"), On: event.On{Function: "a"}, To: event.Target{Function: "b"}}
	if _, err := w.CheckRule(t.Context(), there, p); rouse.KindOf(err) != rouse.Conflict {
		t.Errorf("%v", err)
	}
	p.Rules["back"] = nil
	if _, err := w.CheckRule(t.Context(), there, p); err != nil {
		t.Errorf("%v", err)
	}
	if all, err := w.Rules(t.Context(), ref("r").Namespace, "", 0); err != nil || len(all) != 0 {
		t.Errorf("%v %v", all, err)
	}
}

// A trigger that can't be started is stopped, and says why; one that would never
// make an event is not begun, and goes on where it is there.
func TestHealthOfTriggers(t *testing.T) {
	w := newWorld(t, shy{})
	set := func(config string) error {
		_, err := w.SetTrigger(t.Context(), event.Trigger{Ref: ref("t"), Kind: "shy", Config: json.RawMessage(config)})
		return err
	}
	if _, err := w.Health(t.Context(), ref("t")); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("%v", err)
	}
	if err := set(`"late"`); rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), "time: it has passed") {
		t.Errorf("%v", err)
	}
	for _, c := range []struct {
		config, says string
		state        event.State
	}{{`"no"`, "it is shy", event.Stopped}, {`"yes"`, "", event.Running}} {
		if err := set(c.config); err != nil {
			t.Fatal(err)
		}
		h, err := w.Health(t.Context(), ref("t"))
		for err == nil && h.State == event.Starting { // Run has yet to begin
			runtime.Gosched()
			h, err = w.Health(t.Context(), ref("t"))
		}
		if err != nil || h.State != c.state || h.Error != c.says || h.Since.IsZero() {
			t.Errorf("%s: %+v %v", c.config, h, err)
		}
	}
}
