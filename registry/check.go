package registry

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
)

// maxEnv bounds the names and values of an environment together.
const maxEnv = 128 << 10

// maxRecorded bounds the notes that every activation keeps: bytes.
const maxRecorded = 8 << 10

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func checkNames(f rouse.Function) error {
	if err := rouse.CheckName(string(f.Namespace)); err != nil {
		return err
	}
	if err := rouse.CheckFunction(f.Name); err != nil {
		return err
	}
	for _, notes := range []rouse.Notes{f.Notes, f.Recorded} {
		for dialect, note := range notes {
			if !json.Valid(note) {
				return rouse.Errorf(rouse.Invalid, opDeploy, f.Ref.String(), "the note of %s is not JSON", dialect)
			}
		}
	}
	size := 0
	for dialect, note := range f.Recorded {
		size += len(dialect) + len(note)
	}
	if size > maxRecorded {
		return rouse.Errorf(rouse.TooLarge, opDeploy, f.Ref.String(), "what its activations record of it has %d bytes; %d is the most", size, maxRecorded)
	}
	return nil
}

// filled returns l with the fields of by where its own are zero.
func filled(l, by rouse.Limits) rouse.Limits {
	fill(&l.Memory, by.Memory)
	fill(&l.Tmp, by.Tmp)
	fill(&l.Timeout, by.Timeout)
	fill(&l.Concurrency, by.Concurrency)
	fill(&l.Min, by.Min)
	fill(&l.Max, by.Max)
	fill(&l.Queue, by.Queue)
	fill(&l.Answer, by.Answer)
	fill(&l.Log, by.Log)
	fill(&l.Processes, by.Processes)
	return l
}

func fill[T comparable](field *T, by T) {
	var zero T
	if *field == zero {
		*field = by
	}
}

// checkLimits refuses limits that can't be kept. All are set.
func checkLimits(f rouse.Function, memory int64) error {
	l := f.Limits
	size := func(n int64) string {
		if n%(1<<20) == 0 || n > 1<<30 {
			return fmt.Sprintf("%d MB", n>>20)
		}
		return fmt.Sprintf("%d bytes", n)
	}
	span := func(n int64) string { return time.Duration(n).String() }
	count := func(n int64) string { return fmt.Sprint(n) }
	for _, c := range []struct {
		name            string
		is, least, most int64
		say             func(int64) string
	}{
		{"memory", l.Memory, 16 << 20, memory, size},
		{"tmp", l.Tmp, 0, l.Memory, size},
		{"timeout", int64(l.Timeout), int64(time.Millisecond), int64(24 * time.Hour), span},
		{"concurrency", int64(l.Concurrency), 1, 1000, count},
		{"min", int64(l.Min), 0, 1000, count},
		{"max", int64(l.Max), 0, 100_000, count},
		{"queue", int64(l.Queue), 1, 1_000_000, count},
		{"answer", l.Answer, 1, 1 << 30, size},
		{"log", l.Log, 1, 1 << 30, size},
		{"processes", int64(l.Processes), 1, 32_768, count},
		{"retry.attempts", int64(f.Retry.Attempts), 1, 1000, count},
		{"retry.backoff", int64(f.Retry.Backoff), 0, int64(24 * time.Hour), span},
	} {
		if c.is < c.least || c.is > c.most {
			return rouse.Errorf(rouse.Invalid, opDeploy, f.Ref.String(), "%s is %s: it must be from %s to %s",
				c.name, c.say(c.is), c.say(c.least), c.say(c.most))
		}
	}
	if l.Max > 0 && l.Min > l.Max {
		return rouse.Errorf(rouse.Invalid, opDeploy, f.Ref.String(), "min is %d: it must not be more than max, which is %d", l.Min, l.Max)
	}
	return nil
}

// maxAllow bounds what a function is allowed.
const maxAllow = 100

// checkAllow refuses what is no grant, and gives the others one form.
func checkAllow(f rouse.Function) ([]string, error) {
	if len(f.Allow) > maxAllow {
		return nil, rouse.Errorf(rouse.Invalid, opDeploy, f.Ref.String(), "allow has %d entries: it must not have more than %d; a name that ends in * stands for many", len(f.Allow), maxAllow)
	}
	var allow []string
	for _, text := range f.Allow {
		g, err := rouse.ParseGrant(text)
		if err != nil {
			return nil, about(f, err)
		}
		allow = append(allow, g.String())
	}
	return allow, nil
}

func checkEnv(f rouse.Function) error {
	refuse := func(format string, args ...any) error {
		return rouse.Errorf(rouse.Invalid, opDeploy, f.Ref.String(), format, args...)
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(f.Env)) {
		size += len(name) + len(f.Env[name]) + 2
		switch {
		case !envName.MatchString(name):
			return refuse("env %q is no name: it is made of A-Z a-z 0-9 _ and begins with no digit", name)
		case strings.HasPrefix(name, "ROUSE_"):
			return refuse("env %s: names that begin with ROUSE_ are the platform's own", name)
		case strings.ContainsRune(f.Env[name], 0):
			return refuse("env %s has a NUL in its value", name)
		}
	}
	if size > maxEnv {
		return refuse("env has %d bytes: it must not have more than %d", size, maxEnv)
	}
	return nil
}
