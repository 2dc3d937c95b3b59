package pattern

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

func document(t testing.TB, s string) map[string]any {
	t.Helper()
	m, err := decode(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func decode(s string) (m map[string]any, err error) {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	return m, d.Decode(&m)
}

func TestMatch(t *testing.T) {
	const doc = `{"name": "a/cat.JPG", "size": 300, "tags": ["red", "big"], "owner": {"id": 7, "mail": "x@y.z"}, "parts": [{"n": 1, "c": "a"}, {"n": 2, "c": "b"}],
		"none": null, "yes": true, "empty": [], "ip": "10.1.2.3", "@type": "file.written", "star": "a*b"}`
	d := document(t, doc)
	for _, c := range []struct {
		pattern string
		want    bool
	}{
		{``, true},
		{`null`, true},
		{`{}`, true},
		{`{"name": ["a/cat.JPG"]}`, true},
		{`{"name": "a/cat.JPG"}`, true},
		{`{"name": ["a/cat.jpg"]}`, false},
		{`{"name": [{"equals-ignore-case": "A/CAT.jpg"}]}`, true},
		{`{"name": [{"prefix": "a/"}]}`, true},
		{`{"name": [{"prefix": "b/"}]}`, false},
		{`{"name": [{"suffix": ".JPG"}]}`, true},
		{`{"name": [{"suffix": {"equals-ignore-case": ".jpg"}}]}`, true},
		{`{"name": [{"prefix": {"equals-ignore-case": "A/C"}}]}`, true},
		{`{"name": [{"suffix": ".png"}, {"prefix": "a"}]}`, true},
		{`{"name": [{"wildcard": "a/*.JPG"}]}`, true},
		{`{"name": [{"wildcard": "*t*"}]}`, true},
		{`{"name": [{"wildcard": "a/cat.JPG*a/cat.JPG"}]}`, false},
		{`{"name": [{"wildcard": "*x*"}]}`, false},
		{`{"star": [{"wildcard": "a\\*b"}]}`, true},
		{`{"name": [{"wildcard": "a\\*b"}]}`, false},
		{`{"name": [{"anything-but": "a/dog"}]}`, true},
		{`{"name": [{"anything-but": ["a/dog", "a/cat.JPG"]}]}`, false},
		{`{"name": [{"anything-but": {"prefix": "a/"}}]}`, false},
		{`{"name": [{"anything-but": {"suffix": [".png", ".gif"]}}]}`, true},
		{`{"nothing": [{"anything-but": "x"}]}`, false},
		{`{"size": [300]}`, true},
		{`{"size": [300.0]}`, true},
		{`{"size": ["300"]}`, false},
		{`{"size": [{"numeric": [">", 0, "<=", 300]}]}`, true},
		{`{"size": [{"numeric": [">", 300]}]}`, false},
		{`{"size": [{"numeric": ["=", 300]}]}`, true},
		{`{"name": [{"numeric": ["=", 300]}]}`, false},
		{`{"tags": ["big"]}`, true},
		{`{"tags": ["small"]}`, false},
		{`{"owner": {"id": [7]}}`, true},
		{`{"owner": {"id": [8]}}`, false},
		{`{"owner": {"phone": [{"exists": false}]}}`, true},
		{`{"owner": [{"exists": true}]}`, true},
		{`{"landlord": {"phone": [{"exists": false}]}}`, true},
		{`{"landlord": {"phone": [{"exists": true}]}}`, false},
		{`{"parts": {"n": [1], "c": ["a"]}}`, true},
		{`{"parts": {"n": [1], "c": ["b"]}}`, false},
		{`{"none": [null]}`, true},
		{`{"nothing": [null]}`, false},
		{`{"none": [{"exists": true}]}`, true},
		{`{"yes": [true]}`, true},
		{`{"yes": [false]}`, false},
		{`{"empty": [{"exists": false}]}`, true},
		{`{"ip": [{"cidr": "10.0.0.0/8"}]}`, true},
		{`{"ip": [{"cidr": "11.0.0.0/8"}]}`, false},
		{`{"@type": ["file.written"]}`, true},
		{`{"$or": [{"size": [1]}, {"yes": [true]}]}`, true},
		{`{"$or": [{"size": [1]}, {"yes": [false]}]}`, false},
		{`{"name": [{"prefix": "a"}], "$or": [{"size": [1]}, {"yes": [true]}]}`, true},
	} {
		p, err := Parse([]byte(c.pattern))
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		if got := p.Match(d); got != c.want {
			t.Errorf("%s: %v", c.pattern, got)
		}
	}
}

func TestWhatIsNoPattern(t *testing.T) {
	for pattern, at := range map[string]string{
		`[`:                                      "",
		`[]`:                                     "",
		`{} {}`:                                  "",
		`{"a": []}`:                              "a",
		`{"a": [[1]]}`:                           "a",
		`{"a": {"b": []}}`:                       "a.b",
		`{"a": [{"prefix": 1}]}`:                 "a.prefix",
		`{"a": [{"perfix": "x"}]}`:               "a",
		`{"a": [{"prefix": "x", "suffix": ""}]}`: "a",
		`{"a": [{"numeric": [">"]}]}`:            "a.numeric",
		`{"a": [{"numeric": [">", "1"]}]}`:       "a.numeric",
		`{"a": [{"numeric": ["!", 1]}]}`:         "a.numeric",
		`{"a": [{"exists": "x"}]}`:               "a.exists",
		`{"a": [{"anything-but": []}]}`:          "a.anything-but",
		`{"a": [{"anything-but": {"numeric": [">", 1]}}]}`: "a.anything-but",
		`{"a": [{"wildcard": "\\x"}]}`:                     "a.wildcard",
		`{"a": [{"wildcard": "*****************"}]}`:       "a.wildcard",
		`{"a": [{"cidr": "10"}]}`:                          "a.cidr",
		`{"$or": []}`:                                      "$or",
		`{"$or": [{"x": []}]}`:                             "$or[0].x",
	} {
		_, err := Parse([]byte(pattern))
		e, ok := err.(*rouse.Error)
		if !ok || e.Kind != rouse.Invalid || e.On != at {
			t.Errorf("%s: %v at %q, not at %q", pattern, err, e.On, at)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"a": [{"anything-but": {"prefix": ["a"]}}], "$or": [{"b": [1, null]}]}`, `{"a": "x", "b": [1]}`)
	f.Add(`{"a": ["x", "y"], "b": "z"}`, `{"a": ["y", "x"], "b": "z"}`)
	f.Add(`{"a": [{"wildcard": "*a*"}]}`, `{"a": {"a": 1}}`)
	f.Fuzz(func(t *testing.T, pattern, doc string) {
		p, err := Parse([]byte(pattern))
		if err != nil {
			return
		}
		d, err := decode(doc)
		if err != nil {
			return
		}
		var s Set[int]
		s.Add(1, p)
		if got := len(s.Match(d)); got > 1 || (got == 1) != p.Match(d) {
			t.Errorf("a set finds %s %d times in %s", pattern, got, doc)
		}
	})
}

func many(t testing.TB, n int) *Set[int] {
	t.Helper()
	s := &Set[int]{}
	for i := range n {
		p, err := Parse(fmt.Appendf(nil, `{"@type": ["order"], "customer": ["c%d", "d%d"], "sum": [{"numeric": [">", %d]}]}`, i, i, i%3))
		if err != nil {
			t.Fatal(err)
		}
		s.Add(i, p)
	}
	return s
}

func TestManyPatterns(t *testing.T) {
	s := many(t, 1000)
	for doc, want := range map[string][]int{
		`{"@type": "order", "customer": "c7", "sum": 2}`:               {7},
		`{"@type": "order", "customer": "d7", "sum": 1}`:               nil,
		`{"@type": "order", "customer": ["d7", "c7", "c9"], "sum": 5}`: {7, 9},
		`{"@type": "refund", "customer": "c7", "sum": 2}`:              nil,
		`{"@type": "order", "customer": "nobody", "sum": 2}`:           nil,
	} {
		if got := s.Match(document(t, doc)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, not %v", doc, got, want)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, d := many(b, n), document(b, `{"@type": "order", "customer": "c0", "sum": 2}`)
			for b.Loop() {
				if len(s.Match(d)) != 1 {
					b.Fatal("no match")
				}
			}
		})
	}
}
