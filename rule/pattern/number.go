package pattern

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
)

// A number is a JSON number as it is written: that of an order, or of a table,
// has more digits than a float64, and is another than the one after it.
type number struct {
	float    float64 // the nearest
	negative bool
	digits   string // without zeros at the ends; none is 0
	exponent int    // of ten, by which 0.digits is multiplied
}

// farthest bounds exponents: beyond it all are as far.
const farthest = 1 << 30

func numberOf(n json.Number) (v number) {
	v.float, _ = strconv.ParseFloat(string(n), 64) // out of range it is infinite, or 0
	s, negative := strings.CutPrefix(string(n), "-")
	mantissa, exponent := s, ""
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent = s[:i], s[i+1:]
	}
	whole, part, _ := strings.Cut(mantissa, ".")
	digits := whole + part
	v.digits = strings.TrimLeft(digits, "0")
	v.exponent = len(whole) - (len(digits) - len(v.digits))
	if e, err := strconv.Atoi(exponent); err == nil {
		v.exponent += max(-farthest, min(e, farthest))
	} else if exponent != "" {
		v.exponent += farthest
		if exponent[0] == '-' {
			v.exponent -= 2 * farthest
		}
	}
	v.digits = strings.TrimRight(v.digits, "0")
	v.negative = negative && v.digits != ""
	return v
}

// compare orders numbers by their values: cmp.Compare's -1, 0 and 1.
func (v number) compare(w number) int {
	switch {
	case v.float != w.float:
		return cmp.Compare(v.float, w.float)
	case v.negative != w.negative: // both are too small for a float64
		return sign(v.negative)
	case v.digits == "" || w.digits == "":
		return cmp.Compare(len(v.digits), len(w.digits)) * sign(v.negative || w.negative)
	case v.exponent != w.exponent:
		return cmp.Compare(v.exponent, w.exponent) * sign(v.negative)
	}
	return strings.Compare(v.digits, w.digits) * sign(v.negative)
}

func sign(negative bool) int {
	if negative {
		return -1
	}
	return 1
}
