package openwhisk

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

func TestAddressesInside(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1": true, "127.8.8.8": true, "::1": true, "0.0.0.0": true, "::": true, "10.1.2.3": true, "172.16.0.1": true, "192.168.1.1": true, "169.254.169.254": true,
		"fe80::1%eth0": true, "fd00::1": true, "fc00::1": true, "100.64.0.1": true, "224.0.0.1": true, "255.255.255.255": true, "::ffff:127.0.0.1": true, "::ffff:10.0.0.1": true,
		"64:ff9b::7f00:1": true, "2002:7f00:1::": true, "198.18.0.1": true, "192.0.0.1": true, "0.1.2.3": true, "ff02::1": true,
		"140.82.121.6": false, "8.8.8.8": false, "172.32.0.1": false, "100.128.0.1": false, "2606:50c0:8000::153": false, "::ffff:8.8.8.8": false,
	} {
		if got := inside(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

func TestHookEvents(t *testing.T) {
	for given, want := range map[string]string{
		`"push"`: "[push]", `"push, delete,push"`: "[push delete]", `["push","pull_request"]`: "[push pull_request]", `"*"`: "[*]",
		`""`: "refused", `"push,"`: "refused", `"Push"`: "refused", `["a b"]`: "refused", `7`: "refused", `[1]`: "refused", `null`: "refused", `"**"`: "refused",
	} {
		got, err := hookEvents(json.RawMessage(given))
		shown := fmt.Sprint(got)
		if err != nil {
			shown = "refused"
		}
		if shown != want {
			t.Errorf("%s: %s %v", given, shown, err)
		}
	}
}

// A hook whose ID could not be kept is found by its address; what GitHub refuses
// is said; a redirect is not followed, for the token would go along.
func TestAskingGitHub(t *testing.T) {
	var asked []string
	answer := func(w http.ResponseWriter, status int, body string) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		switch {
		case strings.HasPrefix(r.URL.Path, "/repos/o/moved/"):
			http.Redirect(w, r, "/repos/o/r/hooks", http.StatusTemporaryRedirect)
		case strings.HasPrefix(r.URL.Path, "/repos/o/full/"):
			answer(w, 422, `{"message": "Validation Failed", "errors": [{"resource": "Hook", "message": "Hook already exists on this repository"}]}`)
		case strings.HasPrefix(r.URL.Path, "/repos/o/odd/"):
			answer(w, 200, "<html>")
		case strings.HasPrefix(r.URL.Path, "/repos/o/page/"):
			answer(w, 500, "<secret>inside</secret>")
		case r.Method == "GET":
			answer(w, 200, `[{"id": 5, "config": {"url": "https://x/on/other"}}, {"id": 6, "config": {"url": "https://x/on/t"}}]`)
		default:
			w.WriteHeader(204)
		}
	}))
	t.Cleanup(s.Close)
	g := githubFeed{New(Config{GitHub: s.URL + "/"})}
	if err := g.take(t.Context(), &hook{API: g.GitHub, Owner: "o", Repository: "r", URL: "https://x/on/t"}); err != nil || fmt.Sprint(asked) != "[GET /repos/o/r/hooks?per_page=100 DELETE /repos/o/r/hooks/6]" {
		t.Errorf("%v %v", err, asked)
	}
	for repository, want := range map[string]string{
		"moved": "GitHub answered 307; baseUrl must be the address of the API itself",
		"full":  "GitHub answered 422: Validation Failed: Hook already exists on this repository",
		"odd":   "answered what is no JSON of a hook",
		"page":  "GitHub answered 500",
	} {
		asked = nil
		_, err := g.register(t.Context(), hook{API: g.GitHub, Owner: "o", Repository: repository, Token: "ghp"})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "inside") || len(asked) != 1 {
			t.Errorf("%s: %v, asked %v", repository, err, asked)
		}
	}
	s.Close()
	if _, err := g.register(t.Context(), hook{API: g.GitHub, Owner: "o", Repository: "r"}); err == nil || !strings.Contains(err.Error(), "can't be asked") {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := g.register(t.Context(), hook{API: strings.Replace(s.URL, "http:", "https:", 1), Owner: "o", Repository: "r"}); err == nil || !strings.Contains(err.Error(), errInside.Error()) {
		t.Errorf("somebody's own address inside: %v", err)
	}
}

func TestAddressesOfGitHub(t *testing.T) {
	g := githubFeed{New(Config{GitHub: "http://127.0.0.1:1/api/"})}
	for given, want := range map[string]string{
		"http://127.0.0.1:1/api": "http://127.0.0.1:1/api", "http://127.0.0.1:1/api/": "http://127.0.0.1:1/api", "https://github.example.com/api/v3/": "https://github.example.com/api/v3",
		"http://github.example.com": "", "https://": "", "github.example.com": "", "https://me:secret@github.example.com": "", "https://x/?a": "", "https://x/#a": "", "ftp://x": "", "https://%": "",
	} {
		if got, err := g.base(given); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q %v", given, got, err)
		}
	}
}

// What a user says is never part of a path at GitHub but as one segment of it.
func FuzzWhatAHookIs(f *testing.F) {
	for _, seed := range []string{"hello", "octocat/hello", "a/b/c", "..", "../x", "o/..", "o/%2e%2e", "o/r?x", "o/r#", "", "o/ r"} {
		f.Add(seed, "octocat")
	}
	g := githubFeed{New(Config{})}
	f.Fuzz(func(t *testing.T, repository, username string) {
		given := parameters{"events": json.RawMessage(`"push"`), "accessToken": json.RawMessage(`"x"`)}
		given["repository"], _ = json.Marshal(repository)
		given["username"], _ = json.Marshal(username)
		h, err := g.asked(order{ns: rouse.DefaultNamespace, name: "t", given: given})
		if err != nil {
			return
		}
		r, err := http.NewRequest("GET", "https://x/repos/"+h.Owner+"/"+h.Repository+"/hooks", nil)
		if err != nil || r.URL.Path != "/repos/"+h.Owner+"/"+h.Repository+"/hooks" || strings.Count(r.URL.Path, "/") != 4 || strings.Contains(r.URL.Path, "/../") || strings.Contains(r.URL.Path, "/./") || r.URL.RawQuery != "" {
			t.Errorf("%q %q became %+v", repository, username, h)
		}
	})
}

func FuzzInstant(f *testing.F) {
	for _, seed := range []string{"1", "-1e99", `"2000-01-01"`, `"2000-01-01T00:00:00.5Z"`, `"2000-01-01T00:00:00+02:00"`, `"Sat, 01 Jan 2000 00:00:00 GMT"`, `""`, "null", "{}", `"x"`, ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		if at, ok := instant(v); ok && !json.Valid(v) {
			t.Errorf("%s is %v", v, at)
		}
	})
}
