package main

import (
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/rouse-run/rouse"
)

// size prints bytes as "1.2MiB", and nothing known as "-".
func size(n int64) string {
	if n == 0 {
		return "-"
	}
	return units.BytesSize(float64(n))
}

// ago prints a time as "3 minutes ago".
func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := time.Since(t)
	if d < time.Second {
		return "now"
	}
	return strings.ToLower(units.HumanDuration(d)) + " ago"
}

// span prints a duration with three digits, and none as "-".
func span(d rouse.Duration) string {
	v := time.Duration(d)
	switch {
	case v == 0:
		return "-"
	case v < time.Millisecond:
		return v.Round(time.Microsecond).String()
	case v < time.Second:
		return v.Round(10 * time.Microsecond).String()
	}
	return v.Round(10 * time.Millisecond).String()
}

// moment reads a flag that is a time or how long ago that was.
func moment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, rouse.Errorf(rouse.Invalid, "read --since", s, "it must be how long ago, such as 90m, or a time such as 2006-01-02T15:04:05Z")
	}
	return t, nil
}

// bytesFlag is a flag such as "256MB", in units of 1024. It implements pflag.Value.
type bytesFlag int64

func (b *bytesFlag) String() string {
	if *b == 0 {
		return ""
	}
	return units.BytesSize(float64(*b))
}

func (b *bytesFlag) Set(s string) error {
	n, err := units.RAMInBytes(s)
	if err != nil || n <= 0 {
		return rouse.Errorf(rouse.Invalid, "read size", s, "it must be a number with a unit, such as 256MB or 1GB")
	}
	*b = bytesFlag(n)
	return nil
}

func (b *bytesFlag) Type() string { return "size" }
