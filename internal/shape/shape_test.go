package shape

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

func TestOf(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{{"", "a text"}, {true, "true or false"}, {1, "a whole number"}, {1.5, "a number"}, {[]string{}, "a list"}, {[]byte{}, "a text in base64"}, {map[string]int{}, "an object"},
		{struct{ A struct{ B int } }{}, "an object"}, {new(string), "a text"}, {time.Time{}, "a text"}, {func() {}, "another value"}} {
		if got := Of(reflect.TypeOf(c.v)); got != c.want {
			t.Errorf("%T is %s, want %s", c.v, got, c.want)
		}
	}
	if got := Of(nil); got != "another value" {
		t.Error(got)
	}
}

// The words that encoding/json has are known.
func TestNamed(t *testing.T) {
	for text, want := range map[string]string{`""`: "a text", `1`: "a number", `true`: "true or false", `[]`: "a list", `{}`: "an object"} {
		err, ok := json.Unmarshal([]byte(text), new(chan int)).(*json.UnmarshalTypeError)
		if !ok {
			t.Fatal(text)
		}
		if got := Named(err.Value); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	if got := Named("number 1.5"); got != "number 1.5" {
		t.Error(got)
	}
}
