package rouse

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
)

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"", "a", "-a", "a-b_c.d", "é", "a b", strings.Repeat("x", 128), strings.Repeat("x", 129), "0", ".", "a\x00"} {
		f.Add(s)
	}
	pattern := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	f.Fuzz(func(t *testing.T, s string) {
		err := CheckName(s)
		if want := pattern.MatchString(s) && !strings.HasSuffix(s, "\n"); (err == nil) != want {
			t.Errorf("%q: %v", s, err)
		}
		if err != nil && KindOf(err) != Invalid {
			t.Errorf("%q: kind %v", s, KindOf(err))
		}
	})
}

func TestDurationsAreMilliseconds(t *testing.T) {
	b, err := json.Marshal(Duration(1500 * time.Microsecond))
	if err != nil || string(b) != "1.5" {
		t.Errorf("%s %v", b, err)
	}
	for text, want := range map[string]time.Duration{`1.5`: 1500 * time.Microsecond, `"30s"`: 30 * time.Second, `0`: 0} {
		var d Duration
		if err := json.Unmarshal([]byte(text), &d); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %v %v", text, d, err)
		}
	}
	for _, text := range []string{`"x"`, `true`, `[]`} {
		var d Duration
		if err := json.Unmarshal([]byte(text), &d); err == nil {
			t.Errorf("%s was taken as %v", text, d)
		}
	}
}

func TestWordsComeBack(t *testing.T) {
	for i := range Statuses() {
		b, err := json.Marshal(Status(i))
		var s Status
		if err != nil || json.Unmarshal(b, &s) != nil || s != Status(i) {
			t.Errorf("status %d: %s %v %v", i, b, s, err)
		}
	}
	for k := Internal; k <= NotImplemented; k++ {
		b, err := json.Marshal(k)
		var got Kind
		if err != nil || json.Unmarshal(b, &got) != nil || got != k {
			t.Errorf("kind %d: %s %v %v", k, b, got, err)
		}
	}
}

func TestCheckFunction(t *testing.T) {
	for _, ok := range []string{"a", "a/b", "images/resize-2", "guest:utils/echo", "a~20b", "~5Fa/b", "trigger:t", strings.Repeat("a", 768)} {
		if err := CheckFunction(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "/a", "a/", "a//b", "a/.b", ".a", "-a", "a b", "a@b", "a:/b", "a/..", "é", strings.Repeat("a", 769)} {
		if err := CheckFunction(bad); KindOf(err) != Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
