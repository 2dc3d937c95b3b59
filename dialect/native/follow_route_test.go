package native

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// What a route leads to a function is an HTTP event: its path is what is below
// the pattern's fixed part, and headers tell the pattern and its values.
func TestFollowRoute(t *testing.T) {
	w := newWorld(t, Config{})
	w.platform.Code("echo", inspect)
	add(t, w.platform, rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: "open"}, Public: true})
	w.platform.Code("open", inspect)
	for pattern, o := range map[string]wire.RouteOptions{
		"/items/{id}/{rest...}": {To: "echo", Qualifier: "1", Public: true},
		"/open/":                {To: "open"},
		"/shut":                 {To: "echo"},
	} {
		if _, err := w.SetRoute(t.Context(), pattern, o); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ path, below, query, pattern, id, qualifier string }{
		{"/items/a%2Fb%20c/d/e?x=1&namespace=n", "/a/b c/d/e", "x=1&namespace=n", "/items/{id}/{rest...}", "a%2Fb%20c", "1"},
		{"/open/", "/", "", "/open/", "", "1"}, // the version that was looked at
		{"/open?q=1", "/", "q=1", "/open/", "", "1"},
	} {
		for _, method := range []string{http.MethodPost, "BREW"} {
			r := request(t, method, w.url+c.path, "body")
			r.Header.Set("Authorization", "Bearer the-functions-own")
			r.Header.Set("Rouse-Path-Id", "forged")
			r.Header.Set("Rouse-Path-Evil", "forged")
			r.Header["Rouse_Path_Id"] = []string{"forged"}
			r.Header.Set("Connection", "Rouse-Route, rouse-path-id")
			resp, body := do(t, r) // follows a redirect to the slash
			var in rouse.Invocation
			if err := json.Unmarshal([]byte(body), &in); err != nil {
				t.Fatalf("%s %s: %v in %d %s", method, c.path, err, resp.StatusCode, body)
			}
			h := in.Event.HTTP
			if h.Method != method || h.Path != c.below || h.Query != c.query || string(in.Event.Data) != "body" || in.Qualifier != c.qualifier {
				t.Errorf("%s: %+v of version %q", c.path, h, in.Qualifier)
			}
			if !slices.Equal(h.Header["Rouse-Route"], []string{c.pattern}) || c.id != "" && !slices.Equal(h.Header["Rouse-Path-Id"], []string{c.id}) {
				t.Errorf("%s: headers %v", c.path, h.Header)
			}
			if h.Header["Rouse-Path-Evil"] != nil || h.Header["Rouse_path_id"] != nil || h.Header["Rouse_Path_Id"] != nil || c.id == "" && h.Header["Rouse-Path-Id"] != nil {
				t.Errorf("%s: forged headers came through: %v", c.path, h.Header)
			}
			if !slices.Equal(h.Header["Authorization"], []string{"Bearer the-functions-own"}) {
				t.Errorf("%s: %v", c.path, h.Header["Authorization"])
			}
		}
	}
	r := request(t, "GET", w.url+"/shut", "")
	if _, body := do(t, r); body == "" {
		t.Error("who shows the token is not let in")
	} else {
		var in rouse.Invocation
		if err := json.Unmarshal([]byte(body), &in); err != nil || in.Event.HTTP.Header["Authorization"] != nil {
			t.Errorf("the platform's token comes through: %s", body)
		}
	}
	if err := w.Remove(t.Context(), "echo"); err != nil {
		t.Fatal(err)
	}
	if resp, body := do(t, request(t, "GET", w.url+"/shut", "")); resp.StatusCode != http.StatusNotFound {
		t.Errorf("of a function that is gone: %d %s", resp.StatusCode, body)
	}
}
