package openwhisk

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// What actions return, and the answers that it makes.
func TestWhatWebActionsAnswer(t *testing.T) {
	const invalid = "Response is not valid 'message/http'."
	for _, c := range []struct {
		ext, result string
		status      int
		body        string // of an answer, or the text of a refusal
		headers     []string
	}{
		{".http", `{}`, 204, "", nil},
		{".http", `{"body":""}`, 204, "", nil},
		{".http", `{"body":"","statusCode":200.0}`, 200, "", nil},
		{".http", `{"body":"x","statusCode":"201"}`, 201, "x", []string{"Content-Type: text/html; charset=UTF-8"}},
		{".http", `{"body":"x","statusCode":2.5e2}`, 250, "x", nil},
		{".http", `{"body":"x","statusCode":200.5}`, 400, invalid, nil},
		{".http", `{"body":"x","statusCode":199}`, 400, invalid, nil},
		{".http", `{"body":"x","statusCode":600}`, 400, invalid, nil},
		{".http", `{"body":"x","statusCode":304,"headers":{"etag":"e"}}`, 304, "", []string{"Etag: e"}},
		{".http", `{"body":{"a":9007199254740993}}`, 200, "{\n  \"a\": 9007199254740993\n}", []string{"Content-Type: application/json"}},
		{".http", `{"headers":{"a":9007199254740993,"b":["1",2],"c":true,"d":null,"e":[]},"body":"x"}`, 200, "x", []string{"A: 9007199254740993", "B: 1", "B: 2", "C: true", "D: null"}},
		{".http", `{"headers":{"Content-Length":"7","Connection":"close","x":"y"},"body":"x"}`, 200, "x", []string{"Content-Length: 1", "X: y"}},
		{".http", `{"headers":{"x":"y\r\nz: w"},"body":"x"}`, 400, invalid, nil},
		{".http", `{"headers":{"x y":"z"},"body":"x"}`, 400, invalid, nil},
		{".http", `{"headers":{"set-cookie":"c","content-type":"text/plain"},"body":{}}`, 400, "Response type in header did not match generated content type.", nil},
		{".http", `{"headers":{"content-encoding":"gzip","content-type":"image/png"},"body":"!"}`, 400, "Response type in header did not match generated content type.", nil},
		{".http", `{"headers":{"content-type":"x/y/z"},"body":"!"}`, 400, "Response did not specify a known content-type.", nil},
		{".http", `[]`, 400, invalid, nil},
		{".http", ``, 400, invalid, nil},
		{".json", ` `, 400, "Response is not valid 'application/json'.", nil},
		{".json", `[1]`, 200, "[1]", []string{"Content-Type: application/json"}},
		{".text", `{"text":1}`, 200, "1", nil},
		{".html", `{"text":1}`, 404, "Response does not include requested property.", nil},
	} {
		out := httptest.NewRecorder()
		w := &webCall{call: &call{w: out, r: httptest.NewRequest(http.MethodGet, "/", nil)}, ext: c.ext}
		status, body := 0, ""
		if err := w.reply(finished(codeSuccess, []byte(c.result))); err != nil {
			r := refusalOf(err)
			status, body = r.status, r.text
			if len(out.Header()) != 0 {
				t.Errorf("%s %s: %v stay", c.ext, c.result, out.Header())
			}
		} else {
			status, body = out.Code, out.Body.String()
		}
		var headers []string
		for name, values := range out.Header() {
			for _, v := range values {
				headers = append(headers, name+": "+v)
			}
		}
		missing := slices.DeleteFunc(slices.Clone(c.headers), func(h string) bool { return slices.Contains(headers, h) })
		if status != c.status || body != c.body || len(missing) > 0 {
			t.Errorf("%s %s: %d %q %s, want %d %q %s", c.ext, c.result, status, body, strings.Join(slices.Sorted(maps.Keys(out.Header())), ","), c.status, c.body, c.headers)
		}
	}
}
