package test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// visit asks for a path below the server as anybody may.
func (w *whisk) visit(method, path, body string, headers ...string) reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.addr+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // which follows no redirects
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

// annotations of an action, as clients send them.
func annotations(pairs map[string]any) map[string]any {
	var list []any
	for k, v := range pairs {
		list = append(list, map[string]any{"key": k, "value": v})
	}
	return map[string]any{"annotations": list}
}

const webRoot = "/api/v1/web/default/default/"

func TestOpenWhiskWebActions(t *testing.T) {
	s := start(t, "")
	w := s.whisk("default")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(w.auth))
	open := map[string]any{"web-export": true}
	w.python("args", "def main(args):\n    return {'body': args}\n", annotations(open))
	// It answers what it is told to.
	says := func(answer, ext, more string) reply {
		return w.visit("GET", webRoot+"says"+ext+more+"?what="+strings.ReplaceAll(base64.URLEncoding.EncodeToString([]byte(answer)), "=", "%3D"), "")
	}
	w.python("says", "import json, base64\ndef main(args):\n    return json.loads(base64.urlsafe_b64decode(args['what']))\n", annotations(open))

	t.Run("arguments", func(t *testing.T) {
		r := w.visit("POST", webRoot+"args/some/where?a=1&b=2&a=3", `{"b":{"c":4}}`, "Content-Type", "application/json", "X-Mine", "yes", "Authorization", basic, "Cookie", "c=1")
		var got map[string]any
		if err := json.Unmarshal(r.body, &got); err != nil || r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		headers, _ := got["__ow_headers"].(map[string]any)
		if got["a"] != "3" || got["__ow_method"] != "post" || got["__ow_path"] != "/some/where" || got["__ow_user"] != "default" || headers["x-mine"] != "yes" || headers["cookie"] != "c=1" {
			t.Errorf("%s", r.body)
		}
		if _, ok := headers["authorization"]; ok {
			t.Error("the key is handed to the action")
		}
		if b, _ := got["b"].(map[string]any); b["c"] != 4.0 {
			t.Errorf("the body is not over the query: %s", r.body)
		}
		for _, token := range []string{"Bearer " + w.token, "bearer " + w.token, "Bearer theirs", "Basic eDp5"} {
			if r := w.visit("GET", webRoot+"args", "", "Authorization", token, "X-Mine", "yes"); r.get(t, "__ow_headers.x-mine") != "yes" || r.get(t, "__ow_headers.authorization") != nil {
				t.Errorf("%s is handed to the action: %s", token[:6], r.body)
			}
		}
		r = w.visit("PUT", webRoot+"args", "x=1&y=a%20b", "Content-Type", "application/x-www-form-urlencoded")
		if r.get(t, "x") != "1" || r.get(t, "y") != "a b" || r.get(t, "__ow_method") != "put" {
			t.Errorf("%s", r.body)
		}
		if r = w.visit("POST", webRoot+"args", "plain text", "Content-Type", "text/plain"); r.get(t, "__ow_body") != "plain text" {
			t.Errorf("%s", r.body)
		}
		if r = w.visit("POST", webRoot+"args", "\x89PNG\xff", "Content-Type", "image/png"); r.get(t, "__ow_body") != base64.StdEncoding.EncodeToString([]byte("\x89PNG\xff")) {
			t.Errorf("%s", r.body)
		}
		if r = w.visit("POST", webRoot+"args?a=1", `{"b":2}`, "Content-Type", "application/vnd.api+json; charset=utf-8"); r.get(t, "a") != "1" || r.get(t, "b") != 2.0 || r.get(t, "__ow_body") != nil {
			t.Errorf("%s", r.body)
		}
		for _, body := range []string{`[1,"str str",false]`, `"this is a string"`, `true`, `99`, `null`} {
			var got map[string]json.RawMessage
			r := w.visit("POST", webRoot+"args.json", body, "Content-Type", "application/json")
			var all struct{ Body json.RawMessage }
			if json.Unmarshal(r.body, &all) != nil || json.Unmarshal(all.Body, &got) != nil || strings.ReplaceAll(string(got["__ow_body"]), " ", "") != strings.ReplaceAll(body, " ", "") {
				t.Errorf("%s: %s", body, r.body)
			}
		}
		for _, query := range []string{"__ow_method=x", "__ow_headers=x", "__ow_path=x", "__ow_user=x", "__ow_body=x", "__ow_query=x"} {
			if r := w.visit("GET", webRoot+"args?"+query, ""); r.status != 400 || r.text(t, "error") != "Request defines parameters that are not allowed (e.g., reserved properties)." {
				t.Errorf("%s: %d %s", query, r.status, r.body)
			}
		}
		if r := w.visit("POST", webRoot+"args", "{", "Content-Type", "application/json"); r.status != 400 {
			t.Errorf("%d %s", r.status, r.body)
		}
		if r := w.visit("POST", webRoot+"args", strings.Repeat("x", 1<<20+1), "Content-Type", "text/plain"); r.status != 413 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	t.Run("raw", func(t *testing.T) {
		w.python("raw", "def main(args):\n    return {'body': args}\n", annotations(map[string]any{"web-export": true, "raw-http": true}))
		r := w.visit("POST", webRoot+"raw?a=1&__ow_body=x", `{"b":2}`, "Content-Type", "application/json")
		if r.get(t, "__ow_query") != "a=1&__ow_body=x" || r.get(t, "__ow_body") != base64.StdEncoding.EncodeToString([]byte(`{"b":2}`)) || r.get(t, "a") != nil || r.get(t, "b") != nil {
			t.Errorf("%s", r.body)
		}
		for _, value := range []any{"true", 1, "", false, []int{1}} { // it is true, or it is not
			w.python("raw", "def main(args):\n    return {'body': args}\n", annotations(map[string]any{"web-export": true, "raw-http": value, "web-custom-options": value}))
			r := w.visit("POST", webRoot+"raw?a=1", `{"b":2}`, "Content-Type", "application/json")
			if r.get(t, "__ow_query") != nil || r.text(t, "a") != "1" || r.get(t, "b") != 2.0 {
				t.Errorf("%v: %s", value, r.body)
			}
			if r := w.visit("OPTIONS", webRoot+"raw", ""); r.status != 200 || r.header.Get("Access-Control-Allow-Origin") != "*" || len(r.body) != 0 {
				t.Errorf("%v: %d %v", value, r.status, r.header)
			}
		}
	})
	t.Run("answers", func(t *testing.T) {
		for _, c := range []struct {
			answer, ext, more string
			status            int
			contentType, body string
		}{
			{`{"body":"<p>"}`, "", "", 200, "text/html; charset=UTF-8", "<p>"},
			{`{"body":"<p>"}`, ".http", "", 200, "text/html; charset=UTF-8", "<p>"},
			{`{"body":{"a":1}}`, "", "", 200, "application/json", "{\n  \"a\": 1\n}"},
			{`{"body":[1]}`, "", "", 200, "application/json", "[\n  1\n]"},
			{`{"statusCode":201,"body":"x","headers":{"Content-Type":"text/plain"}}`, "", "", 201, "text/plain", "x"},
			{`{"statusCode":"202","body":"x"}`, "", "", 202, "text/html; charset=UTF-8", "x"},
			{`{"headers":{"location":"/there"},"statusCode":302}`, "", "", 302, "", ""},
			{`{}`, "", "", 204, "", ""},
			{`{"body":""}`, "", "", 204, "", ""},
			{`{"body":"iVBORw==","headers":{"content-type":"image/png"}}`, "", "", 200, "image/png", "\x89PNG"},
			{`{"error":{"statusCode":418,"body":"teapot"}}`, "", "", 418, "text/html; charset=UTF-8", "teapot"},
			{`{"a":{"b":[1]}}`, ".json", "", 200, "application/json", `{"a":{"b":[1]}}`},
			{`{"a":{"b":[1]}}`, ".json", "/a/b", 200, "application/json", `[1]`},
			{`{"a b":{"c/d":[1]}}`, ".json", "/a%20b/c%2Fd", 200, "application/json", `[1]`},
			{`{"html":"<b>"}`, ".html", "", 200, "text/html; charset=UTF-8", "<b>"},
			{`{"x":{"y":"<i>"}}`, ".html", "/x/y", 200, "text/html; charset=UTF-8", "<i>"},
			{`{"svg":"<svg/>"}`, ".svg", "", 200, "image/svg+xml", "<svg/>"},
			{`{"text":"hi"}`, ".text", "", 200, "text/plain; charset=UTF-8", "hi"},
			{`{"text":3}`, ".text", "", 200, "text/plain; charset=UTF-8", "3"},
			{`{"body":"<b>","html":"<i>"}`, ".html", "", 200, "text/html; charset=UTF-8", "<b>"},
			{`{"body":{"a":1}}`, ".text", "", 200, "text/plain; charset=UTF-8", "{\n  \"a\": 1\n}"},
			{`{"error":{"body":"<svg/>"}}`, ".svg", "", 200, "image/svg+xml", "<svg/>"},
			{`{"body":"eyJhIjoxfQ==","headers":{"content-type":"application/vnd.api+json"}}`, "", "", 200, "application/vnd.api+json", `{"a":1}`},
			{`{"body":"{\"a\":1}","headers":{"content-type":"application/json"}}`, "", "", 200, "application/json", `{"a":1}`},
			{`{"body":"true","headers":{"content-type":"application/json"}}`, "", "", 200, "application/json", `true`},
			{`{"body":"PHN2Zy8+","headers":{"content-type":"image/svg+xml"}}`, "", "", 200, "image/svg+xml", "<svg/>"},
			{`{"body":"<svg/>","headers":{"content-type":"image/svg+xml"}}`, "", "", 200, "image/svg+xml", "<svg/>"},
		} {
			r := says(c.answer, c.ext, c.more)
			if r.status != c.status || string(r.body) != c.body || r.header.Get("Content-Type") != c.contentType || r.header.Get("X-Openwhisk-Activation-Id") == "" {
				t.Errorf("%s%s of %s: %d %q %q", c.ext, c.more, c.answer, r.status, r.header.Get("Content-Type"), r.body)
			}
		}
		r := says(`{"headers":{"set-cookie":["a=1","b=2"],"x-n":3,"x-b":true},"body":"x"}`, "", "")
		if !slices.Equal(r.header.Values("Set-Cookie"), []string{"a=1", "b=2"}) || r.header.Get("X-N") != "3" || r.header.Get("X-B") != "true" {
			t.Errorf("%v", r.header)
		}
	})
	t.Run("answers that are none", func(t *testing.T) {
		for _, c := range []struct {
			answer, ext, more string
			status            int
			text              string
		}{
			{`{"a":1}`, ".html", "", 404, "Response does not include requested property."},
			{`{"a":1}`, ".json", "/b", 404, "Response does not include requested property."},
			{`{"html":1}`, ".html", "", 400, "Response is not valid 'text/html'."},
			{`{"a":1}`, ".json", "/a", 400, "Response is not valid 'application/json'."},
			{`{"error":"no"}`, "", "", 400, "Response is not valid 'message/http'."},
			{`{"headers":"x","body":"y"}`, "", "", 400, "Response is not valid 'message/http'."},
			{`{"statusCode":"many","body":"y"}`, "", "", 400, "Response is not valid 'message/http'."},
			{`{"statusCode":99,"body":"y"}`, "", "", 400, "Response is not valid 'message/http'."},
			{`{"headers":{"x\r\ny":"1"},"body":"y"}`, "", "", 400, "Response is not valid 'message/http'."},
			{`{"headers":{"content-type":"image/png"},"body":"*"}`, "", "", 400, "Response type in header did not match generated content type."},
			{`{"headers":{"content-type":"xyzbar"},"body":"x"}`, "", "", 400, "Response did not specify a known content-type."},
			{`{"headers":{"content-type":"text/plain"},"body":{"a":1}}`, "", "", 400, "Response type in header did not match generated content type."},
			{`{"headers":{"content-type":"???"},"body":"x"}`, "", "", 400, "Response did not specify a known content-type."},
			{`7`, "", "", 400, "There was an error processing your request."},
		} {
			if r := says(c.answer, c.ext, c.more); r.status != c.status || r.text(t, "error") != c.text || r.text(t, "code") == "" {
				t.Errorf("%s%s of %s: %d %s", c.ext, c.more, c.answer, r.status, r.body)
			}
		}
	})
	t.Run("methods", func(t *testing.T) {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH"} {
			if r := w.visit(method, webRoot+"args", ""); r.status != 200 || r.get(t, "__ow_method") != strings.ToLower(method) {
				t.Errorf("%s: %d %s", method, r.status, r.body)
			}
		}
		if r := w.visit("HEAD", webRoot+"args", ""); r.status != 200 || len(r.body) > 0 || r.header.Get("Content-Length") == "" {
			t.Errorf("%d %v", r.status, r.header)
		}
		r := w.visit("OPTIONS", webRoot+"args", "", "Access-Control-Request-Headers", "x-own")
		if r.status != 200 || r.header.Get("Access-Control-Allow-Headers") != "x-own" || r.header.Get("Access-Control-Allow-Methods") != "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH" {
			t.Errorf("%d %v", r.status, r.header)
		}
		w.python("options", "def main(args):\n    return {'headers': {'access-control-allow-origin': 'me', 'x-method': args['__ow_method']}, 'statusCode': 200}\n",
			annotations(map[string]any{"web-export": true, "web-custom-options": true}))
		r = w.visit("OPTIONS", webRoot+"options", "")
		if r.status != 200 || r.header.Get("Access-Control-Allow-Origin") != "me" || r.header.Get("X-Method") != "options" || r.header.Get("Access-Control-Allow-Methods") != "" {
			t.Errorf("%d %v", r.status, r.header)
		}
	})
	t.Run("who may", func(t *testing.T) {
		w.python("private", echoes, nil)
		for _, path := range []string{webRoot + "private", webRoot + "none", "/api/v1/web/nobody/default/args", "/api/v1/web/default/box/args", "/api/v1/web/default/default"} {
			if r := w.visit("GET", path, ""); r.status != 404 || r.text(t, "error") != "The requested resource does not exist." {
				t.Errorf("%s: %d %s", path, r.status, r.body)
			}
		}
		for value, shown := range map[any][]string{true: {"Authorization", basic}, "secret": {"X-Require-Whisk-Auth", "secret"}, 42: {"X-Require-Whisk-Auth", "42"}} {
			w.python("shut", "def main(args):\n    return {'body': 'in'}\n", annotations(map[string]any{"web-export": true, "require-whisk-auth": value}))
			if r := w.visit("GET", webRoot+"shut", ""); r.status != 401 {
				t.Errorf("%v: %d %s", value, r.status, r.body)
			}
			if r := w.visit("GET", webRoot+"shut", "", "X-Require-Whisk-Auth", "wrong", "Authorization", "Basic eDp5"); r.status != 401 {
				t.Errorf("%v, wrong: %d %s", value, r.status, r.body)
			}
			if r := w.visit("GET", webRoot+"shut", "", shown...); r.status != 200 || string(r.body) != "in" {
				t.Errorf("%v: %d %s", value, r.status, r.body)
			}
		}
	})
	t.Run("what browsers ask first", func(t *testing.T) {
		for _, want := range []any{true, "secret"} {
			w.python("shut", "def main(args):\n    return {'body': 'in'}\n", annotations(map[string]any{"web-export": true, "require-whisk-auth": want}))
			r := w.visit("OPTIONS", webRoot+"shut", "", "Origin", "https://elsewhere", "Access-Control-Request-Headers", "authorization")
			if r.status != 200 || r.header.Get("Access-Control-Allow-Headers") != "authorization" || len(r.body) > 0 {
				t.Errorf("%v: %d %v %s", want, r.status, r.header, r.body)
			}
		}
		w.python("custom", "def main(args):\n    return {'headers': {'x-method': args['__ow_method']}, 'statusCode': 200}\n",
			annotations(map[string]any{"web-export": true, "web-custom-options": true, "require-whisk-auth": "secret"}))
		if r := w.visit("OPTIONS", webRoot+"custom", ""); r.status != 200 || r.header.Get("X-Method") != "options" {
			t.Errorf("%d %s", r.status, r.body)
		}
		if r := w.visit("GET", webRoot+"custom", ""); r.status != 401 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	t.Run("exported is true alone", func(t *testing.T) {
		for _, value := range []any{"true", 1, map[string]any{}} {
			w.python("unsaid", echoes, annotations(map[string]any{"web-export": value}))
			if r := w.visit("GET", webRoot+"unsaid.json", ""); r.status != 404 {
				t.Errorf("%v: %d %s", value, r.status, r.body)
			}
		}
	})
	t.Run("in a package, with parameters that are final", func(t *testing.T) {
		w.ask("PUT", "_/packages/box", map[string]any{"parameters": []any{map[string]any{"key": "from", "value": "package"}}})
		body := annotations(map[string]any{"web-export": true, "final": true})
		body["parameters"] = []any{map[string]any{"key": "fixed", "value": 1}}
		w.python("box/in", "def main(args):\n    return {'body': args}\n", body)
		if r := w.visit("GET", "/api/v1/web/default/box/in?x=1", ""); r.get(t, "from") != "package" || r.get(t, "fixed") != 1.0 || r.get(t, "x") != "1" {
			t.Errorf("%s", r.body)
		}
		for _, query := range []string{"fixed=2", "from=2"} {
			if r := w.visit("GET", "/api/v1/web/default/box/in?"+query, ""); r.status != 400 {
				t.Errorf("%s: %d %s", query, r.status, r.body)
			}
		}
	})
}

// api makes a path of an API lead to an action, as "wsk api create" does, with
// what that action wants to be shown.
func (w *whisk) api(base, path, method, action string, secret any) reply {
	w.t.Helper()
	to := map[string]any{"name": action, "namespace": "_", "backendMethod": method, "backendUrl": "http://x/api/v1/web/_/default/" + action + ".http"}
	if secret != nil {
		to["secureKey"] = secret
	}
	return w.ask("POST", "web/whisk.system/apimgmt/createApi.http?accesstoken=DUMMY+TOKEN&responsetype=http&spaceguid=x", map[string]any{"apidoc": map[string]any{
		"namespace": "_", "apiName": "Club", "gatewayBasePath": base, "gatewayPath": path, "gatewayMethod": method, "id": "API:_:" + base, "action": to}})
}

// The gateway shows an action the secret that its API was made with, and no other.
func TestTheGatewayShowsSecrets(t *testing.T) {
	s := start(t, "")
	w := s.whisk("default")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(w.auth))
	secure := func(want any) {
		w.python("shut", "def main(args):\n    return {'body': 'in'}\n", annotations(map[string]any{"web-export": true, "require-whisk-auth": want}))
	}
	for _, c := range []struct {
		want, secret any
		shown        []string
		status       int
	}{
		{"one", nil, nil, 401},
		{"one", nil, []string{"X-Require-Whisk-Auth", "one"}, 200},
		{"one", "one", nil, 200},
		{"one", "other", nil, 401},
		{"one", "other", []string{"X-Require-Whisk-Auth", "one"}, 401},
		{6236405539608511, 6236405539608511, nil, 200},
		{42, 43, nil, 401},
		{true, true, nil, 401},
		{true, nil, []string{"Authorization", basic}, 200},
		{"new", "one", nil, 401},
	} {
		secure(c.want)
		r := w.api("/shut", "/in", "GET", "shut", c.secret)
		if r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		at := strings.TrimPrefix(r.text(t, "gwApiUrl"), "http://"+s.addr) + "/in"
		if r := w.visit("GET", at, "", c.shown...); r.status != c.status || r.status == 401 && r.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%v, made with %v, shown %v: %d %s", c.want, c.secret, c.shown, r.status, r.body)
		}
		if r := w.visit("OPTIONS", at, ""); r.status != 200 {
			t.Errorf("%v: browsers ask: %d %s", c.want, r.status, r.body)
		}
	}
}

func TestOpenWhiskGateway(t *testing.T) {
	s := start(t, "")
	w, guest := s.whisk("default"), s.whisk("guest")
	w.python("books", "def main(args):\n    return {'body': args}\n", annotations(map[string]any{"web-export": true}))
	w.python("hidden", echoes, nil)
	create := func(w *whisk, base, path, method, action string) reply { return w.api(base, path, method, action, nil) }
	r := create(w, "/club", "/books", "GET", "books")
	if r.status != 200 || r.get(t, "gwApiActivated") != true || !strings.HasSuffix(r.text(t, "gwApiUrl"), "/club") {
		t.Fatalf("%d %s", r.status, r.body)
	}
	gateway := strings.TrimPrefix(r.text(t, "gwApiUrl"), "http://"+s.addr)
	create(w, "/club", "/books/{id}/pages/{page}", "POST", "books")
	create(w, "/club", "/books/new/pages/{page}", "POST", "books")
	if r := w.visit("GET", gateway+"/books?q=1", ""); r.status != 200 || r.get(t, "q") != "1" || r.get(t, "__ow_path") != "" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.visit("POST", gateway+"/books/7/pages/9", `{"x":1}`, "Content-Type", "application/json"); r.status != 200 || r.get(t, "id") != "7" || r.get(t, "page") != "9" || r.get(t, "x") != 1.0 || r.get(t, "__ow_path") != "/books/7/pages/9" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.visit("POST", gateway+"/books/new/pages/9", ""); r.status != 200 || r.get(t, "id") != nil {
		t.Errorf("the plain path is before the template: %d %s", r.status, r.body)
	}
	if r := w.visit("POST", gateway+"/books/a%2Fb%20c/pages/%C3%A9", ""); r.status != 200 || r.get(t, "id") != "a/b c" || r.get(t, "page") != "é" || r.get(t, "__ow_path") != "/books/a%2Fb%20c/pages/%C3%A9" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.visit("GET", strings.Replace(gateway, "default/club", "%64efault/cl%75b", 1)+"/%62ooks", ""); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	for path, status := range map[string]int{"/nothing": 404, "/books/7": 404, "": 404, "/books//pages/9": 404, "/./books": 404} {
		if r := w.visit("GET", gateway+path, ""); r.status != status || r.text(t, "code") == "" {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if r := w.visit("DELETE", gateway+"/books", ""); r.status != 405 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.visit("OPTIONS", gateway+"/books", ""); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	for action, text := range map[string]string{"hidden": "is not a web action", "none": "does not exist"} {
		if r := create(w, "/club", "/x", "GET", action); r.status != 502 || !strings.Contains(r.text(t, "error"), text) {
			t.Errorf("%s: %d %s", action, r.status, r.body)
		}
	}
	apis := func(w *whisk, query string) []any {
		list, _ := w.ask("GET", "web/whisk.system/apimgmt/getApi.http?accesstoken=x&spaceguid=x"+query, nil).get(t, "apis").([]any)
		return list
	}
	if len(apis(w, "")) != 1 || len(apis(w, "&basepath=/club&relpath=/books&operation=get")) != 1 || len(apis(w, "&basepath=Club")) != 1 || len(apis(w, "&basepath=/other")) != 0 || len(apis(guest, "")) != 0 {
		t.Error("the list is another")
	}
	if r := (&whisk{s, ""}).ask("GET", "web/whisk.system/apimgmt/getApi.http?spaceguid=x", nil); r.status != 401 {
		t.Errorf("without a key: %d", r.status)
	}
	doc, _ := json.Marshal(apis(w, "")[0].(map[string]any)["value"].(map[string]any)["apidoc"])
	remove := func(w *whisk, query string) int {
		return w.ask("DELETE", "web/whisk.system/apimgmt/deleteApi.http?accesstoken=x&spaceguid=x"+query, nil).status
	}
	if got := remove(guest, "&basepath=/club"); got != 502 {
		t.Errorf("another's: %d", got)
	}
	if got := remove(w, "&basepath=/club&relpath=/books&operation=GET"); got != 204 {
		t.Errorf("one operation: %d", got)
	}
	if r := w.visit("GET", gateway+"/books", ""); r.status != 404 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if got := remove(w, "&basepath=/club"); got != 204 || len(apis(w, "")) != 0 {
		t.Errorf("all: %d", got)
	}
	if r := w.ask("POST", "web/whisk.system/apimgmt/createApi.http", map[string]any{"apidoc": map[string]any{"namespace": "_", "swagger": string(doc)}}); r.status != 200 {
		t.Fatalf("import: %d %s", r.status, r.body)
	}
	if r := w.visit("GET", gateway+"/books", ""); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	for _, bad := range []string{"{", `{"swagger":"2.0","info":{"title":"x"},"paths":{"/a":{}}}`, `{"basePath":"/b","info":{"title":"x"},"paths":{"/a":{"get":{}}}}`} {
		if r := w.ask("POST", "web/whisk.system/apimgmt/createApi.http", map[string]any{"apidoc": map[string]any{"swagger": bad}}); r.status != 502 || r.text(t, "error") == "" {
			t.Errorf("%s: %d %s", bad, r.status, r.body)
		}
	}
}
