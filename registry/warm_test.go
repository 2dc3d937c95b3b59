package registry

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
)

// What is to be kept warm is known of all namespaces, as its newest version says.
func TestWarm(t *testing.T) {
	p := open(t, nil)
	code := zipped(t, "main.py", "def main(event): pass\n")
	for _, d := range []struct {
		ns   rouse.Namespace
		name string
		min  int
	}{{"default", "a", 1}, {"default", "b", 0}, {"other", "a", 2}, {"third", "was", 1}, {"third", "was", 0}} {
		f := rouse.Function{Ref: rouse.Ref{Namespace: d.ns, Name: d.name}, Runtime: "python3", Limits: rouse.Limits{Min: d.min}}
		if _, err := p.Deploy(t.Context(), f, bytes.NewReader(code), nil); err != nil {
			t.Fatal(err)
		}
	}
	fs, err := p.Warm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range fs {
		got[f.Ref.String()] = f.Limits.Min
	}
	if d := cmp.Diff(map[string]int{"default/a": 1, "other/a": 2}, got); d != "" {
		t.Error(d)
	}
}
