package event

import (
	"bytes"
	"maps"
	"testing"

	"github.com/rouse-run/rouse"
)

func TestCauseOf(t *testing.T) {
	if c := CauseOf(t.Context()); c != (Cause{}) {
		t.Errorf("%+v", c)
	}
	asked := rouse.WithPrincipal(t.Context(), rouse.Principal{Name: "f", Activation: "a", Hops: 2})
	if c := CauseOf(asked); c != (Cause{"a", 3}) {
		t.Errorf("of one who asks: %+v", c)
	}
	if c := CauseOf(WithCause(asked, Cause{"b", 9})); c != (Cause{"b", 9}) {
		t.Errorf("as it was said: %+v", c)
	}
	if c := CauseOf(rouse.WithPrincipal(t.Context(), rouse.Principal{Operator: true})); c != (Cause{}) {
		t.Errorf("of an operator: %+v", c)
	}
}

func TestCauseInAttributes(t *testing.T) {
	mine := map[string]string{"k": "v", AttributeHops: "7", AttributeActivation: "r/id", AttributeReplayed: "true", "rousewhatever": "x", "arouse": "y"}
	kept := maps.Clone(mine)
	e := rouse.Event{Attributes: Cause{"a", 3}.In(mine)}
	if !maps.Equal(e.Attributes, map[string]string{"k": "v", "arouse": "y", AttributeHops: "3", AttributeCause: "a"}) || !maps.Equal(mine, kept) {
		t.Errorf("%v, of %v", e.Attributes, mine)
	}
	if c := CauseIn(&e); c != (Cause{"a", 3}) {
		t.Errorf("%+v", c)
	}
	if got := (Cause{}).In(mine); !maps.Equal(got, map[string]string{"k": "v", "arouse": "y"}) {
		t.Errorf("without a cause %v", got)
	}
	if got := (Cause{Hops: 2}).In(nil); !maps.Equal(got, map[string]string{AttributeHops: "2"}) {
		t.Errorf("without an ID %v", got)
	}
	if c := CauseIn(&rouse.Event{}); c != (Cause{}) || c.In(nil) != nil {
		t.Errorf("%+v", c)
	}
}

// What has a cause is taken apart into what it was made of, and other bytes
// stay what they are.
func FuzzUnwrap(f *testing.F) {
	f.Add(Cause{"an activation", 7}.Wrap([]byte("body")))
	f.Add(Cause{"", -1}.Wrap(nil))
	f.Add([]byte{1, 2, 3})
	f.Add([]byte{wrapped})
	f.Add([]byte{wrapped, 0, 0})
	f.Add([]byte{wrapped, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, body, err := Unwrap(b)
		if err != nil {
			return
		}
		c2, body2, err := Unwrap(c.Wrap(body))
		if c == (Cause{}) {
			if !bytes.Equal(body, b) {
				t.Errorf("%x became %x", b, body)
			}
			return
		}
		if err != nil || c2 != c || !bytes.Equal(body2, body) {
			t.Errorf("%x: %+v %x became %+v %x, %v", b, c, body, c2, body2, err)
		}
	})
}

func TestActivationOf(t *testing.T) {
	if got := ActivationOf(t.Context()); got != "" {
		t.Errorf("%q", got)
	}
	if got := ActivationOf(WithActivation(t.Context(), "a rule", "an id")); got != "a rule/an id" {
		t.Errorf("%q", got)
	}
}
