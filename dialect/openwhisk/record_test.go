package openwhisk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

// What an activation shows is as it was when it began, whatever became of its
// action.
func TestAnActivationKeepsWhatItsActionWas(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("one")
	p.probes("two")
	put := func(name string, limit int, components ...string) {
		t.Helper()
		p.must(ns, "PUT", "_/actions/"+name+"?overwrite=true", fields{"exec": fields{"kind": "sequence", "components": components}, "limits": fields{"timeout": limit}})
	}
	run := func(path string) (id string) {
		t.Helper()
		var act struct {
			ID string `json:"activationId"`
		}
		if err := json.Unmarshal([]byte(p.must(ns, "POST", path+"?blocking=true", fields{})), &act); err != nil {
			t.Fatal(err)
		}
		return act.ID
	}
	shown := func(id string) string {
		t.Helper()
		return p.must(ns, "GET", "_/activations/"+id, nil)
	}
	p.must(ns, "PUT", "_/packages/box", fields{})
	p.must(ns, "PUT", "_/packages/bound", fields{"binding": fields{"namespace": "_", "name": "box"}})
	put("both", 70_000, "/_/one", "/_/two")
	put("box/both", 80_000, "/_/one")
	first, through := run("_/actions/both"), run("_/actions/bound/both")
	before := map[string]string{first: shown(first), through: shown(through)}
	if s := before[first]; !strings.Contains(s, `{"key":"kind","value":"sequence"}`) || !strings.Contains(s, `"version":"0.0.1"`) || !strings.Contains(s, `"timeout":70000`) {
		t.Errorf("at first: %s", s)
	}
	if s := before[through]; !strings.Contains(s, `{"key":"path","value":"default/box/both"}`) || !strings.Contains(s, `{"key":"binding","value":"default/bound"}`) {
		t.Errorf("through a binding: %s", s)
	}
	same := func(when string) {
		t.Helper()
		for id, want := range before {
			if got := shown(id); got != want {
				t.Errorf("%s:\n%s\nwant\n%s", when, got, want)
			}
		}
	}
	put("both", 90_000, "/_/two")
	put("box/both", 90_000, "/_/two")
	run("_/actions/bound/both")
	same("updated")
	if s := shown(run("_/actions/both")); !strings.Contains(s, `"version":"0.0.2"`) || !strings.Contains(s, `"timeout":90000`) {
		t.Errorf("the second: %s", s)
	}
	for _, path := range []string{"_/actions/both", "_/actions/box/both", "_/packages/bound?force=true", "_/packages/box?force=true"} {
		p.must(ns, "DELETE", path, nil)
	}
	same("deleted")
	p.probes("both") // another of its name, whose first version that is
	same("replaced")
	list := p.must(ns, "GET", "_/activations?limit=200&docs=true", nil)
	if n := strings.Count(list, `{"key":"kind","value":"sequence"}`); n != 4 {
		t.Errorf("%d are shown as sequences: %s", n, list)
	}
}

// Whatever is in the records, none of it stops the server.
func TestARecordThatIsNotOurs(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	for _, note := range []string{`{}`, `{"limits":{"timeout":1}}`, `{"kind":"python:3.11","limits":null,"binding":{}}`} {
		a, err := p.Door.ran(t.Context(), rouse.Activation{ID: "x", Function: rouse.Ref{Namespace: "default", Name: "none"}, Notes: rouse.Notes{Name: json.RawMessage(note)}})
		if a != nil || err != nil {
			t.Errorf("%s: %+v %v", note, a, err)
		}
	}
	if _, err := p.Door.ran(t.Context(), rouse.Activation{Notes: rouse.Notes{Name: json.RawMessage(`[]`)}}); err == nil {
		t.Error("a list is no record")
	}
}

// Who waits for an action is answered after a minute, however long it waits for
// an instance; and it runs to its end.
// A flushed answer is there before its handler has ended.
type flushed struct {
	*httptest.ResponseRecorder
	done chan struct{}
}

func (f *flushed) Flush() { close(f.done) }

func TestABlockingInvocationIsAnsweredInTime(t *testing.T) {
	bubble(t, func(t *testing.T, p *platform) {
		const ns = rouse.DefaultNamespace
		p.gate = make(chan struct{}) // as if there was no instance
		p.probes("slow")
		p.must(ns, "PUT", "_/actions/slow?overwrite=true", fields{"limits": fields{"timeout": 1000}, "annotations": []fields{{"key": "web-export", "value": true}}})
		var handlers sync.WaitGroup
		ask := func(method, path string) (int, string) {
			t.Helper()
			r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
			r.SetBasicAuth(p.keys[ns].ID, p.keys[ns].Secret)
			w := &flushed{httptest.NewRecorder(), make(chan struct{})}
			began := time.Now()
			handlers.Go(func() { p.ServeHTTP(w, r) })
			<-w.done
			if took := time.Since(began); took != time.Minute || w.Header().Get("Connection") != "close" {
				t.Errorf("%s: after %v, Connection: %s", path, took, w.Header().Get("Connection"))
			}
			return w.Code, w.Body.String()
		}
		status, said := ask("POST", "/api/v1/namespaces/_/actions/slow?blocking=true")
		var got struct {
			ID string `json:"activationId"`
		}
		if err := json.Unmarshal([]byte(said), &got); status != 202 || err != nil || len(got.ID) != 32 {
			t.Fatalf("%d %s", status, said)
		}
		if status, said := ask("GET", "/api/v1/web/default/default/slow"); status != 202 || !strings.Contains(said, "Response not yet ready.") {
			t.Errorf("as a web action: %d %s", status, said)
		}
		if status, _ := p.ask(ns, "GET", "_/activations/"+got.ID, nil); status != 404 {
			t.Errorf("before its end: %d", status)
		}
		close(p.gate)
		handlers.Wait()
		if said := p.must(ns, "GET", "_/activations/"+got.ID, nil); !strings.Contains(said, `"status":"success"`) {
			t.Errorf("%s", said)
		}
	})
}

// The web actions of a subject that is blocked are as if they were not there.
func TestABlockedSubjectHasNoWebActions(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("page")
	p.must(ns, "PUT", "_/actions/page?overwrite=true", fields{"annotations": []fields{{"key": "web-export", "value": true}}})
	manage := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/web/whisk.system/apimgmt/createApi.http?accesstoken=x&spaceguid="+p.keys[ns].ID,
		strings.NewReader(`{"apidoc":{"namespace":"_","gatewayBasePath":"/b","gatewayPath":"/p","gatewayMethod":"GET","id":"API:_:/b",`+
			`"action":{"name":"page","namespace":"_","backendMethod":"GET","backendUrl":"http://h/api/v1/web/_/default/page.http","authkey":"`+p.keys[ns].ID+":"+p.keys[ns].Secret+`"}}}`))
	manage.SetBasicAuth(p.keys[ns].ID, p.keys[ns].Secret)
	made := httptest.NewRecorder()
	if p.ServeHTTP(made, manage); made.Code != 200 {
		t.Fatalf("%d %s", made.Code, made.Body)
	}
	all := func(want int, path ...string) {
		t.Helper()
		for _, path := range path {
			for _, method := range []string{"GET", "OPTIONS"} {
				w := httptest.NewRecorder()
				p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
				if w.Code != want && (want != 204 || w.Code != 200) || want == 404 && !strings.Contains(w.Body.String(), textNotFound) {
					t.Errorf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, want)
				}
			}
		}
	}
	block := func(blocked bool) {
		t.Helper()
		if _, err := p.Subjects.SetSubject(t.Context(), rouse.Subject{Namespace: ns, Blocked: blocked}, false); err != nil {
			t.Fatal(err)
		}
	}
	paths := []string{"/api/v1/web/default/default/page", "/api/v1/web/default/default/page.json", "/api/gw/default/b/p"}
	all(204, paths...)
	block(true)
	all(404, paths...)
	block(false)
	all(204, paths...)
}

// A watched store of records tells what is asked of it.
type watched struct {
	rouse.Records
	page, lines func(limit int)
}

func (w watched) Activations(ctx context.Context, q rouse.ActivationQuery) ([]rouse.Activation, error) {
	w.page(q.Limit)
	return w.Records.Activations(ctx, q)
}

func (w watched) Lines(ctx context.Context, q rouse.LineQuery) ([]rouse.Line, error) {
	w.lines(q.Limit)
	return w.Records.Lines(ctx, q)
}

// However many activations there are, and however large, a list of them holds a
// few at once.
func TestListsOfActivationsHoldFew(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns = rouse.DefaultNamespace
	p.probes("one")
	const n = 60
	for range n {
		p.must(ns, "POST", "_/actions/one?blocking=true", fields{})
	}
	var sent []int
	var out *httptest.ResponseRecorder
	page := 0
	p.Records = watched{p.Records, func(limit int) { page = max(page, limit) }, func(int) { sent = append(sent, out.Body.Len()) }}
	get := func(query string) (list []json.RawMessage) {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/namespaces/_/activations?"+query, nil)
		r.SetBasicAuth(p.keys[ns].ID, p.keys[ns].Secret)
		out, sent, page = httptest.NewRecorder(), nil, 0
		p.ServeHTTP(out, r)
		if err := json.Unmarshal(out.Body.Bytes(), &list); err != nil || out.Code != 200 || out.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v %s", query, out.Code, err, out.Body)
		}
		return list
	}
	if list := get("limit=1"); len(list) != 1 || page > pageLeast {
		t.Errorf("%d activations, %d read at once", len(list), page)
	}
	list := get("docs=true&limit=50&skip=5")
	if len(list) != 50 || page > pageMost || !slices.IsSorted(sent) || len(slices.Compact(sent)) != 50 {
		t.Errorf("%d activations, %d read at once, logs read after so many bytes: %v", len(list), page, sent)
	}
	for _, one := range list {
		var act struct {
			ID string `json:"activationId"`
		}
		if err := json.Unmarshal(one, &act); err != nil {
			t.Fatal(err)
		}
		if whole := p.must(ns, "GET", "_/activations/"+act.ID, nil); whole != string(one) {
			t.Errorf("%s\nis in the list\n%s", whole, one)
		}
	}
	if list := get("docs=true&limit=200"); len(list) != n {
		t.Errorf("%d activations", len(list))
	}
	if list := get("docs=true&skip=1000"); len(list) != 0 {
		t.Errorf("%d activations", len(list))
	}
}

// A shelf is a registry that tells how much is asked of it at once.
type shelf struct {
	rouse.Registry
	page func(limit, got int)
}

func (s shelf) Functions(ctx context.Context, ns rouse.Namespace, after string, limit int) ([]rouse.Function, error) {
	fs, err := s.Registry.Functions(ctx, ns, after, limit)
	s.page(limit, len(fs))
	return fs, err
}

// However large actions are, a list of them reads a few at once, and shows all of
// those that are on the page.
func TestListsOfActionsHoldFew(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const ns, n = rouse.DefaultNamespace, 40
	p.probes("one")
	p.must(ns, "PUT", "_/packages/pk", fields{})
	for i := range n {
		large := sequence("/_/one")
		large["annotations"] = []fields{{"key": "mark", "value": strings.Repeat(string(rune('a'+i%26)), 200_000)}}
		p.must(ns, "PUT", fmt.Sprintf("_/actions/pk/a%d", i), large)
	}
	most := 0
	p.Registry = shelf{p.Registry, func(limit, got int) {
		if got > 1 {
			most = max(most, limit)
		}
	}}
	for _, at := range []string{"_/actions?limit=3&skip=1", "_/actions/pk/?limit=3"} {
		var list []struct {
			Name        string
			Annotations pairs
			Limits      limits
		}
		most = 0
		if err := json.Unmarshal([]byte(p.must(ns, "GET", at, nil)), &list); err != nil || len(list) != 3 || most > fewFunctions {
			t.Errorf("%s: %d actions, %d read at once: %v", at, len(list), most, err)
		}
		for _, a := range list {
			var i int
			if _, err := fmt.Sscanf(a.Name, "a%d", &i); err != nil || len(a.Annotations.text("mark")) != 200_000 || a.Annotations.text("mark")[0] != byte('a'+i%26) || *a.Limits.Timeout != 60_000 {
				t.Errorf("%s: %s has other annotations: %v", at, a.Name, err)
			}
		}
	}
}
