// Package template makes of an event what a rule's target is to get. A template
// is JSON in which texts name values of the event:
//
//	{"file": "${path}", "about": "${name} came at ${@time}", "all": "${@data}"}
//
// A text that is one name alone becomes the value, of whatever type; within a
// text it becomes text. Names are those of patterns: plain ones are of the
// event's data, those with an @ are of the event itself. Dots and numbers go
// into objects and lists, as in ${owner.mails.0}. What is not there is null, and
// nothing within a text. $${ is a plain ${.
package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/rouse-run/rouse"
)

const maxSize = 32 << 10

// A Template does not change and may be used concurrently.
type Template struct{ root any }

// Parse reads a template. Errors: Invalid.
func Parse(b []byte) (*Template, error) {
	if len(b) > maxSize {
		return nil, rouse.Errorf(rouse.TooLarge, "read template", "", "it has %d bytes, %d are the most", len(b), maxSize)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, rouse.Errorf(rouse.Invalid, "read template", "", "it is not JSON: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, rouse.Errorf(rouse.Invalid, "read template", "", "there is more after its end")
	}
	root, err := compile("", v)
	if err != nil {
		return nil, err
	}
	return &Template{root}, nil
}

// Check says what of a template can't be meant, though Parse takes it. Errors:
// Invalid, which names the place.
func Check(b []byte) error {
	t, err := Parse(b)
	if err != nil {
		return err
	}
	return check("", t.root)
}

func check(at string, v any) error {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if err := check(strings.TrimPrefix(at+"."+k, "."), e); err != nil {
				return err
			}
		}
	case []any:
		for i, e := range v {
			if err := check(fmt.Sprintf("%s[%d]", at, i), e); err != nil {
				return err
			}
		}
	case text:
		for _, name := range v.names {
			path := strings.Join(name, ".")
			switch {
			case slices.Contains(name, "") || strings.TrimSpace(path) != path:
				return rouse.Errorf(rouse.Invalid, "read template", at, "${%s} has a part with no name; names are such as ${owner.mails.0}", path)
			case strings.ContainsAny(path, "[]"):
				return rouse.Errorf(rouse.Invalid, "read template", at, "${%s} would find nothing: numbers stand after dots, as in ${%s}", path, strings.NewReplacer("].", ".", "][", ".", "[", ".", "]", "").Replace(path))
			case strings.HasPrefix(path, "$."), path == "$":
				return rouse.Errorf(rouse.Invalid, "read template", at, "${%s} would find nothing: names begin with a field, as in ${%s}; ${@data} is all", path, strings.TrimPrefix(strings.TrimPrefix(path, "$"), "."))
			}
		}
	}
	return nil
}

// A text is one that names values: plain pieces and names by turns.
type text struct {
	pieces []string
	names  [][]string
}

func compile(at string, v any) (any, error) {
	var err error
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if v[k], err = compile(strings.TrimPrefix(at+"."+k, "."), e); err != nil {
				return nil, err
			}
		}
	case []any:
		for i, e := range v {
			if v[i], err = compile(fmt.Sprintf("%s[%d]", at, i), e); err != nil {
				return nil, err
			}
		}
	case string:
		return compileText(at, v)
	}
	return v, nil
}

func compileText(at, s string) (any, error) {
	t, plain := text{}, strings.Builder{}
	for {
		before, rest, found := strings.Cut(s, "${")
		if !found {
			plain.WriteString(s)
			break
		}
		if b, escaped := strings.CutSuffix(before, "$"); escaped {
			plain.WriteString(b + "${")
			s = rest
			continue
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || name == "" {
			return nil, rouse.Errorf(rouse.Invalid, "read template", at, "%q opens a ${ and names nothing: write ${name}, or $${ for a plain ${", s)
		}
		plain.WriteString(before)
		t.pieces, t.names = append(t.pieces, plain.String()), append(t.names, strings.Split(name, "."))
		plain.Reset()
		s = after
	}
	if len(t.names) == 0 {
		return plain.String(), nil
	}
	t.pieces = append(t.pieces, plain.String())
	return t, nil
}

// Execute returns the JSON for a document, as encoding/json decodes an object.
// Its numbers are those of the document, digit by digit where that has them as
// json.Number.
func (t *Template) Execute(doc map[string]any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(fill(t.root, doc)); err != nil {
		return nil, fmt.Errorf("fill template: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func fill(v any, doc map[string]any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = fill(e, doc)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = fill(e, doc)
		}
		return l
	case text:
		if len(v.names) == 1 && v.pieces[0] == "" && v.pieces[1] == "" {
			return find(doc, v.names[0])
		}
		var s strings.Builder
		for i, name := range v.names {
			s.WriteString(v.pieces[i])
			s.WriteString(say(find(doc, name)))
		}
		s.WriteString(v.pieces[len(v.names)])
		return s.String()
	}
	return v
}

// find follows a name; nil is not there.
func find(v any, name []string) any {
	for _, n := range name {
		switch x := v.(type) {
		case map[string]any:
			v = x[n]
		case []any:
			i, err := strconv.Atoi(n)
			if err != nil || i < 0 || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

func say(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	b, _ := json.Marshal(v) // what came out of JSON goes in again
	return string(b)
}
