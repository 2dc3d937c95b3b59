package openwhisk

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/ident"
)

// foreign is the code of another's package, as it comes to the Door from inside.
var foreign = rouse.Principal{Name: "function:default/mine/dep", Namespace: rouse.DefaultNamespace,
	Grants: []rouse.Grant{{Service: "function", Name: "*", Write: true}, {Service: "trigger", Name: "*", Write: true}}}

// as asks as one who has come by an entrance of a function.
func (p *platform) as(who rouse.Principal, method, path string, body any) (int, string) {
	p.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(rouse.WithPrincipal(p.t.Context(), who), method, "/api/v1/"+path, bytes.NewReader(b))
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// key is what a subject's client shows.
func (p *platform) key(ns rouse.Namespace) string { return p.keys[ns].ID + ":" + p.keys[ns].Secret }

// What foreign code may ask for: to run and to fire, and nothing that it could read.
func TestForeignCodeReadsNothing(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("one")
	p.must(ns, "PUT", "_/triggers/t", fields{})
	p.must(ns, "PUT", "_/packages/pk", fields{})
	p.must(ns, "PUT", "_/rules/r", fields{"trigger": "/_/t", "action": "/_/one"})
	for _, of := range []string{"actions", "actions/one", "actions/pk/", "packages", "packages/pk", "triggers", "triggers/t", "rules", "rules/r",
		"activations", "activations/" + strings.Repeat("0", idLength), "limits"} {
		if status, said := p.as(foreign, "GET", "namespaces/_/"+of, nil); status != 403 {
			t.Errorf("%s: %d %s", of, status, said)
		}
	}
	if status, said := p.as(foreign, "GET", "namespaces", nil); status != 200 {
		t.Errorf("%d %s", status, said)
	}
	if status, said := p.as(foreign, "POST", "namespaces/_/actions/one?blocking=true", fields{}); status != 200 {
		t.Errorf("%d %s", status, said)
	}
	if status, said := p.as(foreign, "POST", "namespaces/_/triggers/t", fields{}); status != 202 {
		t.Errorf("%d %s", status, said)
	}
}

// acting are the actions of the system that act for a namespace.
var acting = []struct {
	action string
	given  fields
}{
	{"alarms/interval", fields{"lifecycleEvent": "CREATE", "triggerName": "/_/plain", "minutes": 60}},
	{"alarms/interval", fields{"lifecycleEvent": "READ", "triggerName": "/_/fed"}},
	{"alarms/interval", fields{"lifecycleEvent": "PAUSE", "triggerName": "/_/fed"}},
	{"alarms/interval", fields{"lifecycleEvent": "UPDATE", "triggerName": "/_/fed", "minutes": 5}},
	{"alarms/interval", fields{"lifecycleEvent": "DELETE", "triggerName": "/_/fed"}},
	{"messaging/streamFeed", fields{"lifecycleEvent": "CREATE", "triggerName": "/_/plain", "stream": "gs"}},
	{"messaging/streamProduce", fields{"stream": "gs", "value": "x"}},
	{"messaging/kafkaProduce", fields{"topic": "gs", "value": "x"}},
}

// Feeds, and what produces messages, want to see the owner, or a key of his that
// the code was given, by whatever way they are come to.
func TestTheSystemActsForOwners(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.must(ns, "PUT", "_/triggers/plain", fields{})
	p.fed("fed", "alarms/interval", fields{"minutes": 60})
	p.must(ns, "PUT", "_/packages/tick", fields{"binding": fields{"namespace": "whisk.system", "name": "alarms"}, "parameters": []fields{{"key": "authKey", "value": p.key(ns)}}})
	p.must("guest", "PUT", "_/packages/box", fields{"publish": true})
	p.must(ns, "PUT", "_/packages/mine", fields{"binding": fields{"namespace": "guest", "name": "box"}})
	for _, c := range acting {
		p.must("guest", "PUT", "_/actions/box/row?overwrite=true", sequence("/whisk.system/"+c.action))
		ways := map[string]string{"itself": "whisk.system/actions/" + c.action, "a sequence of its package": "_/actions/mine/row"}
		if name, ok := strings.CutPrefix(c.action, "alarms/"); ok {
			ways["a binding"] = "_/actions/tick/" + name
		}
		for way, at := range ways {
			for _, query := range []string{"?blocking=true&result=true", ""} {
				for what, key := range map[string]any{"no key": nil, "x": "x", "a stranger's": p.key("guest"), "a wrong one": p.keys[ns].ID + ":x", "its own": "instance:token"} {
					given := fields{"authKey": key}
					for k, v := range c.given {
						given[k] = v
					}
					status, said := p.as(foreign, "POST", "namespaces/"+at+query, given)
					switch {
					case way != "a sequence of its package":
						if status != 403 {
							t.Errorf("%s by %s with %s%s: %d %s", c.action, way, what, query, status, said)
						}
					case query != "":
						if status != 502 || !strings.Contains(said, "not authorized") {
							t.Errorf("%s by %s with %s: %d %s", c.action, way, what, status, said)
						}
					}
				}
			}
		}
		for _, query := range []string{"", "?blocking=true&result=true"} { // and where the owner himself runs the sequence
			if status, said := p.ask(ns, "POST", "_/actions/mine/row"+query, c.given); query != "" && (status != 502 || !strings.Contains(said, "not authorized")) {
				t.Errorf("%s by another's sequence: %d %s", c.action, status, said)
			}
		}
	}
	if said := p.must(ns, "POST", "whisk.system/actions/alarms/interval?blocking=true&result=true", acting[1].given); !strings.Contains(said, `"active":true`) || !strings.Contains(said, `"minutes":60`) {
		t.Errorf("the trigger was changed: %s", said)
	}
	given := fields{"authKey": p.key(ns), "lifecycleEvent": "READ", "triggerName": "/_/fed"}
	for _, at := range []string{"whisk.system/actions/alarms/interval", "_/actions/tick/interval"} {
		if status, said := p.as(foreign, "POST", "namespaces/"+at+"?blocking=true&result=true", given); status != 200 || !strings.Contains(said, `"minutes":60`) {
			t.Errorf("%s, with the owner's key: %d %s", at, status, said)
		}
	}
	if status, said := p.as(foreign, "POST", "namespaces/whisk.system/actions/utils/hosturl?blocking=true&result=true", fields{}); status != 200 {
		t.Errorf("%d %s", status, said)
	}
	// What another has bound to it, and shares, nobody acts by.
	p.must("guest", "PUT", "_/packages/lure", fields{"publish": true, "binding": fields{"namespace": "whisk.system", "name": "alarms"},
		"parameters": []fields{{"key": "lifecycleEvent", "value": "DELETE"}, {"key": "triggerName", "value": "/_/fed"}}})
	if status, said := p.ask(ns, "POST", "guest/actions/lure/interval?blocking=true&result=true", fields{}); status != 403 {
		t.Errorf("%d %s", status, said)
	}
	if status, said := p.ask("guest", "POST", "_/actions/lure/interval?blocking=true&result=true", fields{}); status != 200 { // there is none
		t.Errorf("%d %s", status, said)
	}
	// The owner's own sequence acts for him.
	p.must(ns, "PUT", "_/actions/own", sequence("/whisk.system/alarms/interval"))
	p.must(ns, "POST", "_/actions/own?blocking=true&result=true", acting[1].given)
}

// What waits to be tried again has not ended.
func TestAnActivationThatIsTriedAgainIsNotThere(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("one")
	a := rouse.Activation{ID: ident.New(), Function: rouse.Ref{Namespace: ns, Name: "one"}, Version: 1, Attempt: 1, Again: true, Started: time.Now(), Status: rouse.StatusThrottled,
		Failure: &rouse.Failure{Type: "throttled", Message: "no instance got free in 1m0s"}}
	there := func() (status int, list, count string, ended bool) {
		t.Helper()
		status, _ = p.ask(ns, "GET", "_/activations/"+a.ID, nil)
		ended, err := p.ended(t.Context(), accepted{a.ID, a.Function, time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return status, p.must(ns, "GET", "_/activations?name=one", nil), p.must(ns, "GET", "_/activations?count=true", nil), ended
	}
	post := func() {
		t.Helper()
		if err := p.Records.Post(t.Context(), []rouse.Activation{a}, nil); err != nil {
			t.Fatal(err)
		}
	}
	post()
	if status, list, count, ended := there(); status != 404 || list != "[]" || count != `{"activations":0}` || ended {
		t.Errorf("before it is tried again: %d %s %s %v", status, list, count, ended)
	}
	if err := p.Registry.Remove(t.Context(), a.Function); err != nil {
		t.Fatal(err)
	}
	if _, _, _, ended := there(); !ended {
		t.Error("what will never be tried again holds its slot")
	}
	a.Attempt, a.Again, a.Status, a.Failure, a.Result, a.Size = 2, false, rouse.StatusAnswered, nil, []byte("{}"), 2
	post()
	if status, list, count, ended := there(); status != 200 || strings.Count(list, a.ID) != 1 || count != `{"activations":1}` || !ended {
		t.Errorf("after it ran: %d %s %s %v", status, list, count, ended)
	}
}

// What an operator took away of a trigger that leads somewhere is made anew.
func TestARuleThatWasTakenAway(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.must(ns, "PUT", "_/triggers/t", fields{})
	p.lead("t")
	for what, look := range map[string]func(){
		"a fire": func() {
			if status, said := p.ask(ns, "POST", "_/triggers/t", fields{}); status != 202 {
				t.Errorf("%d %s", status, said)
			}
		},
		"the trigger": func() { p.must(ns, "GET", "_/triggers/t", nil) },
		"the rule":    func() { p.must(ns, "GET", "_/rules/rule-t", nil) },
	} {
		if err := p.Rules.RemoveRule(t.Context(), handOver(ns, "t")); err != nil {
			t.Fatal(err)
		}
		look()
		if _, err := p.Rules.Rule(t.Context(), handOver(ns, "t")); err != nil {
			t.Errorf("after %s was looked at: %v", what, err)
		}
	}
	p.must(ns, "POST", "_/rules/rule-t", fields{"status": "inactive"})
	if err := p.Rules.RemoveRule(t.Context(), handOver(ns, "t")); err != nil {
		t.Fatal(err)
	}
	if status, said := p.ask(ns, "POST", "_/triggers/t", fields{}); status != 204 {
		t.Errorf("%d %s", status, said)
	}
	if _, err := p.Rules.Rule(t.Context(), handOver(ns, "t")); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("for an inactive rule: %v", err)
	}
}

// Two sequences that are put at the same time make no circle, be they of one
// namespace or of two.
func TestSequencesAtTheSameTime(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	for _, ns := range []rouse.Namespace{rouse.DefaultNamespace, "guest"} {
		p.must(ns, "PUT", "_/packages/pk", fields{"publish": true})
	}
	for range 40 {
		for _, other := range []rouse.Namespace{rouse.DefaultNamespace, "guest"} {
			p.must(rouse.DefaultNamespace, "PUT", "_/actions/pk/a?overwrite=true", sequence("/whisk.system/utils/hosturl"))
			p.must(other, "PUT", "_/actions/pk/b?overwrite=true", sequence("/whisk.system/utils/hosturl"))
			var a, b int
			var both sync.WaitGroup
			both.Go(func() {
				a, _ = p.ask(rouse.DefaultNamespace, "PUT", "_/actions/pk/a?overwrite=true", sequence("/"+string(other)+"/pk/b"))
			})
			both.Go(func() { b, _ = p.ask(other, "PUT", "_/actions/pk/b?overwrite=true", sequence("/default/pk/a")) })
			both.Wait()
			if a+b != 600 {
				t.Fatalf("%d and %d, with %s", a, b, other)
			}
		}
	}
}

// What was stored when keys could be empty can be read, changed and put again.
func TestPairsWithoutAKeyAreForgotten(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	ctx := t.Context()
	bad := pairs{text("", "x"), text("k", "v")}
	p.must(ns, "PUT", "_/actions/a", sequence("/whisk.system/utils/hosturl"))
	p.must(ns, "PUT", "_/packages/pk", fields{})
	p.must(ns, "PUT", "_/triggers/t", fields{})
	p.must(ns, "PUT", "_/rules/r", fields{"trigger": "/_/t", "action": "/_/a"})
	a, err := p.existing(ctx, path{ns: ns, name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	old := *a
	old.Parameters, old.Annotations = bad, bad
	if _, err := p.deploy(ctx, &old, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.packages.put(ctx, ns, "pk", pack{Version: "0.0.1", Parameters: bad, Annotations: bad}, 1); err != nil {
		t.Fatal(err)
	}
	r, revision, _, err := p.Door.rules.get(ctx, ns, "r")
	if err != nil {
		t.Fatal(err)
	}
	r.Annotations = bad
	if err := p.Door.rules.put(ctx, ns, "r", r, revision); err != nil {
		t.Fatal(err)
	}
	trigger, err := p.Rules.Trigger(ctx, rouse.Ref{Namespace: ns, Name: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.setTrigger(ctx, trigger, triggerNote{Version: "0.0.1", Parameters: bad, Annotations: bad}); err != nil {
		t.Fatal(err)
	}
	for at, change := range map[string]fields{"actions/a": sequence("/whisk.system/utils/hosturl"), "packages/pk": {}, "triggers/t": {}, "rules/r": {}} {
		said := p.must(ns, "GET", "_/"+at, nil)
		if strings.Contains(said, `"key":""`) || !strings.Contains(said, `"key":"k"`) {
			t.Errorf("%s: %s", at, said)
		}
		if status, said := p.ask(ns, "PUT", "_/"+at+"?overwrite=true", change); status != 200 {
			t.Errorf("%s: %d %s", at, status, said)
		}
		if status, said := p.ask(ns, "PUT", "_/"+at+"?overwrite=true", json.RawMessage(said)); status != 200 && at != "rules/r" {
			t.Errorf("%s, as it was read: %d %s", at, status, said)
		}
		if status, said := p.ask(ns, "PUT", "_/"+at+"?overwrite=true", fields{"annotations": bad}); status != 400 {
			t.Errorf("%s, by a client: %d %s", at, status, said)
		}
	}
}
