package table

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// What a number may be: the digits, and the exponent of the first of them.
const (
	maxDigits = 38
	minFirst  = -130
	maxFirst  = 125
	maxText   = 512 // bytes
)

// sums has a digit more than a number may, so that a sum that does not fit is
// told apart from one that does.
var sums = apd.Context{Precision: 2*maxDigits + maxFirst - minFirst, MaxExponent: 1000, MinExponent: -1000, Traps: apd.DefaultTraps}

// parseNumber reads decimal text and checks its range.
func parseNumber(s string) (*apd.Decimal, error) {
	if len(s) > maxText || strings.Trim(s, "+-.0123456789eE") != "" {
		return nil, fmt.Errorf("%.40q is not a decimal number", s)
	}
	d, _, err := apd.NewFromString(s)
	if err != nil || d.Form != apd.Finite {
		return nil, fmt.Errorf("%.40q is not a decimal number", s)
	}
	return d, fit(d)
}

// fit brings d to its shortest form and fails where it is too long or too large.
func fit(d *apd.Decimal) error {
	d.Reduce(d)
	if d.IsZero() {
		d.Negative, d.Exponent = false, 0
		return nil
	}
	digits := d.NumDigits()
	if digits > maxDigits {
		return fmt.Errorf("a number has up to %d significant digits, not %d", maxDigits, digits)
	}
	if first := int64(d.Exponent) + digits - 1; first < minFirst || first > maxFirst {
		return fmt.Errorf("a number is from 1e%d to 1e%d in size, or 0", minFirst, maxFirst+1)
	}
	return nil
}

// canonical returns the one text of a number.
func canonical(d *apd.Decimal) string {
	if d.Exponent > 0 && d.NumDigits()+int64(d.Exponent) > maxDigits || d.Exponent < -maxDigits {
		return strings.ReplaceAll(strings.ToLower(d.Text('E')), "e+", "e")
	}
	return d.Text('f')
}

// add returns the canonical sum of a and b, or their difference.
func add(a, b string, minus bool) (string, error) {
	x, err := parseNumber(a)
	if err != nil {
		return "", err
	}
	y, err := parseNumber(b)
	if err != nil {
		return "", err
	}
	if minus {
		y.Negative = !y.Negative
	}
	var sum apd.Decimal
	if _, err := sums.Add(&sum, x, y); err != nil {
		return "", err
	}
	if err := fit(&sum); err != nil {
		return "", err
	}
	return canonical(&sum), nil
}

// compareNumbers compares canonical texts.
func compareNumbers(a, b string) int {
	if a == b {
		return 0
	}
	x, errX := parseNumber(a)
	y, errY := parseNumber(b)
	if errX != nil || errY != nil { // they were checked when they came in
		return strings.Compare(a, b)
	}
	return x.Cmp(y)
}

// A number's key is one byte for its sign, one for the exponent of its first
// digit, its digits by twos, each pair plus one, and a zero. All but the first
// are inverted where it is negative. Their bytes sort as the numbers do.
const (
	negative = 1
	zero     = 2
	positive = 3
)

// appendNumber appends the key of a canonical number.
func appendNumber(to []byte, text string) ([]byte, error) {
	d, err := parseNumber(text)
	if err != nil {
		return nil, err
	}
	if d.IsZero() {
		return append(to, zero), nil
	}
	digits := d.Coeff.String()
	if d.Negative {
		to = append(to, negative)
	} else {
		to = append(to, positive)
	}
	start := len(to)
	to = append(to, byte(int(d.Exponent)+len(digits)-1-minFirst))
	for i := 0; i < len(digits); i += 2 {
		pair := (digits[i] - '0') * 10
		if i+1 < len(digits) {
			pair += digits[i+1] - '0'
		}
		to = append(to, pair+1)
	}
	to = append(to, 0)
	if d.Negative {
		for i := start; i < len(to); i++ {
			to[i] = ^to[i]
		}
	}
	return to, nil
}

// wholeSeconds returns a positive number without its fraction; ok is false for
// one too large.
func wholeSeconds(d *apd.Decimal) (n uint64, ok bool) {
	if int64(d.Exponent)+d.NumDigits() > 18 {
		return 0, false
	}
	var whole, fraction apd.Decimal
	d.Modf(&whole, &fraction)
	i, err := whole.Int64()
	return uint64(i), err == nil
}
