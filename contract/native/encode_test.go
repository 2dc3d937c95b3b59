package native

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/frame"
)

// seen is what a function sees of a request.
type seen struct {
	Method   string            `json:"method"`
	Path     string            `json:"path"`
	RawQuery string            `json:"rawQuery"`
	Query    map[string]string `json:"query"`
	Headers  map[string]string `json:"headers"`
	Remote   string            `json:"remote"`
}

func FuzzAppendRequest(f *testing.F) {
	f.Add("GET", "/", "", "accept", "a", "b")
	f.Add("PO\"ST", "/\\ \x00", "a=1&a=2&%zz", "X-É", "\u2028", "\xff")
	f.Fuzz(func(t *testing.T, method, path, query, key, one, two string) {
		r := &rouse.Request{Method: method, Path: path, Query: query, Header: map[string][]string{key: {one, two}}, Remote: one}
		b := appendRequest(nil, r)
		var got seen
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		for _, s := range []string{method, path, query, key, one, two} {
			if !utf8.ValidString(s) {
				return // JSON can't carry it; that it is valid JSON is enough
			}
		}
		want := seen{Method: method, Path: path, RawQuery: query, Query: map[string]string{}, Remote: one,
			Headers: map[string]string{strings.ToLower(key): one + ", " + two}}
		values, _ := url.ParseQuery(query)
		for k, v := range values {
			if !utf8.ValidString(k) || !utf8.ValidString(v[len(v)-1]) {
				return
			}
			want.Query[k] = v[len(v)-1]
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, not %+v", got, want)
		}
	})
}

func FuzzParseHead(f *testing.F) {
	for _, s := range []string{`{"status":200,"headers":{"A":"b","C":["d",1,null]}}`, `{"status":1}`, `{}`, `[]`, `{"status":201,"headers":{"A":{"b":"c"}}}`, `{"status":200,"headers":{"connection":"close"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		status, header, err := parseHead(b)
		if err == nil && (status < 200 || status > 999) {
			t.Errorf("status %d", status)
		}
		for k, v := range header {
			if err == nil && v == nil && k == "" {
				t.Errorf("header %q", k)
			}
			if err == nil && k != http.CanonicalHeaderKey(k) { // as a door relies on
				t.Errorf("header %q is not canonical", k)
			}
		}
	})
}

// FuzzFrames lets a worker say anything: a collector must end or refuse, and
// never keep more than the limit.
func FuzzFrames(f *testing.F) {
	f.Add("A\x00{}", "", "")
	f.Add("H{\"status\":200}", "Cabc", "Z")
	f.Add("F{\"type\":\"E\"}", "", "")
	f.Add("A\x07", "L\x01x", "Q")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		const limit = 8
		col := collector{limit: limit}
		for _, s := range []string{a, b, c} {
			if s == "" {
				continue
			}
			done, err := col.take(frame.Frame{Type: frame.Type(s[0]), Body: []byte(s[1:])})
			if err != nil {
				return
			}
			if col.started && int64(len(col.answer.Result)) > limit {
				t.Fatalf("%d bytes are kept", len(col.answer.Result))
			}
			if done {
				if col.answer.Status != rouse.StatusAnswered && col.answer.Failure == nil {
					t.Errorf("ended as %v without a word", col.answer.Status)
				}
				return
			}
		}
	})
}
