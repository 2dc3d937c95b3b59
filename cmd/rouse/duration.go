package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A days is a duration that may be written in days, as rouse.yaml has it.
type days time.Duration

// durationVar defines a flag that is a duration such as 30s, 24h or 7d.
func durationVar(f *pflag.FlagSet, p *time.Duration, name string, def time.Duration, about string) {
	*p = def
	f.Var((*days)(p), name, about)
}

// String implements pflag.Value; the zero value is none.
func (d *days) String() string {
	if *d == 0 {
		return ""
	}
	const day = 24 * time.Hour
	if n := time.Duration(*d); n%day == 0 && n > day {
		return fmt.Sprintf("%dd", n/day)
	}
	return time.Duration(*d).String()
}

// Set implements pflag.Value.
func (d *days) Set(text string) error {
	if n, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseInt(n, 10, 16); err == nil {
			*d = days(time.Duration(n) * 24 * time.Hour)
			return nil
		}
	}
	n, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is no duration such as 30s, 24h or 7d", text)
	}
	*d = days(n)
	return nil
}

// Type implements pflag.Value.
func (d *days) Type() string { return "duration" }
