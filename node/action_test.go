package node

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/openwhisk"
)

// Functions that ask from inside: actions with a key of their own, with another's
// code, and with none; and one that is no action.
var askers = map[string]rouse.Function{
	"own":    asker(openwhisk.Name, `{"path":"home/f","provideKey":true}`, "function:* rw"),
	"theirs": asker(openwhisk.Name, `{"path":"guest/box/f","provideKey":true}`, "function:* rw", "function:secret r", "trigger:* w", "bucket:* rw", "stream:* w"),
	"plain":  asker(openwhisk.Name, `{"path":"home/f"}`),
	"native": asker("native", `{"path":"home/f","provideKey":true}`, "function:* rw"),
}

func asker(contract, note string, allow ...string) rouse.Function {
	return rouse.Function{Ref: rouse.Ref{Namespace: "home", Name: "f"}, Contract: contract, Allow: allow, Notes: rouse.Notes{openwhisk.Name: json.RawMessage(note)}}
}

// visit asks from inside f, with its token or another, and says which door it
// came to, as whom.
func visit(t testing.TB, f rouse.Function, own bool, method string, u *url.URL) (door string, p rouse.Principal, status int) {
	t.Helper()
	n := &Node{Config: Config{Log: slog.New(slog.DiscardHandler)}}
	e, token, err := n.entrance(f, func() (string, int) { return "id", 3 })
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			door = name
			p, _ = rouse.PrincipalOf(r.Context())
		})
	}
	n.handler = doors{native: at("native"), whisk: at("whisk")}
	if !own {
		token = "another"
	}
	r := &http.Request{Method: method, URL: u, Header: http.Header{}, Body: http.NoBody}
	r.SetBasicAuth("instance", token)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r.WithContext(t.Context()))
	return door, p, w.Code
}

func TestWhatActionsFindInside(t *testing.T) {
	for _, c := range []struct {
		asker  string
		own    bool
		path   string
		door   string
		owner  bool
		named  bool
		status int
	}{
		{"own", true, "/api/v1/namespaces/_/triggers/t", "whisk", true, true, 200},
		{"own", true, "/api/v1/web/home/default/page", "whisk", true, true, 200},
		{"own", false, "/api/v1/namespaces", "whisk", false, false, 200},
		{"own", true, "/v1/functions/g/invoke", "native", false, true, 200},
		{"own", true, "/v1/functions", "", false, false, 403},
		{"own", true, "/", "", false, false, 403},
		{"own", true, "/apis", "", false, false, 403},
		{"own", false, "/v1/functions/g/invoke", "", false, false, 401},
		{"theirs", true, "/api/v1/namespaces/_/triggers/t", "whisk", false, true, 200},
		{"theirs", false, "/api/v1/namespaces", "whisk", false, false, 200},
		{"plain", true, "/v1/functions/g/invoke", "", false, false, 403},
		{"plain", false, "/v1/functions/g/invoke", "", false, false, 401},
		{"plain", false, "/api/v1/namespaces", "whisk", false, false, 200},
		{"native", true, "/api/v1/namespaces/_/triggers/t", "whisk", false, true, 200},
		{"native", true, "/api/v1/web/home/default/page", "", false, false, 403},
		{"native", false, "/api/v1/namespaces/_/triggers/t", "", false, false, 401},
		{"native", false, "/api/v1/web/home/default/page", "", false, false, 401},
	} {
		door, p, status := visit(t, askers[c.asker], c.own, http.MethodPost, &url.URL{Path: c.path})
		if door != c.door || p.Owner != c.owner || (p.Name != "") != c.named || status != c.status {
			t.Errorf("%+v: %d at %q as %+v", c, status, door, p)
		}
		if door != "" && (p.Activation != "id" || p.Hops != 3 || p.Operator) {
			t.Errorf("%+v: as %+v", c, p)
		}
		if door != "" && !c.named && (p.Namespace != "" || p.Grants != nil) {
			t.Errorf("%+v: nobody is %+v", c, p)
		}
	}
}

// Foreign code has of what its function was granted only that it runs and fires.
func TestWhatForeignCodeIsGranted(t *testing.T) {
	for name, contract := range map[string]string{"an action": openwhisk.Name, "a native function": "native"} {
		f := askers["theirs"]
		f.Contract = contract
		_, p, status := visit(t, f, true, http.MethodGet, &url.URL{Path: "/api/v1/namespaces/_/actions"})
		want := []rouse.Grant{{Service: "function", Name: "*", Write: true}, {Service: "trigger", Name: "*", Write: true}}
		if status != 200 || p.Owner || !slices.Equal(p.Grants, want) {
			t.Errorf("%s: %d, as %+v", name, status, p)
		}
		for _, path := range []string{"/v1/buckets/b", "/v1/streams/s/records"} {
			if door, p, status := visit(t, f, true, http.MethodGet, &url.URL{Path: path}); status != 403 {
				t.Errorf("%s, %s: %d at %q as %+v", name, path, status, door, p)
			}
		}
	}
	_, p, _ := visit(t, askers["native"], true, http.MethodGet, &url.URL{Path: "/api/v1/namespaces/_/actions"})
	if want := []rouse.Grant{{Service: "function", Name: "*", Read: true, Write: true}}; !slices.Equal(p.Grants, want) {
		t.Errorf("one's own: %+v", p.Grants)
	}
}

// FuzzActionPaths sends any path from inside: to the native API none comes with
// more than what the function was granted, and none of nobody.
func FuzzActionPaths(f *testing.F) {
	for _, p := range []string{"/api/v1/namespaces/_/actions", "/api/../v1/functions", "/api/", "/api", "//api/v1", "/api%2Fv1", "/v1/../api/v1/x", "/v1/functions/g/invoke", "/api/v1/web/a/b/c.http/../..", "/%61pi/v1/namespaces"} {
		f.Add("GET", p, true)
		f.Add("POST", p, false)
	}
	f.Fuzz(func(t *testing.T, method, target string, own bool) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		for name, asker := range askers {
			door, p, _ := visit(t, asker, own, method, u)
			switch {
			case door == "native" && (p.Owner || p.Name == "" || p.Namespace != "home"):
				t.Errorf("%s, %s %s comes to the native API as %+v", name, method, target, p)
			case p.Operator, p.Owner && (name != "own" || !own), door != "" && p.Activation != "id":
				t.Errorf("%s, %s %s comes as %+v", name, method, target, p)
			case name == "native" && door == "whisk" && !own:
				t.Errorf("%s %s comes from a function that is no action, without its token", method, target)
			}
		}
	})
}
