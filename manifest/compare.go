package manifest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/rouse-run/rouse/event"
)

// given are fields that a server adds to what it was told.
var given = []string{"namespace", "created", "notes", "counts", "status", "paused", "resumed", "filling", "name"}

// bare is a document without what the server adds to it; it is changed.
func bare(d document) document {
	for _, k := range given {
		delete(d, k)
	}
	return d
}

// reveal puts into a document what was given in the place of what is hidden.
func reveal(to, from any) {
	t, ok := to.(document)
	f, both := from.(document)
	if !ok || !both {
		return
	}
	for k, v := range t {
		if isHidden(v) && f[k] != nil {
			t[k] = f[k]
			continue
		}
		reveal(v, f[k])
	}
}

// hidden reports whether a document has secrets that are not shown.
func hidden(v any) bool {
	m, _ := v.(document)
	for _, e := range m {
		if isHidden(e) || hidden(e) {
			return true
		}
	}
	return false
}

func isHidden(v any) bool {
	text, ok := v.(string)
	return ok && event.IsHidden(text)
}

// compare says in which fields two documents differ. A zero value is the same as
// none, but in patterns and templates.
func compare(at string, want, have document) (details []string) {
	for _, k := range keys(want) {
		name := strings.TrimPrefix(at+"."+k, ".")
		w, h := want[k], have[k]
		wm, wok := w.(document)
		hm, hok := h.(document)
		foreign := k == "when" || k == "input" // its zero values mean something
		switch {
		case wok && hok && !foreign:
			details = append(details, compare(name, wm, hm)...)
		case !foreign && same(w, h), isHidden(h) && (w == event.Hidden || event.IsOf(h.(string), fmt.Sprint(w))):
		case isHidden(h):
			details = append(details, fmt.Sprintf("%s: %s -> %s", name, event.Hidden, event.Hidden))
		case !reflect.DeepEqual(w, h):
			details = append(details, fmt.Sprintf("%s: %s -> %s", name, show(name, h), show(name, w)))
		}
	}
	for _, k := range keys(have) {
		if _, known := want[k]; !known && !zero(have[k]) {
			name := strings.TrimPrefix(at+"."+k, ".")
			details = append(details, fmt.Sprintf("%s: %s -> none", name, show(name, have[k])))
		}
	}
	return details
}

// same reports whether two values mean the same: a zero value is the same as
// none.
func same(a, b any) bool {
	if zero(a) && zero(b) {
		return true
	}
	if x, ok := a.([]any); ok {
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, same)
	}
	x, ok := a.(document)
	y, both := b.(document)
	if !ok || !both {
		return reflect.DeepEqual(a, b)
	}
	for k := range x {
		if !same(x[k], y[k]) {
			return false
		}
	}
	for k := range y {
		if _, known := x[k]; !known && !zero(y[k]) {
			return false
		}
	}
	return true
}

func zero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case document:
		for _, e := range v {
			if !zero(e) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	}
	return reflect.ValueOf(v).IsZero()
}

// spans are the fields whose numbers are milliseconds.
var spans = []string{"keep", "changes", "visibility", "delay", "window", "backoff", "age", "every", "settle", "timeout"}

// show is the value of a field as people read it; secrets are not.
func show(path string, v any) string {
	if v == nil {
		return "none"
	}
	low := strings.ToLower(path)
	if isHidden(v) || strings.Contains(low, "secret") || strings.Contains(low, "password") || strings.HasPrefix(low, "config.users") {
		return event.Hidden
	}
	if ms, ok := v.(float64); ok && slices.Contains(spans, low[strings.LastIndexByte(low, '.')+1:]) {
		return shortSpan(time.Duration(ms * float64(time.Millisecond)))
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(b) > 80 {
		return string(b[:77]) + "..."
	}
	return string(b)
}

// shortSpan is a duration as a manifest has it, such as 7d or 48h.
func shortSpan(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
