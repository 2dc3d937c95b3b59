package openwhisk

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/rouse-run/rouse"
)

// get asks without a key.
func (p *platform) get(path string, headers ...string) (int, string) {
	r := httptest.NewRequestWithContext(p.t.Context(), http.MethodGet, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func sequence(of ...string) fields {
	return fields{"exec": fields{"kind": "sequence", "components": of}}
}

// Sequences that come back to themselves by a detour are counted to an end.
func TestASequenceByADetourToItself(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("probe")
	p.must(ns, "PUT", "_/packages/pk", fields{})
	p.must(ns, "PUT", "_/actions/pk/s", sequence("/_/probe"))
	p.must(ns, "PUT", "_/packages/bd", fields{"binding": fields{"namespace": "_", "name": "pk"}})
	p.must(ns, "PUT", "_/actions/pk/s?overwrite=true", sequence("/_/bd/s", "/_/bd/s", "/_/bd/s"))
	if status, said := p.ask(ns, "PUT", "_/actions/of", sequence("/_/pk/s")); status != 400 || !strings.Contains(said, "Too many actions in the sequence.") {
		t.Errorf("%d %s", status, said)
	}
	if status, said := p.ask(ns, "POST", "_/actions/pk/s?blocking=true&result=true", fields{}); status != 502 || !strings.Contains(said, "without end") {
		t.Errorf("%d %s", status, said)
	}
}

// What a binding leaves behind, where somebody used it while it was removed, is
// no action.
func TestACopyIsNoActionOfItsOwn(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("probe")
	p.must(ns, "PUT", "_/packages/pk", fields{})
	p.must(ns, "PUT", "_/actions/pk/s", sequence("/_/probe"))
	p.must(ns, "PUT", "_/packages/bd", fields{"binding": fields{"namespace": "_", "name": "pk"}})
	p.must(ns, "POST", "_/actions/bd/s?blocking=true", fields{})
	if err := p.packages.remove(t.Context(), ns, "bd", 1); err != nil {
		t.Fatal(err)
	}
	p.must(ns, "PUT", "_/packages/bd", fields{})
	if status, said := p.ask(ns, "DELETE", "_/actions/bd/s", nil); status != 404 {
		t.Errorf("%d %s", status, said)
	}
	p.must(ns, "PUT", "_/actions/bd/s", sequence("/_/probe", "/_/probe"))
	if said := p.must(ns, "GET", "_/actions/bd/s", nil); !strings.Contains(said, `"components":["/default/probe","/default/probe"]`) || !strings.Contains(said, `"version":"0.0.1"`) {
		t.Error(said)
	}
	p.must(ns, "POST", "_/actions/bd/s?blocking=true", fields{})
	p.must(ns, "DELETE", "_/actions/bd/s", nil)
}

// Rules come and go while their trigger does, and an active one always hears of it.
func TestRulesComeAndGo(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("probe")
	p.must(ns, "PUT", "_/triggers/t", fields{})
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			for range 8 {
				p.must(ns, "PUT", fmt.Sprintf("_/rules/r%d", i), fields{"trigger": "/_/t", "action": "/_/probe"})
				p.must(ns, "POST", fmt.Sprintf("_/rules/r%d", i), fields{"status": "inactive"})
				p.must(ns, "POST", "_/triggers/t", fields{})
				p.must(ns, "DELETE", fmt.Sprintf("_/rules/r%d", i), nil)
				p.must(ns, "PUT", "_/rules/stays?overwrite=true", fields{"trigger": "/_/t", "action": "/_/probe", "status": "active"})
				if _, err := p.Rules.Rule(t.Context(), handOver(ns, "t")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	p.must(ns, "DELETE", "_/rules/stays", nil)
	if _, err := p.Rules.Rule(t.Context(), handOver(ns, "t")); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("a trigger without rules is heard: %v", err)
	}
	for range 8 { // against the removal of the trigger
		p.must(ns, "PUT", "_/triggers/t?overwrite=true", fields{})
		p.must(ns, "PUT", "_/rules/r?overwrite=true", fields{"trigger": "/_/t", "action": "/_/probe"})
		all.Go(func() { p.ask(ns, "POST", "_/rules/r", fields{"status": "inactive"}) })
		all.Go(func() { p.ask(ns, "POST", "_/rules/r", fields{"status": "active"}) })
		all.Go(func() { p.ask(ns, "DELETE", "_/triggers/t", nil) })
		all.Wait()
		status, said := p.ask(ns, "GET", "_/triggers/t", nil)
		_, err := p.Rules.Rule(t.Context(), handOver(ns, "t"))
		if said2 := p.must(ns, "GET", "_/rules/r", nil); status == 404 && (err == nil || strings.Contains(said2, `"status":"active"`)) {
			t.Errorf("the trigger is gone (%s), its rule is not: %v %s", said, err, said2)
		}
	}
}

// Actions come and go while their package does, and none is left without one.
func TestPackagesComeAndGo(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("probe")
	var all sync.WaitGroup
	for range 10 {
		p.must(ns, "PUT", "_/packages/pk", fields{"parameters": []fields{{"key": "n", "value": 0}}})
		for i := range 4 {
			all.Go(func() { p.ask(ns, "PUT", fmt.Sprintf("_/actions/pk/s%d", i), sequence("/_/probe")) })
		}
		all.Go(func() { p.ask(ns, "POST", "_/actions/pk/s1?blocking=true", fields{}) })
		all.Go(func() {
			p.ask(ns, "PUT", "_/packages/pk?overwrite=true", fields{"parameters": []fields{{"key": "n", "value": 1}}})
		})
		all.Go(func() { p.ask(ns, "DELETE", "_/packages/pk?force=true", nil) })
		all.Wait()
		if status, _ := p.ask(ns, "DELETE", "_/packages/pk?force=true", nil); status != 200 && status != 404 {
			t.Error(status)
		}
		if members, err := p.members(t.Context(), ns, "pk"); err != nil || len(members) != 0 {
			t.Fatalf("%v %v", members, err)
		}
	}
}

// Invocations that nobody waits for count until they end.
func TestAcceptedInvocationsCount(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.gate = make(chan struct{})
	p.probes("probe")
	p.probes("gone")
	if _, err := p.Subjects.SetSubject(t.Context(), rouse.Subject{Namespace: ns, Quota: rouse.Quota{Concurrent: 2}}, false); err != nil {
		t.Fatal(err)
	}
	refused := func() {
		t.Helper()
		for _, query := range []string{"", "?blocking=true"} {
			if status, said := p.ask(ns, "POST", "_/actions/probe"+query, fields{}); status != 429 || !strings.Contains(said, "Too many concurrent requests in flight (count: 3, allowed: 2).") {
				t.Errorf("%d %s", status, said)
			}
		}
	}
	p.must(ns, "POST", "_/actions/probe", fields{})
	p.must(ns, "POST", "_/actions/probe", fields{})
	refused()
	p.gate <- struct{}{} // one of them ends
	for {
		acts, err := p.Records.Activations(t.Context(), rouse.ActivationQuery{Namespace: ns, Statuses: []rouse.Status{rouse.StatusAnswered}})
		if err != nil {
			t.Fatal(err)
		}
		if len(acts) == 1 {
			break
		}
	}
	ended := make(chan int)
	go func() {
		status, _ := p.ask(ns, "POST", "_/actions/probe?blocking=true", fields{})
		ended <- status
	}()
	for p.throttle.waited(ns) != 1 { // until it is admitted
		runtime.Gosched()
	}
	refused()
	close(p.gate)
	if status := <-ended; status != 200 {
		t.Error(status)
	}
	for range 5 {
		p.must(ns, "POST", "_/actions/probe?blocking=true", fields{})
	}
	for _, id := range []string{"1", "2"} { // of what was removed before they ran
		slot{&p.throttle, ns}.keep(rouse.Invocation{ID: id, Function: rouse.Ref{Namespace: ns, Name: "gone"}})
		p.throttle.of(ns).concurrent++ // as if it had been admitted
	}
	refused()
	if err := p.Registry.Remove(t.Context(), rouse.Ref{Namespace: ns, Name: "gone"}); err != nil {
		t.Fatal(err)
	}
	p.must(ns, "POST", "_/actions/probe?blocking=true", fields{})
	if n := len(p.throttle.of(ns).accepted); n != 1 {
		t.Errorf("%d invocations of what was removed count", n)
	}
}

// waited is for how many invocations somebody waits.
func (t *throttle) waited(ns rouse.Namespace) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.of(ns).concurrent
}

// A binding shows nothing more of a package that is no longer shared, whatever was
// shown before.
func TestABindingToWhatIsNoLongerShared(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("probe")
	p.must(ns, "PUT", "_/packages/pk", fields{"publish": true})
	p.must(ns, "PUT", "_/actions/pk/s", sequence("/_/probe"))
	p.must("guest", "PUT", "_/packages/bd", fields{"binding": fields{"namespace": "default", "name": "pk"}})
	paths := []string{"_/packages/bd", "_/actions/bd/", "_/actions/bd/s", "default/packages/pk", "default/actions/pk/s"}
	for _, path := range paths {
		p.must("guest", "GET", path, nil)
	}
	p.must(ns, "PUT", "_/packages/pk?overwrite=true", fields{"publish": false, "parameters": []fields{{"key": "new", "value": "secret"}}})
	for _, path := range paths {
		if status, said := p.ask("guest", "GET", path, nil); status != 403 || strings.Contains(said, "secret") {
			t.Errorf("%s: %d %s", path, status, said)
		}
	}
	if status, said := p.ask("guest", "GET", "default/actions/pk/", nil); status != 404 {
		t.Errorf("%d %s", status, said)
	}
	if status, said := p.ask("guest", "POST", "_/actions/bd/s?blocking=true", fields{}); status != 403 {
		t.Errorf("%d %s", status, said)
	}
	p.must(ns, "DELETE", "_/packages/pk?force=true", nil)
	if status, said := p.ask("guest", "GET", "_/packages/bd", nil); status != 403 {
		t.Errorf("%d %s", status, said)
	}
	p.must("guest", "DELETE", "_/packages/bd", nil)
}

// Names are refused in OpenWhisk's words wherever they are, and taken wherever
// OpenWhisk takes them.
func TestOddNames(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("probe")
	for _, name := range []string{"a%20b", "a%40b", "a%26b", "_x", "a.b-c", strings.Repeat("x", 256), "x" + strings.Repeat("%40", 190)} {
		p.must(ns, "PUT", "_/actions/"+name, sequence("/_/probe"))
		p.must(ns, "POST", "_/actions/"+name+"?blocking=true", fields{})
		p.must(ns, "DELETE", "_/actions/"+name, nil)
		p.must(ns, "PUT", "_/triggers/"+name, fields{})
		decoded, err := url.PathUnescape(name)
		if err != nil {
			t.Fatal(err)
		}
		p.must(ns, "PUT", "_/rules/r", fields{"trigger": "/_/" + decoded, "action": "/_/probe"})
		if said := p.must(ns, "GET", "_/rules/r", nil); !strings.Contains(said, `"name":"`+decoded+`"`) {
			t.Error(said)
		}
		p.must(ns, "POST", "_/triggers/"+name, fields{})
		p.must(ns, "DELETE", "_/rules/r", nil)
		p.must(ns, "DELETE", "_/triggers/"+name, nil)
		p.must(ns, "PUT", "_/packages/"+name, fields{})
		p.must(ns, "GET", "_/packages/"+name, nil)
		p.must(ns, "DELETE", "_/packages/"+name, nil)
	}
	for name, want := range map[string]string{
		"%C3%A9": "illegal characters", "a~20b": "illegal characters", "a%00b": "illegal characters", "%20a": "illegal characters", "a%20": "illegal characters", "-a": "illegal characters",
		strings.Repeat("x", 257): "Name segement longer than allowed: 257 > 256.", "x" + strings.Repeat("%40", 255): "too long",
	} {
		for _, kind := range []string{"actions", "packages", "triggers", "rules"} {
			if status, said := p.ask(ns, "PUT", "_/"+kind+"/"+name, sequence("/_/probe")); status != 400 || !strings.Contains(said, want) {
				t.Errorf("%s %s: %d %s", kind, name, status, said)
			}
		}
	}
}

// Times and numbers at their bounds.
func TestActivationsAtTheBoundsOfTime(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("probe")
	for range 3 {
		p.must(ns, "POST", "_/actions/probe?blocking=true", fields{})
	}
	for query, n := range map[string]int{
		"upto=9223372036854775807": 3, "since=9223372036854775807": 0, "upto=0": 0, "since=0": 3, "skip=1": 2, "skip=3": 0, "limit=1&skip=2": 1, "limit=2": 2,
		"skip=9223372036854775807": 0, "name=probe&skip=1": 2, "name=probe&limit=1&skip=1": 1, "name=probe&skip=9223372036854775807": 0,
	} {
		var list []activationSeen
		if err := json.Unmarshal([]byte(p.must(ns, "GET", "_/activations?"+query, nil)), &list); err != nil || len(list) != n {
			t.Errorf("%s: %d activations, want %d: %v", query, len(list), n, err)
		}
	}
}

// The rest of the path is the action's, as it came.
func TestPathsOfWebActions(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	p.probes("probe")
	web := sequence("/_/probe")
	web["annotations"] = []fields{{"key": "web-export", "value": true}}
	p.must(rouse.DefaultNamespace, "PUT", "_/actions/w", web)
	for _, rest := range []string{"", "/", "/a//b/../c", "/./x", "//", "/a%20b%2Fc/d", "/caf%C3%A9"} {
		if status, said := p.get("/api/v1/web/default/default/w.json" + rest); status != 200 && status != 404 {
			t.Errorf("%s: %d %s", rest, status, said)
		}
		if ran := p.seen("probe"); len(ran) != 1 || !strings.Contains(ran[0], `"__ow_path":"`+rest+`"`) {
			t.Errorf("%s: %s", rest, ran)
		}
	}
	if status, said := p.get("/api/v1/%77eb/%64efault/default/%77.json"); status != 200 || len(p.seen("probe")) != 1 {
		t.Errorf("%d %s", status, said)
	}
	if status, said := p.get("/api/v1/web/whisk.system/apimgmt/getApi.http"); status != 401 {
		t.Errorf("%d %s", status, said)
	}
}

// A parameter that is final stays what it is, by whichever way in.
func TestFinalParametersOfWebActions(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("probe")
	web := sequence("/_/probe")
	web["parameters"] = []fields{{"key": "fixed", "value": 1}, {"key": "open", "value": nil}}
	web["annotations"] = []fields{{"key": "web-export", "value": true}, {"key": "final", "value": true}}
	p.must(ns, "PUT", "_/actions/w", web)
	doc := `{"basePath":"/a","info":{"title":"t"},"paths":{"/{fixed}/{open}":{"get":{"x-openwhisk":{"action":"w","package":"default","url":"http://h/w.http"}}}}}`
	if err := p.apis.put(t.Context(), ns, "/a", api{Doc: json.RawMessage(doc)}, 0); err != nil {
		t.Fatal(err)
	}
	for path, status := range map[string]int{
		"web/default/default/w.json?fixed=2": 400, "web/default/default/w.json?open=2": 200, "web/default/default/w.json?__ow_headers=2": 400,
	} {
		if got, said := p.get("/api/v1/" + path); status != got {
			t.Errorf("%s: %d %s", path, got, said)
		}
	}
	p.seen("probe")
	if status, said := p.get("/api/gw/default/a/2/3"); status != 204 {
		t.Errorf("%d %s", status, said)
	}
	if ran := p.seen("probe"); len(ran) != 1 || !strings.Contains(ran[0], `"fixed":1`) || !strings.Contains(ran[0], `"open":"3"`) {
		t.Error(ran)
	}
}

// Whoever may come in must show what the annotation says, and one that nobody
// understands lets nobody in.
func TestWhatWebActionsWantToSee(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns, secret = rouse.DefaultNamespace, "X-Require-Whisk-Auth"
	p.probes("probe")
	for _, c := range []struct {
		want    string
		headers []string
		status  int
	}{
		{`null`, nil, 200}, {`false`, nil, 200}, {`true`, nil, 401}, {`"s"`, nil, 401}, {`"s"`, []string{secret, "s"}, 200}, {`"s"`, []string{secret, "S"}, 401},
		{`7`, []string{secret, "7"}, 200}, {`7`, []string{secret, "8"}, 401}, {`""`, nil, 401}, {`{}`, nil, 401}, {`[true]`, nil, 401},
		{`true`, []string{"Authorization", "Basic Og=="}, 401}, {`true`, []string{"Authorization", "Bearer x"}, 401},
	} {
		web := sequence("/_/probe")
		web["annotations"] = []fields{{"key": "web-export", "value": true}, {"key": "require-whisk-auth", "value": json.RawMessage(c.want)}}
		p.must(ns, "PUT", "_/actions/w?overwrite=true", web)
		if status, said := p.get("/api/v1/web/default/default/w.json", c.headers...); status != c.status {
			t.Errorf("%s %q: %d %s", c.want, c.headers, status, said)
		}
	}
}

// Very many parameters are merged in time, and more than that are not even read.
func TestVeryManyParameters(t *testing.T) {
	var many pairs
	for i := range 100_000 {
		many = append(many, keyValue{Key: fmt.Sprint(i)})
	}
	if got := merged(many, many); len(got) != len(many) {
		t.Errorf("%d of %d", len(got), len(many))
	}
	keys := make([]string, len(many))
	for i := range many {
		keys[i] = many[i].Key
	}
	if got := many.without(keys[1:]...); len(got) != 1 {
		t.Errorf("%d are left", len(got))
	}
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("probe")
	for path, n := range map[string]int{"actions/a": maxPairs, "packages/a": maxPairs, "actions/b": maxPairsText, "triggers/b": maxEntity} {
		a := sequence("/_/probe")
		a["parameters"] = []fields{{"key": "a", "value": strings.Repeat("x", n)}}
		if status, said := p.ask(ns, "PUT", "_/"+path, a); status != 413 || !strings.Contains(said, " larger than allowed: ") {
			t.Errorf("%s: %d %.200s", path, status, said)
		}
	}
}
