package node

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rouse-run/rouse/event"
)

func TestWhatIsSignedIsBelieved(t *testing.T) {
	k := hopKey("a key")
	signed := k.sign(event.Cause{ID: "id", Hops: 7})
	for _, c := range []struct {
		path, header string
		want         event.Cause
	}{
		{"/on/t", signed, event.Cause{ID: "id", Hops: 7}},
		{"/on/other:t/below", signed, event.Cause{ID: "id", Hops: 7}},
		{"/fn/f", signed, event.Cause{ID: "id", Hops: 7}},
		{"/fn/f", "7.id.00", event.Cause{}},
		{"/on/t", hopKey("another").sign(event.Cause{ID: "id", Hops: 7}), event.Cause{}},
		{"/on/t", "9" + signed[1:], event.Cause{}},
		{"/on/t", "1000", event.Cause{}},
	} {
		r := httptest.NewRequest("POST", c.path, nil)
		r.Header.Set(event.HopHeader, c.header)
		got := k.admit(r)
		if is := event.CauseOf(got.Context()); is != c.want || got.Header.Get(event.HopHeader) != "" {
			t.Errorf("%s %s: %+v, %v", c.path, c.header, is, got.Header)
		}
	}
}

// Nothing is read but what was signed.
func FuzzHop(f *testing.F) {
	k := hopKey("a key")
	f.Add("", 0, "")
	f.Add("1.id.00", 3, "a.b")
	f.Add(k.sign(event.Cause{ID: "id", Hops: 1}), 1, "id")
	f.Add("..", 1<<40, ".")
	f.Add(strings.ToUpper(k.sign(event.Cause{ID: "1", Hops: 1})), 1, "id") // is another text
	f.Fuzz(func(t *testing.T, text string, hops int, id string) {
		if c, ok := k.read(text); ok && k.sign(c) != text {
			t.Errorf("%q is read as %+v", text, c)
		}
		c := event.Cause{ID: id, Hops: max(hops, 0)}
		if got, ok := k.read(k.sign(c)); !ok || got != c {
			t.Errorf("%+v became %+v", c, got)
		}
	})
}
