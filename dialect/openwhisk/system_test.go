package openwhisk

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

func catalogue(t *testing.T) map[string]systemPackage {
	t.Helper()
	b, err := systemFiles.ReadFile("system/packages.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]systemPackage
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// All files are some action's, all actions without one are answered for, and all
// say what they are.
func TestTheCatalogueIsWhole(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	used := map[string]bool{}
	for name, pack := range catalogue(t) {
		if pack.Description == "" {
			t.Errorf("%s says nothing of itself", name)
		}
		for action, a := range pack.Actions {
			if a.Description == "" {
				t.Errorf("%s/%s says nothing of itself", name, action)
			}
			if a.File != "" {
				used[filepath.ToSlash(filepath.Join("system", a.File))] = true
				continue
			}
			_, err := p.answer(t.Context(), rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: action}, Handler: name + "/" + action}, parameters{})
			if err != nil && strings.Contains(err.Error(), "there is no") {
				t.Errorf("%s/%s: %v", name, action, err)
			}
		}
	}
	for _, pattern := range []string{"utils", "samples"} {
		entries, err := systemFiles.ReadDir("system/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if at := "system/" + pattern + "/" + e.Name(); !used[at] {
				t.Errorf("%s is no action's", at)
			}
		}
	}
}

// The packages are there when they are first asked for, whoever asks and however;
// those of another build are replaced, with what that had besides.
func TestThePackagesAreInstalled(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	ask := func(method, path string, body any) string {
		t.Helper()
		return p.must("guest", method, path, body)
	}
	if docs, err := p.Meta.List(t.Context(), rouse.DocQuery{Kind: "openwhisk.package", Namespace: systemNamespace}); err != nil || len(docs) != 0 {
		t.Fatalf("%v %v", docs, err)
	}
	var list []item
	if err := json.Unmarshal([]byte(ask("GET", "whisk.system/packages", nil)), &list); err != nil || len(list) != len(catalogue(t)) {
		t.Fatalf("%v %v", list, err)
	}
	var seen packSeen
	if err := json.Unmarshal([]byte(ask("GET", "whisk.system/packages/alarms", nil)), &seen); err != nil || !seen.Publish || len(seen.Feeds) != 3 || len(seen.Actions) != 0 || seen.Version != "0.0.1" {
		t.Fatalf("%+v %v", seen, err)
	}
	// Somebody else's build was here.
	var old pack
	doc, err := p.Meta.Get(t.Context(), "openwhisk.package", rouse.Ref{Namespace: systemNamespace, Name: "alarms"})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(doc.Data, &old); err != nil {
		t.Fatal(err)
	}
	old.Source = "other"
	if err := p.packages.put(t.Context(), systemNamespace, "alarms", old, doc.Revision); err != nil {
		t.Fatal(err)
	}
	more := systemAction{Description: "more"}
	if err := p.installAction(t.Context(), path{systemNamespace, "alarms", "more"}, more, old); err != nil {
		t.Fatal(err)
	}
	d := New(Config{URL: p.URL})
	d.Use(p.Services)
	p.Door = d
	if err := json.Unmarshal([]byte(ask("GET", "whisk.system/packages/alarms", nil)), &seen); err != nil || len(seen.Feeds) != 3 || len(seen.Actions) != 0 || seen.Version != "0.0.2" {
		t.Errorf("%+v %v", seen, err)
	}
	if err := json.Unmarshal([]byte(ask("GET", "whisk.system/packages/github", nil)), &seen); err != nil || seen.Version != "0.0.1" {
		t.Errorf("what had not changed is %+v %v", seen, err)
	}
	// Each way in by itself.
	for _, path := range []string{"whisk.system/actions", "whisk.system/actions/alarms/", "whisk.system/actions/alarms/once"} {
		d := New(Config{})
		d.Use(p.Services)
		p.Door = d
		if said := ask("GET", path, nil); !strings.Contains(said, "Fire trigger once") {
			t.Errorf("%s: %s", path, said)
		}
	}
	if status, said := p.ask("guest", "PUT", "whisk.system/packages/mine", fields{}); status != 403 {
		t.Errorf("%d %s", status, said)
	}
	if said := ask("PUT", "_/packages/mine", fields{"binding": fields{"namespace": "whisk.system", "name": "alarms"}}); !strings.Contains(said, `"binding":{"namespace":"whisk.system"`) {
		t.Error(said)
	}
}

func TestHostURL(t *testing.T) {
	p := newPlatform(t)
	defer p.stop()
	const base = "https://rouse.example.com/api/v1/"
	for given, want := range map[string]string{
		`{}`:                               `{"url":"` + base + `namespaces/guest/actions"}`,
		`{"path": "hello"}`:                `{"url":"` + base + `namespaces/guest/actions/hello"}`,
		`{"path": "t", "trigger": true}`:   `{"url":"` + base + `namespaces/guest/triggers/t"}`,
		`{"path": "p/hello", "web": true}`: `{"url":"` + base + `web/guest/p/hello.json"}`,
		`{"path": "hello", "web": true, "ext": ".http"}`: `{"url":"` + base + `web/guest/default/hello.http"}`,
		`{"web": true, "trigger": true}`:                 `{"error":"triggers are not allowed for web actions."}`,
		`{"web": true, "ext": ".exe"}`:                   `{"error":"extension for web action must be one of [\".json\", \".text\", \".html\", \".http\"]."}`,
		`{"trigger": true, "path": "a/b"}`:               `{"error":"triggers are not allowed in packages."}`,
	} {
		if _, said := p.ask("guest", "POST", "whisk.system/actions/utils/hosturl?blocking=true&result=true", json.RawMessage(given)); said != want {
			t.Errorf("%s: %s", given, said)
		}
	}
}
