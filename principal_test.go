package rouse_test

import (
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

func TestParseGrant(t *testing.T) {
	for text, want := range map[string]rouse.Grant{
		"bucket:photos rw":   {Service: "bucket", Name: "photos", Read: true, Write: true},
		"table:seen r":       {Service: "table", Name: "seen", Read: true},
		"queue:jobs w":       {Service: "queue", Name: "jobs", Write: true},
		"function:*  w":      {Service: "function", Name: "*", Write: true},
		" trigger:in:box* r": {Service: "trigger", Name: "in:box*", Read: true},
	} {
		if g, err := rouse.ParseGrant(text); err != nil || g != want {
			t.Errorf("%q: %+v %v", text, g, err)
		}
	}
	for text, says := range map[string]string{
		"":                                    "what may be done",
		"bucket:photos":                       "what may be done",
		"bucket:photos r w":                   "what may be done",
		"photos rw":                           "a colon",
		"buckets:photos rw":                   "bucket, function, queue",
		"bucket: rw":                          "the name is missing",
		"bucket:photos wr":                    "r, w or rw",
		"bucket:photos x":                     "r, w or rw",
		"bucket:photos rww":                   "r, w or rw",
		"bucket:a*b r":                        "at the end",
		"bucket:** r":                         "at the end",
		":a r":                                "a colon",
		"bucket:a" + strings.Repeat("x", 600): "512 bytes",
	} {
		_, err := rouse.ParseGrant(text)
		if rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "allow") || !strings.Contains(err.Error(), `"bucket:photos rw"`) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParseGrant(f *testing.F) {
	for _, s := range []string{"bucket:photos rw", "table:* r", "queue:a:b w", "function:x*", " trigger:y  rw ", "stream:\xff r", "bucket:* \u00a0rw"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		g, err := rouse.ParseGrant(s)
		if err != nil {
			if rouse.KindOf(err) != rouse.Invalid {
				t.Errorf("%v", err)
			}
			return
		}
		if again, err := rouse.ParseGrant(g.String()); err != nil || again != g {
			t.Errorf("%q is read as %+v, and that as %+v %v", s, g, again, err)
		}
		p := rouse.Principal{Namespace: "n", Grants: []rouse.Grant{g}}
		r := rouse.Ref{Namespace: "n", Name: strings.TrimSuffix(g.Name, "*")}
		if p.May(g.Service, r, true) != g.Write || p.May(g.Service, r, false) != g.Read {
			t.Errorf("%q does not grant what it says", s)
		}
		r.Namespace = "other"
		if p.May(g.Service, r, true) || p.May(g.Service, r, false) {
			t.Errorf("%q grants in another namespace", s)
		}
	})
}

func TestMay(t *testing.T) {
	p := rouse.Principal{Name: "f", Namespace: "default"}
	for _, s := range []string{"bucket:photos rw", "table:seen-* r", "queue:jobs w"} {
		g, err := rouse.ParseGrant(s)
		if err != nil {
			t.Fatal(err)
		}
		p.Grants = append(p.Grants, g)
	}
	for _, c := range []struct {
		service, name string
		read, write   bool
	}{
		{"bucket", "photos", true, true}, {"bucket", "photos2", false, false}, {"bucket", "photo", false, false},
		{"table", "seen-a", true, false}, {"table", "seen-", true, false}, {"table", "seen", false, false},
		{"queue", "jobs", false, true}, {"queue", "Jobs", false, false}, {"table", "jobs", false, false}, {"", "", false, false},
	} {
		r := rouse.Ref{Namespace: "default", Name: c.name}
		if p.May(c.service, r, false) != c.read || p.May(c.service, r, true) != c.write {
			t.Errorf("%s %s", c.service, c.name)
		}
		if (rouse.Principal{}).May(c.service, r, false) || (rouse.Principal{Name: "admin"}).May(c.service, r, true) {
			t.Error("somebody without grants may")
		}
		if !(rouse.Principal{Operator: true}).May(c.service, r, true) {
			t.Error("an operator may not")
		}
	}
}

func TestPrincipalOf(t *testing.T) {
	if p, ok := rouse.PrincipalOf(t.Context()); ok {
		t.Errorf("%+v asks", p)
	}
	if p, ok := rouse.PrincipalOf(rouse.WithPrincipal(t.Context(), rouse.Principal{Name: "f"})); !ok || p.Name != "f" {
		t.Errorf("%+v %v", p, ok)
	}
}
