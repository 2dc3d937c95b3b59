package template

import (
	"encoding/json"
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
