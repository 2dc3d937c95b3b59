package template

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

func TestExecute(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal([]byte(`{"path": "/in/a.jpg", "size": 12, "owner": {"mails": ["x@y.z"]}, "ok": true, "@id": "e1", "@data": {"path": "/in/a.jpg"}}`), &doc); err != nil {
		t.Fatal(err)
	}
	for template, want := range map[string]string{
		`"${path}"`: `"/in/a.jpg"`,
		`{"f": "${path}", "n": "${size}", "b": "${ok}"}`:        `{"b":true,"f":"/in/a.jpg","n":12}`,
		`"${path} has ${size} bytes, ${ok}, ${nothing}<&>"`:     `"/in/a.jpg has 12 bytes, true, <&>"`,
		`["${owner.mails.0}", "${owner.mails.1}", "${size.x}"]`: `["x@y.z",null,null]`,
		`"to ${owner}"`:         `"to {\"mails\":[\"x@y.z\"]}"`,
		`"${@data}"`:            `{"path":"/in/a.jpg"}`,
		`"$${path} is ${path}"`: `"${path} is /in/a.jpg"`,
		`{"n": 12345678901234567890, "x": [1.50, null]}`: `{"n":12345678901234567890,"x":[1.50,null]}`,
	} {
		p, err := Parse([]byte(template))
		if err != nil {
			t.Errorf("%s: %v", template, err)
			continue
		}
		if got, err := p.Execute(doc); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; not %s", template, got, err, want)
		}
	}
}

func TestWhatIsNoTemplate(t *testing.T) {
	for template, at := range map[string]string{`{`: "", `1 2`: "", `{"a": ["${"]}`: "a[0]", `{"a": {"b": "${}"}}`: "a.b"} {
		_, err := Parse([]byte(template))
		if e, ok := err.(*rouse.Error); !ok || e.Kind != rouse.Invalid || e.On != at {
			t.Errorf("%s: %v", template, err)
		}
	}
}

// What can be parsed and would find nothing is refused where it is new.
func TestWhatWouldFindNothing(t *testing.T) {
	for template, says := range map[string]string{`{"a": "${nested.deep[0]}"}`: "${nested.deep.0}", `["${a[0].b[1]}"]`: "${a.0.b.1}", `"${$.a.b}"`: "${a.b}", `"${a..b}"`: "no name", `"x ${a.} y"`: "no name", `"${ a }"`: "no name"} {
		if _, err := Parse([]byte(template)); err != nil {
			t.Errorf("%s was stored once, and can't be read: %v", template, err)
		}
		err := Check([]byte(template))
		if rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", template, err)
		}
	}
	for _, good := range []string{`"${a.0.b}"`, `{"a": ["${@data}", "$${a[0]}", "[0]"]}`, `"${a-b_c}"`} {
		if err := Check([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add(`{"a": "x ${b.c} $${ y"}`, `{"b": {"c": [1]}}`)
	f.Fuzz(func(t *testing.T, template, doc string) {
		p, err := Parse([]byte(template))
		var d map[string]any
		if err != nil || json.Unmarshal([]byte(doc), &d) != nil {
			return
		}
		if b, err := p.Execute(d); err != nil || !json.Valid(b) {
			t.Errorf("%s, %v", b, err)
		}
	})
}
