package openwhisk

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// The description names what there is, and all of it.
func TestSwaggerIsWhatIsServed(t *testing.T) {
	d := New(Config{})
	var doc struct {
		BasePath string
		Paths    map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(swagger, &doc); err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	page := httptest.NewRecorder()
	d.ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/api/v1/docs", nil))
	if kind := page.Header().Get("Content-Type"); page.Code != 200 || kind != "text/html; charset=utf-8" {
		t.Errorf("the page for people: %d %s", page.Code, kind)
	}
	parameters := regexp.MustCompile(`\{[^}]*\}`)
	for path, methods := range doc.Paths {
		for method := range methods {
			if !strings.Contains(page.Body.String(), "<code>"+strings.ToUpper(method)+" "+doc.BasePath+path+"</code>") {
				t.Errorf("%s %s is not on the page for people", method, path)
			}
			r := httptest.NewRequest(strings.ToUpper(method), doc.BasePath+parameters.ReplaceAllString(path, "x"), nil)
			_, pattern := d.mux.Handler(r)
			if pattern == "/api/" || pattern == "/api/v1/namespaces/" || pattern == "" {
				t.Errorf("%s %s is not served", method, path)
			}
			described[pattern] = true
		}
	}
	for pattern := range d.operations() {
		// A slash at the end of a list is taken as well.
		if strings.HasPrefix(pattern, http.MethodGet) && strings.HasSuffix(pattern, "{$}") || !strings.Contains(pattern, " ") {
			continue
		}
		if !described[pattern] {
			t.Errorf("%s is not described", pattern)
		}
	}
}
