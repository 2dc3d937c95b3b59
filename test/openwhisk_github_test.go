package test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rouse-run/rouse"
)

// A hub stands in for GitHub: it keeps webhooks and delivers to them.
type hub struct {
	*httptest.Server
	token string

	mu    sync.Mutex               // guards token as well
	hooks map[int64]map[string]any // guarded by mu
	last  int64                    // guarded by mu
	asked []string                 // guarded by mu; what was asked with the right token
}

func newHub(t *testing.T, token string) *hub {
	h := &hub{token: token, hooks: map[int64]map[string]any{}, last: 100}
	mux := http.NewServeMux()
	mux.HandleFunc("/repos/{owner}/{repository}/hooks", h.serve)
	mux.HandleFunc("/repos/{owner}/{repository}/hooks/{id}", h.serve)
	h.Server = httptest.NewServer(mux)
	t.Cleanup(h.Close)
	return h
}

func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	if r.Header.Get("Authorization") != "Bearer "+h.token || r.Header.Get("User-Agent") == "" {
		answer(http.StatusUnauthorized, map[string]string{"message": "Bad credentials"})
		return
	}
	if r.PathValue("owner")+"/"+r.PathValue("repository") != "dbgannon/whisk" {
		answer(http.StatusNotFound, map[string]string{"message": "Not Found"})
		return
	}
	h.asked = append(h.asked, r.Method+" "+r.URL.RequestURI())
	var id int64
	_, _ = fmt.Sscan(r.PathValue("id"), &id)
	there := h.hooks[id]
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body)
	switch {
	case r.Method == http.MethodPost && id == 0:
		h.last++
		body["id"] = h.last
		h.hooks[h.last] = body
		answer(http.StatusCreated, body)
	case there == nil:
		answer(http.StatusNotFound, map[string]string{"message": "Not Found"})
	case r.Method == http.MethodPatch:
		for k, v := range body {
			there[k] = v
		}
		answer(http.StatusOK, there)
	case r.Method == http.MethodDelete:
		delete(h.hooks, id)
		w.WriteHeader(http.StatusNoContent)
	}
}

// allow has the hub know another token.
func (h *hub) allow(token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.token = token
}

// all are the webhooks that there are.
func (h *hub) all() []map[string]any {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []map[string]any
	for _, hook := range h.hooks {
		all = append(all, hook)
	}
	return all
}

// deliver calls a webhook as GitHub does, signed with a secret.
func deliver(t *testing.T, hook map[string]any, event, id, body, secret string) (int, string) {
	t.Helper()
	config := hook["config"].(map[string]any)
	r, err := http.NewRequestWithContext(t.Context(), "POST", config["url"].(string), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	for k, v := range map[string]string{"Content-Type": "application/json", "X-GitHub-Event": event, "X-GitHub-Delivery": id, "X-GitHub-Hook-ID": fmt.Sprint(hook["id"]),
		"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil)), "User-Agent": "GitHub-Hookshot/044aadd"} {
		r.Header.Set(k, v)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(said)
}

const repository = `{"id": 100, "name": "whisk", "full_name": "dbgannon/whisk", "private": false, "html_url": "https://github.com/dbgannon/whisk",
"description": "Experiments with OpenWhisk", "fork": false, "default_branch": "master", "language": null,
"owner": {"login": "dbgannon", "name": "dbgannon", "email": "d@example.com", "id": 7}}`

const pushed = `{"ref": "refs/heads/master", "before": "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "after": "0000000000000000000000000000000000000001",
"created": false, "deleted": false, "forced": false, "base_ref": null, "compare": "https://github.com/dbgannon/whisk/compare/6113...0001",
"commits": [{"id": "0000000000000000000000000000000000000001", "tree_id": "1", "distinct": true, "message": "Add a file", "timestamp": "2017-09-10T10:00:00-04:00",
"url": "https://github.com/dbgannon/whisk/commit/1", "author": {"name": "d", "email": "d@example.com", "username": "dbgannon"},
"committer": {"name": "d", "email": "d@example.com", "username": "dbgannon"}, "added": ["file"], "removed": [], "modified": []}],
"head_commit": null, "repository": ` + repository + `, "pusher": {"name": "dbgannon", "email": "d@example.com"}, "sender": {"login": "dbgannon", "id": 7}}`

const deleted = `{"ref": "old", "ref_type": "branch", "pusher_type": "user", "repository": ` + repository + `, "sender": {"login": "dbgannon", "id": 7}}`

const pinged = `{"zen": "Design for failure.", "hook_id": 101, "hook": {"type": "Repository", "id": 101, "name": "web", "active": true}, "repository": ` + repository + `, "sender": {"login": "dbgannon", "id": 7}}`

// read decodes what is at a path of one's own namespace.
func (w *whisk) read(path string, v any) {
	w.t.Helper()
	if r := w.ask("GET", "_/"+path, nil); json.Unmarshal(r.body, v) != nil {
		w.t.Fatalf("%s: %d %s", path, r.status, r.body)
	}
}

// must asks for what has to go well.
func (w *whisk) must(method, path string, body any) {
	w.t.Helper()
	if r := w.ask(method, "_/"+path, body); r.status/100 != 2 {
		w.t.Fatalf("%s %s: %d %s", method, path, r.status, r.body)
	}
}

type object = map[string]any

// feed does as clients do: a trigger that a feed makes fire.
func (w *whisk) feed(name, feed, life string, given object) (int, object) {
	w.t.Helper()
	if life == "CREATE" {
		w.must("PUT", "triggers/"+url.PathEscape(name)+"?overwrite=true", object{"annotations": []object{{"key": "feed", "value": feed}}})
	}
	if given["triggerName"] == nil {
		given["triggerName"] = "/_/" + name
	}
	given["lifecycleEvent"], given["authKey"] = life, w.auth
	return w.run(feed, given)
}

// run invokes /NAMESPACE/PACKAGE/ACTION and returns its result.
func (w *whisk) run(action string, args any) (int, object) {
	w.t.Helper()
	ns, name, _ := strings.Cut(action[1:], "/")
	r := w.ask("POST", "namespaces/"+ns+"/actions/"+name+"?blocking=true&result=true", args)
	var result object
	if err := json.Unmarshal(r.body, &result); err != nil {
		w.t.Fatalf("%s: %d %s", action, r.status, r.body)
	}
	return r.status, result
}

// A record is an activation as the API shows it.
type record struct {
	ID          string   `json:"activationId"`
	Name        string   `json:"name"`
	Logs        []string `json:"logs"`
	Annotations []struct {
		Key   string          `json:"key"`
		Value json.RawMessage `json:"value"`
	} `json:"annotations"`
	Response struct {
		Success bool   `json:"success"`
		Result  object `json:"result"`
	} `json:"response"`
}

func (r record) annotation(key string) string {
	for _, a := range r.Annotations {
		if a.Key == key {
			return strings.Trim(string(a.Value), `"`)
		}
	}
	return ""
}

// The example of the document: an action from a template, a trigger for pushes to
// and deletions in a repository, a rule, and the repository's description, found
// from the list of activations.
func TestTheDescriptionOfARepository(t *testing.T) {
	github := newHub(t, "ghp_right")
	s := start(t, "", "--github-api", github.URL)
	w := s.whisk(rouse.DefaultNamespace)

	dir := filepath.Join(t.TempDir(), "myaction")
	if out, err := exec.CommandContext(t.Context(), binary, "init", dir, "--template", "openwhisk-python").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	template, err := os.ReadFile(filepath.Join(dir, "main.py"))
	if err != nil {
		t.Fatal(err)
	}
	// Two levels down in the dictionary.
	code := strings.Replace(string(template), `{"message": f"Hello, {name}!"}`, `{"description": args["repository"]["description"], "headers": args["__ow_headers"]}`, 1)
	if code == string(template) {
		t.Fatalf("the template is another one: %s", template)
	}
	w.must("PUT", "actions/myaction", object{"exec": object{"kind": "python:default", "code": code}})

	const feed = "/whisk.system/github/webhook"
	asked := func(token string) object {
		return object{"username": "dbgannon", "repository": "whisk", "accessToken": token, "events": "push,delete"}
	}
	if status, said := w.feed("wrong", feed, "CREATE", asked("ghp_wrong")); status != 502 || !strings.Contains(fmt.Sprint(said["error"]), "Bad credentials") || len(github.all()) != 0 {
		t.Fatalf("with a wrong token: %d %v", status, said)
	}
	if status, said := w.feed("wrong", feed, "READ", object{}); status != 502 {
		t.Errorf("a trigger that could not be fed: %d %v", status, said)
	}
	if status, said := w.feed("mygithubtrigger", feed, "CREATE", asked("ghp_right")); status != 200 {
		t.Fatalf("%d %v", status, said)
	}
	hooks := github.all()
	if len(hooks) != 1 {
		t.Fatalf("%v", hooks)
	}
	hook := hooks[0]
	config := hook["config"].(object)
	secret, _ := config["secret"].(string)
	if hook["name"] != "web" || hook["active"] != true || fmt.Sprint(hook["events"]) != "[push delete]" || config["content_type"] != "json" || config["insecure_ssl"] != "0" ||
		config["url"] != "http://"+s.addr+"/on/mygithubtrigger" || len(secret) < 20 {
		t.Errorf("registered is %v", hook)
	}
	// What the user sees of it has neither the token nor the secret in it.
	_, read := w.feed("mygithubtrigger", feed, "READ", object{})
	var shown object
	w.read("triggers/mygithubtrigger", &shown)
	native, err := s.Trigger(t.Context(), "mygithubtrigger")
	if err != nil {
		t.Fatal(err)
	}
	if all := fmt.Sprint(read, shown, string(native.Config), native.Notes); !strings.Contains(all, "dbgannon/whisk") || strings.Contains(all, "ghp_right") || strings.Contains(all, secret) {
		t.Errorf("shown is %s", all)
	}

	w.must("PUT", "rules/myrule", object{"trigger": "/_/mygithubtrigger", "action": "/_/myaction"})
	for id, e := range map[string]struct{ event, body string }{"d-ping": {"ping", pinged}, "d-push": {"push", pushed}, "d-delete": {"delete", deleted}} {
		if status, said := deliver(t, hook, e.event, id, e.body, secret); status != 202 {
			t.Errorf("%s: %d %s", e.event, status, said)
		}
	}
	if status, said := deliver(t, hook, "push", "d-false", pushed, "another secret"); status != 401 {
		t.Errorf("a false signature: %d %s", status, said)
	}

	// From the list of activations down.
	var list []record
	eventually(t, "three activations of myaction", func() bool {
		w.read("activations?limit=200", &list)
		n := 0
		for _, a := range list {
			if a.Name == "myaction" {
				n++
			}
		}
		return n == 3
	})
	var events []string
	for _, a := range list {
		if a.Name != "mygithubtrigger" {
			continue
		}
		var fired, ran record
		w.read("activations/"+a.ID, &fired)
		if len(fired.Logs) != 1 || !strings.HasPrefix(fired.annotation("cause"), "d-") {
			t.Fatalf("the trigger's activation: %+v", fired)
		}
		var line struct{ ActivationID, Rule, Action string }
		if err := json.Unmarshal([]byte(fired.Logs[0]), &line); err != nil || line.Rule != "default/myrule" || line.Action != "default/myaction" {
			t.Fatalf("%s: %v", fired.Logs[0], err)
		}
		w.read("activations/"+line.ActivationID, &ran)
		if ran.Response.Result["description"] != "Experiments with OpenWhisk" || ran.annotation("cause") != fired.ID {
			t.Errorf("the action's activation: %+v", ran)
		}
		headers, _ := ran.Response.Result["headers"].(object)
		if headers["x-github-delivery"] != fired.annotation("cause") || headers["user-agent"] != "GitHub-Hookshot/044aadd" || !strings.HasPrefix(fmt.Sprint(headers["x-hub-signature-256"]), "sha256=") {
			t.Errorf("the action was told %v", headers)
		}
		events = append(events, fmt.Sprint(headers["x-github-event"]))
	}
	slices.Sort(events)
	if fmt.Sprint(events) != "[delete ping push]" {
		t.Errorf("it ran for %v", events)
	}

	// The trigger takes its hook along, and no other. Clients do not say the token again.
	github.mu.Lock()
	github.hooks[7] = object{"id": 7, "config": object{"url": "https://elsewhere.example"}}
	github.mu.Unlock()
	if status, said := w.feed("mygithubtrigger", feed, "DELETE", object{}); status != 200 {
		t.Errorf("%d %v", status, said)
	}
	w.must("DELETE", "triggers/mygithubtrigger", nil)
	if hooks := github.all(); len(hooks) != 1 || hooks[0]["id"] != 7 {
		t.Errorf("left are %v", hooks)
	}
	if status, _ := deliver(t, hook, "push", "d-late", pushed, secret); status != 401 {
		t.Errorf("a delivery after the end: %d", status)
	}
}

// A package that is bound has the token; the trigger is in a namespace of its own.
func TestAHookOfAnotherNamespace(t *testing.T) {
	github := newHub(t, "ghp_right")
	s := start(t, "", "--github-api", github.URL, "--url", "http://rouse.invalid/")
	w := s.whisk("guest")
	given := []object{{"key": "accessToken", "value": "ghp_right"}, {"key": "username", "value": "ada"}, {"key": "repository", "value": "dbgannon/whisk"}}
	w.must("PUT", "packages/my-git", object{"binding": object{"namespace": "whisk.system", "name": "github"}, "parameters": given})
	w.must("PUT", "actions/echo", object{"exec": object{"kind": "python:default", "code": "def main(args): return {'is': args['zen']}"}})
	const feed = "/guest/my-git/webhook"
	for _, c := range []struct {
		given object
		want  string
	}{
		{object{}, "missing the events parameter"},
		{object{"events": "push now"}, "'push now'"},
		{object{"events": "push", "repository": "a/b/c"}, "is not the name of a repository"},
		{object{"events": "push", "repository": "dbgannon/other"}, "Not Found; the accessToken must be allowed"},
		{object{"events": "push", "baseUrl": "http://github.example.com"}, "is not the https address"},
		{object{"events": "push", "baseUrl": "https://" + strings.TrimPrefix(github.URL, "http://")}, "an address that is not public"},
		{object{"events": "push", "baseUrl": "https://localhost:1/api/v3"}, "an address that is not public"},
	} {
		if status, said := w.feed("git hub", feed, "CREATE", c.given); status != 502 || !strings.Contains(fmt.Sprint(said["error"]), c.want) {
			t.Errorf("%v: %d %v", c.given, status, said)
		}
		w.must("DELETE", "triggers/git%20hub", nil)
	}
	if status, said := w.feed("git hub", feed, "CREATE", object{"events": []string{"*"}}); status != 200 {
		t.Fatalf("%d %v", status, said)
	}
	hook := github.all()[0]
	config := hook["config"].(object)
	if config["url"] != "http://rouse.invalid/on/guest:git~20hub" {
		t.Errorf("%v", config)
	}
	config["url"] = strings.Replace(config["url"].(string), "rouse.invalid", s.addr, 1)
	w.must("PUT", "rules/rule", object{"trigger": "/_/git hub", "action": "/_/echo"})
	if status, said := deliver(t, hook, "ping", "d-1", pinged, config["secret"].(string)); status != 202 {
		t.Fatalf("%d %s", status, said)
	}
	var list []record
	eventually(t, "the action ran", func() bool {
		w.read("activations?name=echo&docs=true", &list)
		return len(list) == 1
	})
	if list[0].Response.Result["is"] != "Design for failure." {
		t.Errorf("%+v", list[0])
	}
	for life, want := range map[string]any{"PAUSE": false, "UNPAUSE": true} {
		if status, said := w.feed("git hub", feed, life, object{}); status != 200 || github.all()[0]["active"] != want {
			t.Errorf("%s: %d %v %v", life, status, said, github.all())
		}
	}
	if status, said := w.feed("git hub", feed, "UPDATE", object{"events": "release"}); status != 200 || fmt.Sprint(github.all()[0]["events"]) != "[release]" {
		t.Errorf("%d %v %v", status, said, github.all())
	}
	// A trigger that is deleted without its feed takes its hook along; where GitHub
	// says no, the feed can still do it.
	github.allow("ghp_other")
	w.must("DELETE", "triggers/git%20hub", nil)
	if len(github.all()) != 1 {
		t.Error("a hook is gone that GitHub would not give")
	}
	github.allow("ghp_right")
	if status, said := w.feed("git hub", feed, "DELETE", object{}); status != 200 || len(github.all()) != 0 {
		t.Errorf("%d %v, left are %v", status, said, github.all())
	}
	if status, said := w.feed("git hub", feed, "CREATE", object{"events": []string{"push"}}); status != 200 || len(github.all()) != 1 {
		t.Fatalf("%d %v", status, said)
	}
	w.must("DELETE", "triggers/git%20hub", nil)
	if hooks := github.all(); len(hooks) != 0 {
		t.Errorf("left are %v", hooks)
	}
	if status, said := w.feed("gone", feed, "READ", object{"triggerName": "/_/git hub"}); status != 502 || !strings.Contains(fmt.Sprint(said), "is fed by no feed") {
		t.Errorf("%d %v", status, said)
	}
	// Another namespace's trigger is not one's own to feed.
	other := s.whisk("other")
	if status, said := other.feed("x", "/whisk.system/github/webhook", "READ", object{"triggerName": "/guest/git hub"}); status != 502 {
		t.Errorf("%d %v", status, said)
	}
}
