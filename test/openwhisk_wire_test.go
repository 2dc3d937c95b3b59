package test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// A whisk asks the OpenWhisk API of a server, as one subject.
type whisk struct {
	*server
	auth string // "" shows no key
}

func (s *server) whisk(ns rouse.Namespace) *whisk { return &whisk{s, s.key(ns)} }

// A reply is an answer of the API.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// get decodes a field, or one below it: "response.result".
func (r reply) get(t testing.TB, path string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
	for _, key := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("%s has no %s", r.body, path)
		}
		v = m[key]
	}
	return v
}

func (r reply) text(t testing.TB, path string) string {
	s, _ := r.get(t, path).(string)
	return s
}

// ask asks for a path below /api/v1; body is marshalled unless it is a string.
func (w *whisk) ask(method, path string, body any, headers ...string) reply {
	w.t.Helper()
	text, ok := body.(string)
	if !ok && body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		text = string(b)
	}
	if strings.HasPrefix(path, "_/") {
		path = "namespaces/" + path
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.addr+"/api/v1/"+path, strings.NewReader(text))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if w.auth != "" {
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(w.auth)))
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, b}
}

// python puts an action.
func (w *whisk) python(name, code string, more map[string]any) {
	w.t.Helper()
	body := map[string]any{"exec": map[string]any{"kind": "python:default", "code": code}}
	for k, v := range more {
		body[k] = v
	}
	if r := w.ask("PUT", "_/actions/"+name+"?overwrite=true", body); r.status != 200 {
		w.t.Fatalf("%d %s", r.status, r.body)
	}
}

const echoes = "def main(args):\n    return args\n"

// zipped is an archive of one file, as clients send it.
func zipped(t *testing.T, name string) string {
	t.Helper()
	return base64.StdEncoding.EncodeToString(archive(t, map[string]string{name: "x"}))
}

// What is wrong is refused with OpenWhisk's own status and text, in its shape.
func TestOpenWhiskRefusals(t *testing.T) {
	s := start(t, "")
	w := s.whisk("default")
	w.python("echo", echoes, nil)
	w.ask("PUT", "_/packages/box", "{}")
	w.ask("PUT", "_/triggers/bell", "{}")
	w.ask("PUT", "_/rules/ring", map[string]any{"trigger": "/_/bell", "action": "/_/echo"})
	nobody, wrong, guest := &whisk{s, ""}, &whisk{s, "a:b"}, s.whisk("guest")
	large := strings.Repeat("x", 1<<20)
	code := func(kind, code string) any {
		return map[string]any{"exec": map[string]any{"kind": kind, "code": code}}
	}
	for _, c := range []struct {
		who          *whisk
		method, path string
		body         any
		status       int
		text         string
	}{
		{nobody, "GET", "_/actions", nil, 401, "The resource requires authentication, which was not supplied with the request"},
		{wrong, "GET", "_/actions", nil, 401, "The supplied authentication is invalid"},
		{w, "GET", "_/actions/none", nil, 404, "The requested resource does not exist."},
		{w, "GET", "_/nothing", nil, 404, "The requested resource does not exist."},
		{w, "PUT", "_/actions", code("python:default", echoes), 405, "HTTP method not allowed, supported methods: GET"},
		{w, "POST", "_/triggers", "{}", 405, "HTTP method not allowed, supported methods: GET"},
		{w, "DELETE", "_/activations", nil, 405, "HTTP method not allowed, supported methods: GET"},
		{w, "PUT", "_/actions/new", `{"exec":{"kind":"python:default","code":"x"},"parameters":[{"k":1}]}`, 400, "The request content was malformed:\nparameters malformed!"},
		{w, "PUT", "_/actions/new", `{"exec":{"kind":"python:default","code":"x"},"annotations":[{"k":1}]}`, 400, "The request content was malformed:\nannotations malformed!"},
		{w, "PUT", "_/packages/new", `{"parameters":[{"key":"","value":1}]}`, 400, "The request content was malformed:\nparameters malformed!"},
		{w, "PUT", "_/triggers/new", `{"parameters":[{"value":1}]}`, 400, "The request content was malformed:\nparameters malformed!"},
		{w, "PUT", "_/actions/new", `{"parameters":{}}`, 400, "The request content was malformed:\nparameters is an object, an array is wanted"},
		{w, "PUT", "_/actions/new", `{"limits":{"timeout":"1"}}`, 400, "The request content was malformed:\nlimits.timeout is a string, a whole number is wanted"},
		{w, "PUT", "_/actions/new", `{"limits":{"timeout":1.5}}`, 400, "The request content was malformed:\nlimits.timeout is a number, a whole number is wanted"},
		{w, "PUT", "_/actions/new", `{"publish":"no"}`, 400, "The request content was malformed:\npublish is a string, a boolean is wanted"},
		{w, "PUT", "_/packages/new", `{"binding":"x"}`, 400, "The request content was malformed:\nbinding is a string, an object is wanted"},
		{w, "PUT", "_/actions/new", `{"version":"1.x"}`, 400, "The request content was malformed:\nsemantic version \"1.x\" is not of the form 0.0.1"},
		{w, "PUT", "_/actions/new", `{"version":"0.0"}`, 400, "The request content was malformed:\nbad semantic version 0.0.0"},
		{w, "PUT", "_/actions/new", code("python:default", zipped(t, "main.py")), 400, "The request content was malformed:\nexec.code: the zip archive has no __main__.py or exec at its top, where code of the kind "},
		{w, "PUT", "_/actions/new", code("nodejs:default", zipped(t, "lib/index.js")), 400, "The request content was malformed:\nexec.code: the zip archive has no package.json or index.js or index.mjs or index.cjs at its top, where code of the kind "},
		{w, "POST", "_/packages/refresh", "{}", 405, "HTTP method not allowed, supported methods: GET, PUT, POST, DELETE"},
		{w, "GET", "namespaces/whisk.system/packages/slack", nil, 403, "The supplied authentication is not authorized to access 'whisk.system/slack'."},
		{w, "GET", "namespaces/whisk.system/packages/websocket", nil, 403, "The supplied authentication is not authorized to access 'whisk.system/websocket'."},
		{w, "PUT", "_/actions/new", code("dotnet:6.0", "UEsDBA=="), 400, "The specified runtime 'dotnet:6.0' is not supported by this platform. Valid values are: "},
		{w, "PUT", "_/actions/new", code("rust:1.34", "pub fn main() {}"), 400, "The request content was malformed:\nexec.code: this server compiles no code of the kind rust:1.34: send a zip archive that holds the executable 'exec', or a script that begins with #!"},
		{w, "PATCH", "_/actions/echo", nil, 405, "HTTP method not allowed, supported methods: GET, PUT, POST, DELETE"},
		{guest, "PUT", "namespaces/default/actions/mine", code("python:default", echoes), 403, "The supplied authentication is not authorized to access this resource."},
		{w, "GET", "namespaces/b$d/actions", nil, 400, "The namespace contains illegal characters."},
		{w, "PUT", "_/actions/echo", code("python:default", echoes), 409, "resource already exists"},
		{w, "PUT", "_/actions/new", "{}", 400, "The request content was malformed:\nexec undefined"},
		{w, "PUT", "_/actions/new", `{"exec":{"kind":"python:default","code":7}}`, 400, "The request content was malformed:\nexec.code is a number, a string is wanted"},
		{w, "PUT", "_/actions/new", "{", 400, "The request content was malformed:\nunexpected end of JSON input"},
		{w, "PUT", "_/actions/new", code("python:default", strings.Repeat("x", 48<<20+1)), 413, "exec larger than allowed: 50331649 > 50331648 bytes."},
		{w, "PUT", "_/actions/new", code("java:8", "UEsDBA=="), 400, "The specified runtime 'java:8' is not supported by this platform. Valid values are: "},
		{w, "PUT", "_/actions/new", map[string]any{"exec": map[string]any{"kind": "python:default", "code": echoes}, "parameters": []any{map[string]any{"key": "k", "value": large}}}, 413, "parameters larger than allowed: 1048579 > 1048576 bytes."},
		{w, "PUT", "_/actions/new", map[string]any{"exec": map[string]any{"kind": "python:default", "code": echoes}, "annotations": []any{map[string]any{"key": "k", "value": large}}}, 413, "annotations larger than allowed: "},
		{w, "PUT", "_/actions/new", map[string]any{"exec": map[string]any{"kind": "python:default", "code": echoes}, "limits": map[string]any{"memory": 1 << 30}}, 400, "The request content was malformed:\nrequirement failed: memory size 1073741824 MB exceeds allowed threshold of "},
		{w, "PUT", "_/actions/new", map[string]any{"exec": map[string]any{"kind": "python:default", "code": echoes}, "limits": map[string]any{"logs": 101}}, 400, "The request content was malformed:\nrequirement failed: log size 101 MB exceeds allowed threshold of 100 MB"},
		{w, "PUT", "_/actions/new", map[string]any{"exec": map[string]any{"kind": "python:default", "code": echoes}, "limits": map[string]any{"concurrency": 1001}}, 400, "The request content was malformed:\nrequirement failed: concurrency 1001 exceeds allowed threshold of 1000"},
		{w, "PUT", "_/actions/box/a$b", code("python:default", echoes), 400, "The name of the entity contains illegal characters."},
		{w, "PUT", "_/actions/bell", code("python:default", echoes), 409, "Resource by this name exists but is not in this collection."},
		{w, "GET", "_/actions/bell", nil, 409, "Resource by this name exists but is not in this collection."},
		{w, "POST", "_/actions/box", "{}", 409, "Resource by this name exists but is not in this collection."},
		{w, "DELETE", "_/actions/ring", nil, 409, "Resource by this name exists but is not in this collection."},
		{w, "PUT", "_/packages/echo", "{}", 409, "Resource by this name exists but is not in this collection."},
		{w, "PUT", "_/packages/box?overwrite=true", map[string]any{"binding": map[string]any{"namespace": "_", "name": "other"}}, 409, "Resource is a package and cannot be converted into a binding."},
		{w, "PUT", "_/packages/bound", map[string]any{"binding": map[string]any{"namespace": "_", "name": "echo"}}, 409, "Cannot bind to a resource that is not a package."},
		{w, "POST", "_/actions/echo", "[7]", 400, "The request content was malformed:\nJSON object expected"},
		{w, "POST", "_/actions/echo", `[{"k":1}`, 400, "The request content was malformed:\nJSON object expected"},
		{w, "POST", "_/actions/echo", `"text"`, 400, "The request content was malformed:\nJSON object expected"},
		{w, "POST", "_/actions/echo", `{"k":"` + large + `"}`, 413, "Request larger than allowed: 1048577 > 1048576 bytes."},
		{w, "POST", "_/actions/echo?blocking=true&timeout=60001", "{}", 400, "The query parameter 'timeout' was malformed:\nTimeout must be number of milliseconds up to 60000."},
		{w, "POST", "_/triggers/bell", `{"k":"` + large + `"}`, 413, "Request larger than allowed: 1048577 > 1048576 bytes."},
		{w, "POST", "_/triggers/bell", "[1]", 400, "The request content was malformed:\nJSON object expected"},
		{w, "PUT", "_/actions/new", "[]", 400, "The request content was malformed:\nJSON object expected"},
		{w, "POST", "_/triggers/none", "{}", 404, "The requested resource does not exist."},
		{w, "PUT", "_/rules/new", map[string]any{"trigger": "/_/bell"}, 400, "rule requires a valid trigger and a valid action"},
		{w, "PUT", "_/rules/new", map[string]any{"trigger": "/_/none", "action": "/_/echo"}, 400, "trigger /default/none does not exist"},
		{w, "POST", "_/rules/ring", map[string]any{"status": "sleepy"}, 400, "The request content was malformed:\n'sleepy' is not a recognized rule state"},
		{w, "GET", "_/actions?limit=x", nil, 400, "The query parameter 'limit' was malformed:\nThe value 'x' is not an integer for actions."},
		{w, "GET", "_/actions?skip=-1", nil, 400, "The query parameter 'skip' was malformed:\nThe value '-1' is not greater than or equal to 0 for actions."},
		{w, "GET", "_/activations?docs=true&count=true", nil, 400, "The parameter 'docs' is not permitted with 'count'."},
		{w, "GET", "_/activations?name=a/b/c", nil, 400, "The query parameter 'name' was malformed:\nParameter may be a 'simple' name or 'package-name/simple' name: a/b/c"},
		{w, "GET", "_/activations?since=yesterday", nil, 400, "The query parameter 'since' was malformed:\nParameter is not a valid value for epoch seconds: yesterday"},
		{w, "GET", "_/activations/" + strings.Repeat("x", 32), nil, 400, "The activation id is not valid."},
	} {
		r := c.who.ask(c.method, c.path, c.body, "X-Request-Id", "my-own")
		if text := r.text(t, "error"); r.status != c.status || text != c.text && (!strings.HasPrefix(text, c.text) || strings.HasSuffix(c.text, ".")) {
			t.Errorf("%s %s: %d %q, not %d %q", c.method, c.path, r.status, text, c.status, c.text)
		}
		if r.text(t, "code") != "my-own" || r.header.Get("X-Request-Id") != "my-own" || r.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: %s %v", c.method, c.path, r.body, r.header)
		}
		if c.status == 401 && r.header.Get("WWW-Authenticate") != `Basic realm="OpenWhisk secure realm"` {
			t.Errorf("%v", r.header)
		}
	}
	if r := w.ask("OPTIONS", "_/actions/echo", nil); r.status != 200 || r.header.Get("Access-Control-Allow-Methods") == "" {
		t.Errorf("%d %v", r.status, r.header)
	}
}

func TestOpenWhiskServerInformation(t *testing.T) {
	s := start(t, "")
	nobody := &whisk{s, ""}
	r, body := s.get("/")
	var info struct {
		Paths    []string `json:"api_paths"`
		Runtimes map[string][]struct {
			Kind    string
			Default bool
		}
		Limits map[string]any
	}
	if err := json.Unmarshal([]byte(body), &info); err != nil || r.StatusCode != 200 || len(info.Paths) != 1 || info.Paths[0] != "/api/v1" || len(info.Limits) < 10 {
		t.Fatalf("%d %s %v", r.StatusCode, body, err)
	}
	defaults := map[string]int{}
	for family, kinds := range info.Runtimes {
		for _, k := range kinds {
			if k.Default {
				defaults[family]++
			}
		}
	}
	if defaults["python"] != 1 || defaults["nodejs"] != 1 || defaults["go"] != 1 {
		t.Errorf("%+v", info.Runtimes)
	}
	if r := nobody.ask("GET", "", nil); r.text(t, "api_version_path") != "v1" || r.text(t, "api_version") != "1.0.0" {
		t.Errorf("%s", r.body)
	}
	for path, want := range map[string]string{"/ping": "pong", "/invokers": `{"invoker0/0":"up"}`, "/invokers/healthy/count": "1", "/invokers/ready": `{"healthy":"1/1"}`} {
		if r, body := s.get(path); r.StatusCode != 200 || body != want {
			t.Errorf("%s: %d %s", path, r.StatusCode, body)
		}
	}
	for _, path := range []string{"/invokers/7", "/docs", "/activation", "/activation/count", "/disable"} {
		if r, _ := s.get(path); r.StatusCode != 404 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
	w := s.whisk("default")
	if r := w.ask("GET", "namespaces", nil); string(r.body) != `["default"]` {
		t.Errorf("%s", r.body)
	}
	first := w.ask("GET", "_/limits", nil)
	for range 8 {
		if r := w.ask("GET", "_/limits", nil); string(r.body) != string(first.body) {
			t.Errorf("%s is not %s", r.body, first.body)
		}
	}
	if r := w.ask("GET", "_/limits", nil); r.get(t, "maxActionTimeout") == nil || r.get(t, "concurrentInvocations") == nil {
		t.Errorf("%s", r.body)
	}
}

// How actions end, in numbers and words.
func TestOpenWhiskEndings(t *testing.T) {
	s := start(t, "")
	w := s.whisk("default")
	w.python("f", `
import time
def main(args):
    how = args.get('how')
    if how == 'eat':
        x = []
        while True: x.append(bytearray(1 << 20))
    if how == 'huge': return {'x': 'y' * (1 << 20)}
    if how == 'talk':
        for n in range(1100): print('z' * 1000)
    if how == 'slow': time.sleep(1)
    return {'fine': True}
`, map[string]any{"limits": map[string]any{"memory": 64, "logs": 1, "timeout": 10000}})
	ask := func(how string) reply {
		return w.ask("POST", "_/actions/f?blocking=true", map[string]string{"how": how})
	}
	record := func(id string) reply {
		var r reply
		eventually(t, "the record is there", func() bool {
			r = w.ask("GET", "_/activations/"+id, nil)
			return r.status == 200
		})
		return r
	}
	r := ask("eat")
	if r.status != 502 || r.text(t, "response.result.error") != "The action exhausted its memory and was aborted." || record(r.text(t, "activationId")).get(t, "response.statusCode") != 2.0 {
		t.Errorf("%d %s", r.status, r.body)
	}
	r = ask("huge")
	if e := r.text(t, "response.result.error"); r.status != 502 || !strings.HasPrefix(e, "The action produced a response that exceeded the allowed length: 1048584 > 1048576 bytes. The truncated response was: {\"x\"") ||
		r.text(t, "response.status") != "application error" {
		t.Errorf("%d %.300s", r.status, r.text(t, "response.result.error"))
	}
	r = ask("talk")
	logs, _ := record(r.text(t, "activationId")).get(t, "logs").([]any)
	if last, _ := logs[len(logs)-1].(string); len(logs) < 1000 || !strings.HasSuffix(last, " stderr: Logs were truncated because the total bytes size exceeds the limit of 1048576 bytes.") {
		t.Errorf("%d lines, the last is %q", len(logs), last)
	}
	r = w.ask("POST", "_/actions/f?blocking=true&timeout=100", map[string]string{"how": "slow"})
	if id := r.text(t, "activationId"); r.status != 202 || r.header.Get("X-Openwhisk-Activation-Id") != id {
		t.Errorf("%d %s", r.status, r.body)
	} else {
		if early := w.ask("GET", "_/activations/"+id, nil); early.status != 404 {
			t.Errorf("before its end: %d", early.status)
		}
		if a, err := s.Activation(t.Context(), id, 0); err != nil || a.Status != rouse.StatusPending && a.Status != rouse.StatusAnswered {
			t.Errorf("natively: %+v %v", a, err)
		}
		if late := record(id); late.get(t, "response.success") != true {
			t.Errorf("%s", late.body)
		}
	}
	if r := w.ask("POST", "_/actions/f?blocking=true&result=true", "{}"); r.status != 200 || string(r.body) != `{"fine":true}` && string(r.body) != `{"fine": true}` {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// A list comes to the next in a sequence as it is, and parameters do not go with it.
func TestOpenWhiskLists(t *testing.T) {
	w := start(t, "").whisk("default")
	w.python("make", "def main(args): return [args['n'], {'x': 1}]\n", nil)
	w.python("take", "def main(args): return {'got': args}\n", map[string]any{"parameters": []any{map[string]any{"key": "k", "value": 1}}})
	w.must("PUT", "actions/both", map[string]any{"exec": map[string]any{"kind": "sequence", "components": []string{"/_/make", "/_/take"}}})
	for path, want := range map[string]string{"both": `{"got": [5, {"x": 1}]}`, "make": `[5, {"x": 1}]`, "take": `{"got": {"k": 1, "n": 5}}`} {
		if r := w.ask("POST", "_/actions/"+path+"?blocking=true&result=true", `{"n":5}`); r.status != 200 || strings.ReplaceAll(string(r.body), " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s: %d %s, want %s", path, r.status, r.body, want)
		}
	}
	if r := w.ask("POST", "_/actions/make?blocking=true", `{"n":5}`); r.get(t, "response.success") != true {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// Quotas are kept, and said in OpenWhisk's words.
func TestOpenWhiskThrottles(t *testing.T) {
	s := start(t, "")
	w := s.whisk("guest")
	w.python("echo", echoes, nil)
	w.ask("PUT", "_/triggers/bell", "{}")
	if _, err := s.SetSubject(t.Context(), "guest", wire.SubjectOptions{Quota: rouse.Quota{Invocations: 3, Fires: 2}}); err != nil {
		t.Fatal(err)
	}
	// A minute may end in between: then it takes a few more.
	refused := func(path, text string) {
		t.Helper()
		for range 8 {
			if r := w.ask("POST", path, "{}"); r.status == 429 {
				if r.text(t, "error") != text || r.header.Get("Retry-After") == "" {
					t.Errorf("%s %v", r.body, r.header)
				}
				return
			}
		}
		t.Errorf("%s is never refused", path)
	}
	refused("_/actions/echo", "Too many requests in the last minute (count: 4, allowed: 3).")
	refused("_/triggers/bell", "Too many requests in the last minute (count: 3, allowed: 2).")
	if r := w.ask("GET", "_/limits", nil); r.get(t, "invocationsPerMinute") != 3.0 || r.get(t, "firesPerMinute") != 2.0 {
		t.Errorf("%s", r.body)
	}
	if _, err := s.SetSubject(t.Context(), "guest", wire.SubjectOptions{Blocked: true}); err != nil {
		t.Fatal(err)
	}
	if r := w.ask("GET", "_/actions", nil); r.status != 401 {
		t.Errorf("blocked: %d", r.status)
	}
	subject, err := s.SetSubject(t.Context(), "guest", wire.SubjectOptions{Rotate: true})
	if err != nil {
		t.Fatal(err)
	}
	if r := w.ask("GET", "_/actions", nil); r.status != 401 {
		t.Errorf("the old key: %d", r.status)
	}
	w.auth = subject.Key.ID + ":" + subject.Key.Secret
	if r := w.ask("GET", "_/actions", nil); r.status != 200 {
		t.Errorf("the new key: %d", r.status)
	}
}

// One function, every door.
func TestOpenWhiskAndNativeMixed(t *testing.T) {
	s := start(t, "")
	w := s.whisk("default")
	s.python("plain", "def main(event, context):\n    print('plain', event)\n    return {'n': event.get('n', 0) + 1}\n", wire.Options{})
	w.python("whisked", "def main(args):\n    print('whisked', sorted(args))\n    return {'n': args.get('n', 0) + 10}\n", map[string]any{"parameters": []any{map[string]any{"key": "given", "value": 1}}})
	t.Run("a native function is an action", func(t *testing.T) {
		if r := w.ask("POST", "_/actions/plain?blocking=true", `{"n":1}`); r.status != 200 || r.get(t, "response.result.n") != 2.0 {
			t.Errorf("%d %s", r.status, r.body)
		}
		if r := w.ask("GET", "_/actions/plain?code=false", nil); r.status != 200 || !strings.HasPrefix(r.text(t, "exec.kind"), "python:") {
			t.Errorf("%s", r.body)
		}
		if r := w.ask("PUT", "_/actions/both", map[string]any{"exec": map[string]any{"kind": "sequence", "components": []string{"/_/plain", "/_/whisked"}}}); r.status != 200 {
			t.Fatalf("%s", r.body)
		}
		if r := w.ask("POST", "_/actions/both?blocking=true&result=true", `{"n":1}`); r.get(t, "n") != 12.0 {
			t.Errorf("%s", r.body)
		}
	})
	t.Run("a native function that is updated stays what it is", func(t *testing.T) {
		before := s.python("kept", "import os\ndef main(event, context):\n    if event.get('n') == 0: raise ValueError('none')\n    return {'n': event['n'], 'env': os.environ['MINE']}\n",
			wire.Options{Env: map[string]string{"MINE": "yes"}, Retry: rouse.Retry{Attempts: 2}})
		for range 2 {
			if r := w.ask("PUT", "_/actions/kept?overwrite=true", `{"annotations":[{"key":"note","value":1}],"limits":{"timeout":5000}}`); r.status != 200 {
				t.Fatalf("%d %s", r.status, r.body)
			}
		}
		if r := w.ask("POST", "_/actions/kept?blocking=true&result=true", `{"n":1}`); r.status != 200 || r.get(t, "n") != 1.0 || r.get(t, "env") != "yes" {
			t.Errorf("%d %s", r.status, r.body)
		}
		if r := w.ask("POST", "_/actions/kept?blocking=true", `{"n":0}`); r.text(t, "response.status") != "application error" {
			t.Errorf("%d %s", r.status, r.body)
		}
		after, err := s.Function(t.Context(), "kept", "")
		if err != nil || after.Egress || after.Contract != before.Contract || after.Handler != before.Handler || after.Env["MINE"] != "yes" || after.Retry != before.Retry ||
			after.Limits.Processes != before.Limits.Processes || time.Duration(after.Limits.Timeout) != 5*time.Second {
			t.Errorf("%+v %v", after, err)
		}
	})
	t.Run("an action is a native function", func(t *testing.T) {
		if a := s.call("whisked", map[string]int{"n": 5}); string(a.Result) != `{"n":15}` {
			t.Errorf("%s %+v", a.Result, a.Failure)
		}
		if a := s.call("both", map[string]int{"n": 5}); string(a.Result) != `{"n":16}` {
			t.Errorf("a sequence: %s %+v", a.Result, a.Failure)
		}
		var lines []string
		err := s.Logs(t.Context(), "whisked", client.LogQuery{}, func(l rouse.Line) bool {
			lines = append(lines, l.Text)
			return true
		})
		if err != nil || len(lines) == 0 || !strings.Contains(lines[0], "'given', 'n'") {
			t.Errorf("%q %v", lines, err)
		}
	})
	native := func(name, kind, config string) {
		t.Helper()
		if err := s.Do(t.Context(), "PUT", []string{"triggers", name}, nil, json.RawMessage(fmt.Sprintf(`{"kind":%q,"config":%s}`, kind, config)), nil); err != nil {
			t.Fatal(err)
		}
	}
	count := func(name string) int {
		as, _, err := s.Activations(t.Context(), rouse.ActivationQuery{Namespace: "default", Function: name, Statuses: []rouse.Status{rouse.StatusAnswered}})
		if err != nil {
			t.Fatal(err)
		}
		return len(as)
	}
	t.Run("a native trigger in a rule of OpenWhisk's", func(t *testing.T) {
		native("tick", "schedule", `{"every":"100ms","times":1,"data":{"n":40}}`)
		before := count("whisked")
		if r := w.ask("PUT", "_/rules/ticks", map[string]any{"trigger": "/_/tick", "action": "/_/whisked"}); r.status != 200 {
			t.Fatalf("%s", r.body)
		}
		native("tick", "schedule", `{"every":"100ms","data":{"n":40}}`)
		eventually(t, "the action has run", func() bool { return count("whisked") > before })
		if r := w.ask("GET", "_/triggers/tick", nil); r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
		list := w.ask("GET", "_/activations?name=tick&limit=1&docs=true", nil)
		if !bytes.Contains(list.body, []byte(`\"rule\":\"default/ticks\"`)) {
			t.Errorf("%s", list.body)
		}
	})
	t.Run("an action behind native rules", func(t *testing.T) {
		for _, path := range [][]string{{"queues", "jobs"}, {"streams", "clicks"}} {
			if err := s.Do(t.Context(), "PUT", path, nil, json.RawMessage(`{}`), nil); err != nil {
				t.Fatal(err)
			}
		}
		for name, on := range map[string]string{"q": `{"queue":"jobs"}`, "s": `{"stream":"clicks"}`} {
			if err := s.Do(t.Context(), "PUT", []string{"rules", name}, nil, json.RawMessage(`{"on":`+on+`,"to":{"function":"both"}}`), nil); err != nil {
				t.Fatal(err)
			}
		}
		before := count("both")
		if err := s.Do(t.Context(), "POST", []string{"queues", "jobs", "messages"}, nil, json.RawMessage(`{"messages":[{"body":"{\"n\":1}"}]}`), nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Do(t.Context(), "POST", []string{"streams", "clicks", "records"}, nil, json.RawMessage(`{"records":[{"key":"a","data":{"n":1}}]}`), nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the sequence has run for both", func() bool { return count("both") >= before+2 })
	})
	t.Run("all is there after a restart", func(t *testing.T) {
		s.stop()
		again := start(t, s.data)
		w := again.whisk("default")
		for _, path := range []string{"_/actions/whisked", "_/actions/both", "_/rules/ticks", "_/triggers/tick"} {
			if r := w.ask("GET", path, nil); r.status != 200 {
				t.Errorf("%s: %d %s", path, r.status, r.body)
			}
		}
		if r := w.ask("POST", "_/actions/both?blocking=true&result=true", `{"n":1}`); r.get(t, "n") != 12.0 {
			t.Errorf("%s", r.body)
		}
	})
}

// What was accepted runs, whatever becomes of the server.
func TestOpenWhiskInvocationsOutliveAKill(t *testing.T) {
	s := start(t, "")
	w := s.whisk("default")
	w.python("slow", "import time\ndef main(args):\n    time.sleep(0.05)\n    return args\n", nil)
	var ids []string
	for n := range 40 {
		r := w.ask("POST", "_/actions/slow", map[string]int{"n": n})
		if r.status != 202 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		ids = append(ids, r.text(t, "activationId"))
	}
	s.kill()
	again := start(t, s.data)
	w = again.whisk("default")
	deadline := time.Now().Add(time.Minute)
	for n, id := range ids {
		for {
			r := w.ask("GET", "_/activations/"+id, nil)
			if r.status == 200 {
				if r.get(t, "response.result.n") != float64(n) {
					t.Errorf("%s", r.body)
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s never ran: %d %s", id, r.status, r.body)
			}
		}
	}
}

// A function asks this API, too, for what it was granted, and for no more.
func TestOpenWhiskFromInside(t *testing.T) {
	s := start(t, "")
	w := s.whisk("default")
	w.python("open", echoes, nil)
	w.python("shut", echoes, nil)
	w.ask("PUT", "_/triggers/bell", "{}")
	s.python("asks", `
import base64, json, os, urllib.request, urllib.error
def main(event):
    auth = 'Basic ' + base64.b64encode(('instance:' + event.get('token', os.environ['ROUSE_TOKEN'])).encode()).decode()
    request = urllib.request.Request(os.environ['ROUSE_API'] + '/api/v1/namespaces/' + event['path'], method=event['method'], data=event.get('body', '').encode() or None,
        headers={'Authorization': auth, 'Content-Type': 'application/json'})
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as e:
        return e.code
`, wire.Options{Allow: []string{"function:open rw"}})
	for _, c := range []struct {
		method, path, body string
		status             string
	}{
		{"POST", "_/actions/open?blocking=true", "{}", "200"},
		{"GET", "_/actions/open", "", "200"},
		{"POST", "_/actions/shut?blocking=true", "{}", "403"},
		{"GET", "_/actions/shut", "", "403"},
		{"PUT", "_/actions/open?overwrite=true", `{"annotations":[]}`, "403"},
		{"DELETE", "_/actions/open", "", "403"},
		{"GET", "_/actions", "", "403"},
		{"GET", "_/activations", "", "403"},
		{"GET", "_/packages", "", "403"},
		{"GET", "_/rules", "", "403"},
		{"GET", "_/triggers", "", "403"},
		{"POST", "_/triggers/bell", "{}", "403"},
		{"DELETE", "_/triggers/bell", "", "403"},
		{"POST", "guest/actions/open", "{}", "403"},
	} {
		event := map[string]string{"method": c.method, "path": c.path, "body": c.body}
		if a := s.call("asks", event); string(a.Result) != c.status {
			t.Errorf("%s %s: %s %+v, not %s", c.method, c.path, a.Result, a.Failure, c.status)
		}
		event["token"] = s.token[:len(s.token)-1] + "x"
		if a := s.call("asks", event); string(a.Result) != "401" {
			t.Errorf("%s %s with another token: %s", c.method, c.path, a.Result)
		}
	}
}
