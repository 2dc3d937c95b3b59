package decoded

import (
	"errors"
	"fmt"
	"testing"
)

func TestCache(t *testing.T) {
	var c Cache[string, string]
	decoded := 0
	get := func(key, stored string) string {
		t.Helper()
		v, err := c.Get(key, []byte(stored), func() (string, error) {
			decoded++
			return "of " + stored, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, s := range []struct {
		key, stored string
		decoded     int
	}{{"a", "1", 1}, {"a", "1", 1}, {"b", "1", 2}, {"a", "2", 3}, {"a", "2", 3}, {"a", "1", 4}, {"b", "1", 4}} {
		if v := get(s.key, s.stored); v != "of "+s.stored || decoded != s.decoded {
			t.Errorf("%v: %q, %d were decoded", s, v, decoded)
		}
	}
	broken := errors.New("broken")
	for range 2 {
		if _, err := c.Get("x", nil, func() (string, error) { decoded++; return "", broken }); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	}
	if decoded != 6 {
		t.Error("what could not be decoded is kept")
	}
	for i := range 2 * maxKnown {
		get(fmt.Sprint(i), "x")
	}
	if len(c.known) > maxKnown {
		t.Errorf("%d are kept", len(c.known))
	}
}
