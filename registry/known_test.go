package registry

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
)

// watched is a Meta that counts what is read, and can lose the answer to a change.
type watched struct {
	rouse.Meta
	reads int
	lost  bool
}

func (w *watched) Get(ctx context.Context, kind string, r rouse.Ref) (rouse.Doc, error) {
	w.reads++
	return w.Meta.Get(ctx, kind, r)
}

func (w *watched) Apply(ctx context.Context, changes []rouse.Change) error {
	err := w.Meta.Apply(ctx, changes)
	if w.lost && changes[0].Kind == kindHead {
		return errors.Join(err, errors.New("the connection was lost"))
	}
	return err
}

// What was deployed is known as it was stored: its first call reads nothing.
func TestWhatWasDeployedIsKnown(t *testing.T) {
	w := &watched{}
	p := open(t, func(c *Config) { w.Meta = c.Meta; c.Meta = w })
	function := func(qualifier string, reads int) (f rouse.Function) {
		t.Helper()
		before := w.reads
		f, err := p.Function(t.Context(), hello, qualifier)
		if err != nil {
			t.Error(err)
		}
		if n := w.reads - before; n != reads {
			t.Errorf("%q was read %d times, not %d", qualifier, n, reads)
		}
		return f
	}
	env := map[string]string{"color": "red"}
	p.mustDeploy(t, rouse.Function{Env: env}, "main.py", "def main(): pass")
	env["color"] = "blue" // it is the caller's
	known := function("", 0)
	if d := cmp.Diff(known, function("1", 0)); d != "" || known.Env["color"] != "red" {
		t.Errorf("version 1 is another than the newest: %s\n%v", d, known.Env)
	}
	p.known.forget(hello)
	if d := cmp.Diff(function("", 1), known); d != "" {
		t.Errorf("what is known is not what is stored: %s", d)
	}
	function("1", 0) // the newest says it
	p.mustDeploy(t, rouse.Function{}, "main.py", "def main(): return 2")
	if f := function("", 0); f.Version != 2 {
		t.Errorf("the newest is %d after the second", f.Version)
	}
	if f := function("1", 1); f.Version != 1 {
		t.Errorf("version 1 is %d", f.Version)
	}
	w.lost = true
	if _, err := p.deploy(t, rouse.Function{}, "main.py", "def main(): return 3"); err == nil {
		t.Error("a lost answer is no error")
	}
	if f := function("", 1); f.Version != 3 {
		t.Errorf("the newest is %d after a deploy whose answer was lost", f.Version)
	}
	w.lost = false
	if err := p.Remove(t.Context(), hello); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Function(t.Context(), hello, ""); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("removed: %v", err)
	}
}

// Of two changes that overlap nobody knows which is the later one: neither is
// known.
func TestChangesThatOverlapAreRead(t *testing.T) {
	k := newKnown()
	first, second := k.mark(), k.mark()
	k.replace(rouse.Function{Ref: hello, Version: 2}, second)
	if f, ok, _ := k.version(hello, "2"); !ok || f.Version != 2 {
		t.Errorf("%v, %v", f.Version, ok)
	}
	k.replace(rouse.Function{Ref: hello, Version: 1}, first)
	if f, ok, _ := k.version(hello, ""); ok {
		t.Errorf("version %d is taken for the newest", f.Version)
	}
	// Nor is one that was removed meanwhile.
	mark := k.mark()
	k.forget(hello)
	k.replace(rouse.Function{Ref: hello, Version: 3}, mark)
	if _, ok, _ := k.version(hello, "3"); ok {
		t.Error("what was removed is known")
	}
}
