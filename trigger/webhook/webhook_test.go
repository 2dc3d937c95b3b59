package webhook

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/trigger/triggertest"
)

const secret = "It's a Secret to Everybody"

func mac(h func() hash.Hash, body string) []byte {
	m := hmac.New(h, []byte(secret))
	m.Write([]byte(body))
	return m.Sum(nil)
}

func sign(body string) string { return "sha256=" + hex.EncodeToString(mac(sha256.New, body)) }

func TestSignaturesAreChecked(t *testing.T) {
	// The example of GitHub's documentation.
	if got := sign("Hello, World!"); got != "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17" {
		t.Fatal(got)
	}
	s := triggertest.Open(t)
	source := New(Config{Emitter: s})
	for _, c := range []struct{ config, header, sum string }{
		{"", "X-Signature-256", sign("{}")},
		{`"header": "x-sig", "algorithm": "sha1", "prefix": ""`, "X-Sig", hex.EncodeToString(mac(sha1.New, "{}"))},
		{`"header": "H", "algorithm": "sha512", "encoding": "base64", "prefix": "v1,"`, "H", "v1," + base64.StdEncoding.EncodeToString(mac(sha512.New, "{}"))},
	} {
		if c.config != "" {
			c.config = "," + c.config
		}
		url := triggertest.Serve(t, source, fmt.Sprintf(`{"secret": %q %s}`, secret, c.config))
		if status, body, _ := triggertest.Do(t, "POST", url, "{}", c.header, c.sum); status != 202 {
			t.Errorf("%s: %d %s", c.sum, status, body)
		}
		n := len(s.All(t))
		for _, wrong := range []string{"", "x", c.sum[:len(c.sum)-1], c.sum + "0", strings.ToUpper(c.sum[:1]) + "x" + c.sum[1:], sign("{ }")} {
			status, body, _ := triggertest.Do(t, "POST", url, "{}", c.header, wrong)
			if status != 401 || !strings.Contains(body, `"kind":"unauthenticated"`) || strings.Contains(body, secret) {
				t.Errorf("%q: %d %s", wrong, status, body)
			}
		}
		if status, _, _ := triggertest.Do(t, "POST", url, "{} ", c.header, c.sum); status != 401 || len(s.All(t)) != n {
			t.Errorf("another body: %d", status)
		}
	}
	big := strings.Repeat("x", 1<<20+1)
	if status, _, _ := triggertest.Do(t, "POST", triggertest.Serve(t, source, fmt.Sprintf(`{"secret": %q}`, secret)), big, "X-Signature-256", sign(big)); status != 413 {
		t.Errorf("too large: %d", status)
	}
}

func TestACallIsAnEvent(t *testing.T) {
	s := triggertest.Open(t)
	url := triggertest.Serve(t, New(Config{Emitter: s}), fmt.Sprintf(`{"secret": %q, "id": "X-Delivery-Id", "type": "X-Event"}`, secret))
	for range 3 {
		if status, body, _ := triggertest.Do(t, "POST", url+"/a", `{"x": 1}`, "X-Signature-256", sign(`{"x": 1}`), "X-Delivery-Id", "7", "X-Event", "paid"); status != 202 || body != `{"event":"7"}` {
			t.Fatalf("%d %s", status, body)
		}
	}
	if status, body, _ := triggertest.Do(t, "POST", url, "x", "X-Signature-256", sign("x")); status != 400 || !strings.Contains(body, "X-Delivery-Id") {
		t.Errorf("no id: %d %s", status, body)
	}
	if status, _, _ := triggertest.Do(t, "POST", url, "x", "X-Signature-256", sign("x"), "X-Delivery-Id", "8"); status != 202 {
		t.Errorf("text: %d", status)
	}
	es := s.All(t)
	if len(es) != 2 || es[0].Type != "webhook.paid" || string(es[0].Data) != `{"x": 1}` || es[0].Subject != "/a" || es[1].Type != "webhook.received" || string(es[1].Data) != `{"body":"x","encoding":"text"}` {
		t.Errorf("%+v", es)
	}
	s.Down = rouse.Errorf(rouse.Unavailable, "emit", "x", "away")
	if status, _, _ := triggertest.Do(t, "POST", url, "x", "X-Signature-256", sign("x"), "X-Delivery-Id", "9"); status != 503 {
		t.Errorf("%d without a store", status)
	}
}

func TestGitHub(t *testing.T) {
	s := triggertest.Open(t)
	hook := triggertest.Serve(t, NewGitHub(Config{Emitter: s}), fmt.Sprintf(`{"secret": %q, "events": ["push", "delete"], "repository": "octocat/Hello"}`, secret))
	push := `{"ref": "refs/heads/main", "repository": {"full_name": "octocat/hello"}}`
	form := url.Values{"payload": {push}}.Encode()
	other := `{"repository": {"full_name": "octocat/other"}}`
	for _, c := range []struct {
		name, body, kind, id, content string
		status                        int
		answer                        string
	}{
		{"ping", `{"zen": "Design for failure."}`, "ping", "1", "application/json", 200, `{"answer":"pong"}`},
		{"push", push, "push", "2", "application/json", 202, `{"event":"2"}`},
		{"redelivered", push, "push", "2", "application/json; charset=utf-8", 202, `{"event":"2"}`},
		{"form", form, "delete", "3", "application/x-www-form-urlencoded", 202, `{"event":"3"}`},
		{"not wanted", push, "issues", "4", "application/json", 204, ""},
		{"other repository", other, "push", "5", "application/json", 204, ""},
		{"no delivery", push, "push", "", "application/json", 400, "X-GitHub-Delivery"},
		{"no event", push, "", "6", "application/json", 400, "X-GitHub-Event"},
		{"no payload", "a=b", "push", "7", "application/x-www-form-urlencoded", 400, "payload"},
		{"no JSON", "a=b", "push", "8", "application/json", 400, "payload"},
		{"a list", "[1]", "push", "11", "application/json", 400, "it is a list"},
		{"a list in it", `{"repository": [1]}`, "push", "12", "application/json", 400, "repository is a list"},
		{"neither", push, "push", "9", "text/plain", 400, "Content-Type"},
	} {
		status, answer, h := triggertest.Do(t, "POST", hook, c.body, "X-Hub-Signature-256", sign(c.body), "X-GitHub-Event", c.kind, "X-GitHub-Delivery", c.id, "Content-Type", c.content)
		if status != c.status || !strings.Contains(answer, c.answer) || (status == 204) != (h.Get("X-Rouse-Ignored") != "") {
			t.Errorf("%s: %d %s %v", c.name, status, answer, h)
		}
	}
	if status, _, _ := triggertest.Do(t, "POST", hook, push, "X-Hub-Signature-256", sign("x"), "X-GitHub-Event", "ping", "Content-Type", "application/json"); status != 401 {
		t.Errorf("a wrong ping: %d", status)
	}
	asked := triggertest.Serve(t, NewGitHub(Config{Emitter: s}), fmt.Sprintf(`{"secret": %q, "events": ["*"]}`, secret))
	zen := `{"zen": "Design for failure."}`
	if status, answer, _ := triggertest.Do(t, "POST", asked, zen, "X-Hub-Signature-256", sign(zen), "X-GitHub-Event", "ping", "X-GitHub-Delivery", "10", "Content-Type", "application/json", "User-Agent", "GitHub-Hookshot/1"); status != 202 || answer != `{"event":"10"}` {
		t.Errorf("a ping that is wanted: %d %s", status, answer)
	}
	es := s.All(t)
	i := slices.IndexFunc(es, func(e rouse.Event) bool { return e.Type == "github.ping" })
	if i < 0 || es[i].Attributes["signature"] != sign(zen) || es[i].Attributes["useragent"] != "GitHub-Hookshot/1" {
		t.Fatalf("%+v", es)
	}
	es = slices.Delete(es, i, i+1)
	if len(es) != 2 || es[0].Type != "github.push" || es[0].Subject != "octocat/hello" || string(es[0].Data) != push || es[1].Type != "github.delete" || string(es[1].Data) != push {
		t.Errorf("%+v", es)
	}
}

func TestCheckNamesTheField(t *testing.T) {
	ok := fmt.Sprintf(`"secret": %q`, secret)
	generic, github := New(Config{}), NewGitHub(Config{})
	for _, c := range []struct {
		source event.Server
		config string
		field  string
	}{
		{generic, `{}`, "secret"}, {generic, `{"secret": "1234567"}`, "secret"}, {generic, `{` + ok + `, "header": ""}`, "header"},
		{generic, `{` + ok + `, "algorithm": "md5"}`, "algorithm"}, {generic, `{` + ok + `, "encoding": "octal"}`, "encoding"}, {generic, `{` + ok + `, "idd": ""}`, "idd"},
		{github, `{"secret": "1234567"}`, "secret"}, {github, `{` + ok + `, "events": ["a b"]}`, "events"}, {github, `{` + ok + `, "events": "push"}`, "events"},
		{github, `{` + ok + `, "repository": "x"}`, "repository"}, {github, `{` + ok + `, "header": "x"}`, "header"},
	} {
		_, err := c.source.Check(json.RawMessage(c.config))
		e, ok := errors.AsType[*rouse.Error](err)
		if !ok || e.Kind != rouse.Invalid || e.On != c.field || strings.Contains(err.Error(), "1234567") {
			t.Errorf("%s: %v", c.config, err)
		}
	}
	if !generic.Open(event.Trigger{}) || !github.Open(event.Trigger{}) {
		t.Error("callers must show a token")
	}
}
