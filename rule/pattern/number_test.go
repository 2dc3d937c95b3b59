package pattern

import (
	"encoding/json"
	"math/big"
	"testing"
)

// Numbers are told apart digit by digit, and are the same however they are
// written.
func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		pattern, doc string
		want         bool
	}{
		{`{"n": [9007199254740993]}`, `{"n": 9007199254740993}`, true},
		{`{"n": [9007199254740993]}`, `{"n": 9007199254740992}`, false},
		{`{"n": [{"anything-but": 9007199254740993}]}`, `{"n": 9007199254740992}`, true},
		{`{"n": [0.1]}`, `{"n": 0.10}`, true},
		{`{"n": [100]}`, `{"n": 1e2}`, true},
		{`{"n": [1E2]}`, `{"n": 100.0}`, true},
		{`{"n": [0]}`, `{"n": -0.0e5}`, true},
		{`{"n": [12345678901234567890123456789012345678]}`, `{"n": 12345678901234567890123456789012345679}`, false},
		{`{"n": [{"numeric": [">", 9007199254740992]}]}`, `{"n": 9007199254740993}`, true},
		{`{"n": [{"numeric": [">", 9007199254740992]}]}`, `{"n": 9007199254740992}`, false},
		{`{"n": [{"numeric": ["<", -9007199254740992]}]}`, `{"n": -9007199254740993}`, true},
		{`{"n": [{"numeric": [">=", 0.1, "<", 0.1000000000000000000001]}]}`, `{"n": 0.10000000000000000000001}`, true},
		{`{"n": [{"numeric": ["<", 1e400]}]}`, `{"n": 1e399}`, true},
		{`{"n": [{"numeric": ["<", 1e99999999999999999999]}]}`, `{"n": 1e99999}`, true},
		{`{"n": [{"numeric": [">", 0]}]}`, `{"n": 1e-99999999999999999999}`, true},
	} {
		p, err := Parse([]byte(c.pattern))
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		if got := p.Match(document(t, c.doc)); got != c.want {
			t.Errorf("%s matches %s: %v", c.pattern, c.doc, got)
		}
	}
}

func FuzzNumbers(f *testing.F) {
	all := []string{"0", "-0", "1", "-1", "10", "0.1", "1e-400", "-1e-400", "1e-401", "1e400", "9007199254740992", "9007199254740993", "-9007199254740993", "123456789012345678901e-20", "0.00100"}
	for _, a := range all {
		for _, b := range all {
			f.Add(a, b)
		}
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		var x, y json.Number
		if len(a) > 50 || len(b) > 50 || json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil || x == "" || y == "" {
			return
		}
		v, w := numberOf(x), numberOf(y)
		if max(v.exponent, -v.exponent, w.exponent, -w.exponent) > 10_000 { // too many digits to write
			return
		}
		p, _ := new(big.Rat).SetString(string(x))
		q, _ := new(big.Rat).SetString(string(y))
		if got, want := v.compare(w), p.Cmp(q); got != want {
			t.Errorf("%s to %s is %d, not %d", a, b, got, want)
		}
	})
}
