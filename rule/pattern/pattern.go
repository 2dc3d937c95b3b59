// Package pattern says which events a rule is for. A pattern is JSON of the
// shape of what it matches:
//
//	{"name": [{"suffix": ".jpg"}], "size": [{"numeric": [">", 0, "<=", 1000000]}], "@type": ["file.written"]}
//
// A field's list holds what its value may be: a value itself or one of the
// tests prefix, suffix, anything-but, equals-ignore-case, wildcard, numeric,
// exists and cidr. All fields must match; "$or" holds patterns of which one
// must. Plain names are those of the event's data, names with an @ those of the
// event itself, such as @type, @source, @subject and @id. The tests and what
// they mean are those of the Event Ruler library.
package pattern

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/rouse-run/rouse"
)

// Bounds of a pattern, as foreign input.
const (
	maxSize  = 32 << 10
	maxDepth = 32
	maxStars = 16
)

// A Pattern matches documents. It does not change and may be used concurrently.
type Pattern struct {
	fields []field
	either [][]*Pattern // of each "$or"
}

// A field is what one name must hold: a test of its value, or a pattern of the
// object there.
type field struct {
	name  string
	tests []test
	texts []string // where all that will do are texts: those
	inner *Pattern
}

// A test reports whether a value will do; a missing one is absent.
type test func(v any) bool

type missing struct{}

var absent = missing{}

// Parse reads a pattern; one that is empty, null or {} matches everything.
// Errors: Invalid, which names the field.
func Parse(b []byte) (*Pattern, error) {
	if len(b) > maxSize {
		return nil, rouse.Errorf(rouse.TooLarge, "read pattern", "", "it has %d bytes, %d are the most", len(b), maxSize)
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return &Pattern{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, invalid("", "it is not JSON: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, invalid("", "there is more after its end")
	}
	if v == nil {
		return &Pattern{}, nil
	}
	return parse("", v, 0)
}

func invalid(at, format string, args ...any) error {
	return rouse.Errorf(rouse.Invalid, "read pattern", at, format, args...)
}

func parse(at string, v any, depth int) (*Pattern, error) {
	m, ok := v.(map[string]any)
	switch {
	case !ok:
		return nil, invalid(at, "it must be an object, such as {\"name\": [\"a\", {\"prefix\": \"b\"}]}")
	case depth > maxDepth:
		return nil, invalid(at, "it is nested deeper than %d", maxDepth)
	}
	p := &Pattern{}
	for name, v := range m {
		where := strings.TrimPrefix(at+"."+name, ".")
		if name == "$or" {
			either, err := parseOr(where, v, depth)
			if err != nil {
				return nil, err
			}
			p.either = append(p.either, either)
			continue
		}
		f, err := parseField(where, name, v, depth)
		if err != nil {
			return nil, err
		}
		p.fields = append(p.fields, f)
	}
	// What the index looks at first must not depend on the order of a map.
	slices.SortFunc(p.fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return p, nil
}

func parseOr(at string, v any, depth int) (either []*Pattern, err error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, invalid(at, "it must be a list of patterns, of which one must match")
	}
	for i, v := range list {
		p, err := parse(fmt.Sprintf("%s[%d]", at, i), v, depth+1)
		if err != nil {
			return nil, err
		}
		either = append(either, p)
	}
	return either, nil
}

func parseField(at, name string, v any, depth int) (field, error) {
	f := field{name: name}
	switch v := v.(type) {
	case map[string]any:
		inner, err := parse(at, v, depth+1)
		f.inner = inner
		return f, err
	case []any:
		if len(v) == 0 {
			return f, invalid(at, "an empty list matches nothing: name a value, or leave the field out")
		}
		for _, alternative := range v {
			t, err := parseTest(at, alternative)
			if err != nil {
				return f, err
			}
			f.tests = append(f.tests, t)
		}
		f.texts = texts(v)
		return f, nil
	default: // one value alone is more than the notation has, and clear
		t, err := parseTest(at, v)
		f.tests, f.texts = []test{t}, texts([]any{v})
		return f, err
	}
}

// texts returns what vs are where all are texts.
func texts(vs []any) (ts []string) {
	for _, v := range vs {
		t, ok := v.(string)
		if !ok {
			return nil
		}
		if !slices.Contains(ts, t) {
			ts = append(ts, t)
		}
	}
	return ts
}

func parseTest(at string, v any) (test, error) {
	m, ok := v.(map[string]any)
	if !ok {
		if _, list := v.([]any); list {
			return nil, invalid(at, "a list in the list of values can't be matched")
		}
		return equal(v), nil
	}
	if len(m) != 1 {
		return nil, invalid(at, "a test has one name, such as {\"prefix\": \"a\"}; this one has %d", len(m))
	}
	for name, v := range m {
		make := tests(name)
		if make == nil {
			return nil, invalid(at, "there is no test %q; there are anything-but, cidr, equals-ignore-case, exists, numeric, prefix, suffix and wildcard", name)
		}
		t, err := make(at+"."+name, v)
		return t, err
	}
	panic("unreachable")
}

func tests(name string) func(at string, v any) (test, error) {
	switch name {
	case "prefix":
		return affix(strings.HasPrefix)
	case "suffix":
		return affix(strings.HasSuffix)
	case "equals-ignore-case":
		return text(func(s string) test { return onText(func(v string) bool { return strings.EqualFold(v, s) }) })
	case "wildcard":
		return wildcard
	case "anything-but":
		return anythingBut
	case "numeric":
		return numeric
	case "exists":
		return exists
	case "cidr":
		return cidr
	}
	return nil
}

func equal(want any) test {
	if n, ok := want.(json.Number); ok {
		return numeral(numberOf(n), func(c int) bool { return c == 0 })
	}
	return func(v any) bool { return v == want }
}

// numeral is a test of a number, by how it compares to n.
func numeral(n number, ok func(compared int) bool) test {
	return func(v any) bool {
		got, is := v.(json.Number)
		return is && ok(numberOf(got).compare(n))
	}
}

func onText(f func(string) bool) test {
	return func(v any) bool { s, ok := v.(string); return ok && f(s) }
}

func text(f func(string) test) func(string, any) (test, error) {
	return func(at string, v any) (test, error) {
		s, ok := v.(string)
		if !ok {
			return nil, invalid(at, "it must be a text")
		}
		return f(s), nil
	}
}

// affix takes a text, or {"equals-ignore-case": text}.
func affix(has func(s, part string) bool) func(string, any) (test, error) {
	return func(at string, v any) (test, error) {
		if m, ok := v.(map[string]any); ok && len(m) == 1 {
			if s, ok := m["equals-ignore-case"].(string); ok {
				low := strings.ToLower(s)
				return onText(func(v string) bool { return has(strings.ToLower(v), low) }), nil
			}
		}
		return text(func(s string) test { return onText(func(v string) bool { return has(v, s) }) })(at, v)
	}
}

// wildcard takes a text in which * stands for any; \* is a star itself.
func wildcard(at string, v any) (test, error) {
	s, ok := v.(string)
	if !ok {
		return nil, invalid(at, "it must be a text with * in it")
	}
	parts, part := []string{}, strings.Builder{}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '*' || s[i+1] == '\\'):
			i++
			part.WriteByte(s[i])
		case s[i] == '\\':
			return nil, invalid(at, `a \ must stand before * or \`)
		case s[i] == '*':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(s[i])
		}
	}
	parts = append(parts, part.String())
	if len(parts) > maxStars+1 {
		return nil, invalid(at, "it has more than %d stars", maxStars)
	}
	return onText(func(v string) bool { return glob(parts, v) }), nil
}

// glob reports whether v is the parts with anything between them.
func glob(parts []string, v string) bool {
	if len(parts) == 1 {
		return v == parts[0]
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(v) < len(first)+len(last) || !strings.HasPrefix(v, first) || !strings.HasSuffix(v, last) {
		return false
	}
	v = v[len(first) : len(v)-len(last)]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(v, p)
		if i < 0 {
			return false
		}
		v = v[i+len(p):]
	}
	return true
}

// anythingBut takes a value, a list of values, or a test of a text: there must
// be a value, and it must be another.
func anythingBut(at string, v any) (test, error) {
	var not []test
	switch v := v.(type) {
	case []any:
		if len(v) == 0 {
			return nil, invalid(at, "an empty list excludes nothing")
		}
		for _, e := range v {
			switch e.(type) {
			case map[string]any, []any, nil, bool:
				return nil, invalid(at, "its list must hold texts and numbers")
			}
			not = append(not, equal(e))
		}
	case map[string]any:
		if len(v) != 1 {
			return nil, invalid(at, "a test has one name; this one has %d", len(v))
		}
		for name, arg := range v {
			list, ok := arg.([]any)
			if !ok {
				list = []any{arg}
			}
			if !slices.Contains([]string{"prefix", "suffix", "equals-ignore-case", "wildcard"}, name) || len(list) == 0 {
				return nil, invalid(at, "it excludes values, prefix, suffix, equals-ignore-case and wildcard, not %q", name)
			}
			for _, arg := range list {
				t, err := tests(name)(at+"."+name, arg)
				if err != nil {
					return nil, err
				}
				not = append(not, t)
			}
		}
	case nil, bool:
		return nil, invalid(at, "it excludes texts and numbers")
	default:
		not = []test{equal(v)}
	}
	return func(v any) bool {
		return v != absent && !slices.ContainsFunc(not, func(t test) bool { return t(v) })
	}, nil
}

// numeric takes comparisons: an operator and a number, once or twice.
func numeric(at string, v any) (test, error) {
	list, ok := v.([]any)
	if !ok || len(list) != 2 && len(list) != 4 {
		return nil, invalid(at, `it must be a list such as [">", 0] or [">=", 0, "<", 10]`)
	}
	var all []test
	for i := 0; i < len(list); i += 2 {
		text, is := list[i+1].(json.Number)
		if !is {
			return nil, invalid(at, "%v is no number", list[i+1])
		}
		var ok func(compared int) bool
		switch list[i] {
		case "=":
			ok = func(c int) bool { return c == 0 }
		case "<":
			ok = func(c int) bool { return c < 0 }
		case "<=":
			ok = func(c int) bool { return c <= 0 }
		case ">":
			ok = func(c int) bool { return c > 0 }
		case ">=":
			ok = func(c int) bool { return c >= 0 }
		default:
			return nil, invalid(at, "%v is no comparison; there are =, <, <=, > and >=", list[i])
		}
		all = append(all, numeral(numberOf(text), ok))
	}
	return func(v any) bool {
		return !slices.ContainsFunc(all, func(t test) bool { return !t(v) })
	}, nil
}

func exists(at string, v any) (test, error) {
	want, ok := v.(bool)
	if !ok {
		return nil, invalid(at, "it must be true or false")
	}
	return func(v any) bool { return (v != absent) == want }, nil
}

func cidr(at string, v any) (test, error) {
	s, _ := v.(string)
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return nil, invalid(at, `it must be a range of addresses such as "10.0.0.0/8"`)
	}
	return onText(func(v string) bool {
		a, err := netip.ParseAddr(v)
		return err == nil && p.Contains(a)
	}), nil
}

// Match reports whether the document, as encoding/json decodes an object with
// its numbers as json.Number, is one of the pattern's.
func (p *Pattern) Match(doc map[string]any) bool {
	for i := range p.fields {
		if !p.fields[i].match(doc) {
			return false
		}
	}
	for _, either := range p.either {
		if !slices.ContainsFunc(either, func(p *Pattern) bool { return p.Match(doc) }) {
			return false
		}
	}
	return true
}

func (f *field) match(doc map[string]any) bool {
	v, ok := doc[f.name]
	if f.inner != nil {
		switch v := v.(type) {
		case map[string]any:
			return f.inner.Match(v)
		case []any: // of objects, one must match
			return slices.ContainsFunc(v, func(e any) bool {
				m, ok := e.(map[string]any)
				return ok && f.inner.Match(m)
			})
		}
		return f.inner.Match(nil) // such as {"exists": false}
	}
	if !ok {
		v = absent
	}
	if list, ok := v.([]any); ok { // of values, one must do
		if len(list) == 0 {
			return f.any(absent)
		}
		return slices.ContainsFunc(list, f.any)
	}
	return f.any(v)
}

func (f *field) any(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		v = struct{ object bool }{} // is there, and equal to nothing
	}
	for _, t := range f.tests {
		if t(v) {
			return true
		}
	}
	return false
}
