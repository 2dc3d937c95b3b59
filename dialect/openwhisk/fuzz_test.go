package openwhisk

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

// Whatever an action returns, what goes out is HTTP.
func FuzzWebAnswer(f *testing.F) {
	for _, result := range []string{
		`{}`, `null`, ``, ` `, `[]`, `"x"`, `1e999`, `{"body":"x"}`, `{"body":"","statusCode":200.0}`, `{"statusCode":"201","body":{"a":12345678901234567890}}`,
		`{"statusCode":204,"body":"x","headers":{"content-type":"text/plain"}}`, `{"statusCode":1e400}`, `{"statusCode":100}`,
		`{"headers":{"a":"b\r\nset-cookie: x","b":["1","2"],"c":null,"d":12345678901234567890},"body":1}`, `{"headers":{"a b":"c"}}`, `{"headers":{"":"c"}}`,
		`{"headers":{"Content-Type":"image/png"},"body":"iVBORw0KGgo="}`, `{"headers":{"content-type":"image/png","Content-Type":"text/x"},"body":"!"}`,
		`{"headers":[],"body":1}`, `{"headers":{"content-type":"a/b/c"},"body":"x"}`, `{"html":"<b>","text":{"a":[1]},"svg":"<svg/>","error":{"statusCode":404,"body":"no"}}`,
		`{"headers":{"Content-Length":"5","transfer-encoding":"chunked"},"body":"x"}`,
	} {
		for ext := range exts {
			f.Add(ext, "", true, []byte(result))
		}
		f.Add(0, "/error", false, []byte(result))
		f.Add(1, "/text//a/", true, []byte(result))
	}
	f.Fuzz(func(t *testing.T, ext int, rest string, ok bool, result []byte) {
		code := codeSuccess
		if !ok {
			code = codeApplication
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		out := httptest.NewRecorder()
		w := &webCall{call: &call{w: out, r: r}, ext: exts[uint(ext)%uint(len(exts))], rest: rest}
		if err := w.reply(finished(code, result)); err != nil {
			if status := refusalOf(err).status; status != http.StatusBadRequest && status != http.StatusNotFound {
				t.Fatalf("%d %v", status, err)
			}
			if len(out.Header()) != 0 {
				t.Fatalf("headers %v of an answer that was refused", out.Header())
			}
			return
		}
		if out.Code < 200 || out.Code > 599 {
			t.Fatalf("status %d", out.Code)
		}
		for name, values := range out.Header() {
			if name == "" || strings.ContainsFunc(name, notToken) || strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
				t.Fatalf("header %q: %q", name, values)
			}
		}
		if n := out.Header().Get("Content-Length"); n != "" && n != strconv.Itoa(out.Body.Len()) {
			t.Fatalf("%s bytes are said, %d sent", n, out.Body.Len())
		}
	})
}

// Each name has a function of its own, whose name says which it is.
func FuzzNames(f *testing.F) {
	for _, s := range []string{
		"a", "a b", "a@b", "a&b", "_x", "/_/a", "/guest/a b/c@d", "guest/pk/x", "/", "//", "/_", "_/", "a/", "/a/b/c/d", "..", "/_/..", "a/../b", "a%2Fb", "é", "a\x00",
		"a~20b", "~", "trigger:a", "a:b", "whisk.system:utils/echo", "A.B-c", "a ", " a", strings.Repeat("x", 256), strings.Repeat("é", 128), strings.Repeat("x", 257),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := decode(encode(s)); got != s {
			t.Fatalf("%q becomes %q", s, got)
		}
		if s != "" && len(s) <= 200 && rouse.CheckFunction(encode(s)) != nil {
			t.Fatalf("%q is spelled %q, which is no name", s, encode(s))
		}
		p, err := parseQualified("own", s)
		if err != nil {
			if status := refusalOf(err).status; status != http.StatusBadRequest {
				t.Fatalf("%d %v", status, err)
			}
			return
		}
		if got := pathOf(p.ref()); got != p {
			t.Fatalf("%q is %+v, its function that of %+v", s, p, got)
		}
		if again, err := parseQualified("other", "/"+p.String()); err != nil || again != p {
			t.Fatalf("%q is %+v, and then %+v: %v", s, p, again, err)
		}
		if copied := pathOf(rouse.Ref{Namespace: "other", Name: string(p.ns) + ":" + p.ref().Name}); copied != p && p.ns != prefixTrigger {
			t.Fatalf("%+v is copied as %+v", p, copied)
		}
		if isTrigger(p.ref()) {
			t.Fatalf("%+v is taken for a trigger", p)
		}
	})
}

// An archive of anything is no panic.
func FuzzGoSource(f *testing.F) {
	for _, files := range []map[string][]byte{{"main.go": []byte("package main")}, {"src/main.go": nil, "../x": nil}, {"exec": nil}, {}, {"a/b.go": []byte("x")}} {
		archive, err := archiveOfAll(files)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive)
		f.Add(archive[:len(archive)/2])
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
		if err != nil {
			return
		}
		below, ok := goSource(z)
		if !ok {
			return
		}
		files, err := unpacked(z, below)
		if err != nil {
			if status := refusalOf(err).status; status >= 500 {
				t.Fatalf("%d %v", status, err)
			}
			return
		}
		again, err := archiveOfAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if z, err = zip.NewReader(bytes.NewReader(again), int64(len(again))); err != nil || len(z.File) != len(files) {
			t.Fatalf("%d files, %v", len(files), err)
		}
	})
}

// What a conductor returns is read, whatever it is, and what becomes of it is JSON.
func FuzzConductor(f *testing.F) {
	for _, s := range []string{
		`{}`, ``, `null`, `[]`, `{"action":"a","params":{"x":1},"state":{"y":2}}`, `{"action":null,"params":[1]}`, `{"action":{},"params":3}`,
		`{"params":null,"state":"s"}`, `{"action":"a","action":"b"}`, `{"params":{"n":12345678901234567890}}`, `{"ACTION":"a"}`, `{"params":{"a":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, result []byte) {
		s, object := stepOf(result)
		if object == nil && (s.action != nil || s.params != nil || s.state != nil) {
			t.Fatalf("%s of what is no object", s)
		}
		for _, v := range []json.RawMessage{s.params, s.state, s.action} {
			b, err := json.Marshal(boxed(v, "value"))
			if err != nil || b[0] != '{' {
				t.Fatalf("%s: %s %v", v, b, err)
			}
		}
	})
}

// Whatever a rule brings, actions get an object, or the rule is told what is wrong.
func FuzzPayload(f *testing.F) {
	for _, s := range []string{
		`{"type":"trigger.fired","data":{"a":12345678901234567890}}`, `[{"type":"stream.record","id":"default/s/0/7","data_base64":"AAE="}]`, `[]`, `{}`, ``, `null`, `[null]`,
		`{"type":"schedule.fired","data":{"data":{"n":1}}}`, `{"type":"schedule.fired","data":{"data":[1]}}`, `{"type":"github.push","id":"x","data":{"ref":"r"},"signature":"s"}`,
		`{"type":"github.","data":"text"}`, `{"type":"x","data":[1,2]}`, `{"type":"stream.record","id":"/","data":"\"x"}`, `{"data":true}`,
	} {
		f.Add([]byte(s), "fed")
		f.Add([]byte(s), "t")
		f.Add([]byte(s), "alarm")
	}
	p := newPlatform(f)
	f.Cleanup(p.stop)
	for _, name := range []string{"fed", "t", "alarm"} {
		p.must(rouse.DefaultNamespace, "PUT", "_/triggers/"+name, fields{"parameters": []fields{{"key": "p", "value": 1}}})
	}
	for name, of := range map[string]feed{"fed": {Stream: &fedStream{Name: "s", JSON: true}}, "alarm": {Alarm: &alarm{Kind: alarmCron}}} {
		if err := p.feeds.put(f.Context(), rouse.DefaultNamespace, name, of, 0); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, brought []byte, trigger string) {
		os, err := occurrencesOf(brought)
		if err != nil {
			if rouse.KindOf(err) != rouse.Invalid {
				t.Fatal(err)
			}
			return
		}
		payload, err := p.payload(t.Context(), rouse.DefaultNamespace, trigger, os)
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(payload, &object) != nil || object == nil {
			t.Fatalf("%s", payload)
		}
	})
}

// A description that is taken can be shown, led by, and taken back.
func FuzzSwaggerImport(f *testing.F) {
	const to = `"x-openwhisk":{"action":"w","namespace":"_","package":"default","url":"http://h/w.json"}`
	for _, s := range []string{
		`{"basePath":"/a","info":{"title":"t","version":"1"},"paths":{"/x/{id}":{"get":{` + to + `}}}}`, `{"basePath":"/","info":{"title":"t"},"paths":{"/":{"post":{` + to + `},"parameters":[]}}}`,
		`{"basePath":"/a","BASEPATH":"/b","info":{"title":"t"},"paths":{"{":{"get":{` + to + `}},"":{"get":{` + to + `}}}}`,
		`{"basePath":"/a","info":{"title":"t"},"paths":{"/x":null}}`, `{"basePath":"/a","info":{"title":"t"},"paths":{"/x":{"get":null}}}`, `{"basePath":"/a","info":{"title":"/a"},"paths":{"/x":[]}}`,
		`{"paths":[]}`, `[]`, `null`, ``, `{"basePath":"/a/../b","info":{"title":"t"},"paths":{"/..":{"get":{"x-openwhisk":{"action":"../w","namespace":"a/b","package":"\u0000"}}}}}`,
	} {
		f.Add(s, "/a/x/7")
	}
	p := newPlatform(f)
	f.Cleanup(p.stop)
	p.probes("probe")
	web := sequence("/_/probe")
	web["annotations"] = []fields{{"key": "web-export", "value": true}}
	p.must(rouse.DefaultNamespace, "PUT", "_/actions/w", web)
	ask := func(t *testing.T, method, name, query string, body any) (int, string) {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(t.Context(), method, "/api/v1/web/whisk.system/apimgmt/"+name+".http?"+query, bytes.NewReader(b))
		key := p.keys[rouse.DefaultNamespace]
		r.SetBasicAuth(key.ID, key.Secret)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		status, said := ask(t, http.MethodPost, "createApi", "", fields{"apidoc": fields{"namespace": "_", "swagger": text}})
		if status == http.StatusInternalServerError {
			t.Fatal(said)
		}
		if status != http.StatusOK {
			return
		}
		if status, said := ask(t, http.MethodGet, "getApi", "", nil); status != http.StatusOK {
			t.Fatalf("%d %s", status, said)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.URL.Path = "/api/gw/default/" + path
		w := httptest.NewRecorder()
		p.open(p.gateway)(w, r)
		if w.Code == http.StatusInternalServerError {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		apis, err := p.apis.whole(t.Context(), rouse.DefaultNamespace)
		if err != nil || len(apis.all) == 0 {
			t.Fatalf("%v %v", apis, err)
		}
		for base := range apis.all {
			if status, said := ask(t, http.MethodDelete, "deleteApi", "basepath="+url.QueryEscape(base), nil); status != http.StatusNoContent {
				t.Fatalf("%q: %d %s", base, status, said)
			}
		}
	})
}

// Whatever is asked of web actions, by whomever, is answered.
func FuzzWebRequest(f *testing.F) {
	for _, path := range []string{"default/default/w", "default/default/w.json/a//b", "_/default/w", "default/pk/w.http", "default", "///", "default/default/..", "a/b/c/d", "default/default/.http", "guest/trigger:x/y", "default/~/w.html"} {
		f.Add("GET", path, "a=1&a=2&%zz", "", "")
		f.Add("POST", path, "", "application/json", `{"a":12345678901234567890,"a":1}`)
	}
	f.Add("POST", "default/default/w", "__ow_user=x", "application/x-www-form-urlencoded", "a=%")
	f.Add("PUT", "default/default/w", "x;y", "application/json; charset", `{"__ow_body":1}`)
	f.Add("HEAD", "default/default/w", "", "a/b", "\xff\xfe")
	f.Add("TRACE", "default/default/w", "", "application/json", strings.Repeat("[", 20000))
	p := newPlatform(f)
	f.Cleanup(p.stop)
	p.probes("probe")
	web := sequence("/_/probe")
	web["annotations"] = []fields{{"key": "web-export", "value": true}}
	p.must(rouse.DefaultNamespace, "PUT", "_/actions/w", web)
	f.Fuzz(func(t *testing.T, method, path, query, contentType, body string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		r.Method, r.URL.Path, r.URL.RawQuery = method, "/api/v1/web/"+path, query
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		p.open(p.web)(w, r)
		if w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for name, ran := range p.probe.ran {
			for _, given := range ran {
				if strings.Contains(given, `"__ow_user"`) {
					t.Fatalf("%s was told %s", name, given)
				}
			}
			delete(p.probe.ran, name)
		}
	})
}
