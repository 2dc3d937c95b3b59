package test

import (
	"slices"
	"testing"

	"github.com/rouse-run/rouse"
)

// What is pruned and keeps from being made what takes its place is removed
// before; all else only when all is made.
func TestPruneMakesRoom(t *testing.T) {
	const begin = "functions: {audit: {code: audit.py}}\n"
	for name, c := range map[string]struct {
		before, after string
		steps         []string
	}{
		"another name for a rule on a queue": {
			"queues: {a: {}, b: {}, c: {}}\nrules: [{name: old, on: {queue: a}, to: {queue: b}}]",
			"queues: {a: {}, b: {}, d: {}}\nrules: [{name: new, on: {queue: a}, to: {queue: b}}]",
			[]string{"create queue d", "remove rule old", "create rule new", "remove queue c"}},
		"the other way round": {
			"streams: {s: {}}\nqueues: {q: {}}\nrules: [{name: old, on: {queue: q}, to: {stream: s}}]",
			"streams: {s: {}}\nqueues: {q: {}}\nrules: [{name: new, on: {stream: s}, to: {queue: q}}]",
			[]string{"remove rule old", "create rule new"}},
		"another name in a route": {
			begin + "routes: {\"GET /a/{x}\": audit}",
			begin + "routes: {\"GET /a/{y}\": audit}",
			[]string{"remove route GET /a/{x}", "create route GET /a/{y}"}},
		"changes that nobody wants to hear of any more": {
			"tables: {t: {key: k, changes: 1h}}\nqueues: {q: {}}\nrules: [{name: old, on: {table: t}, to: {queue: q}}]",
			"tables: {t: {key: k}}\nqueues: {q: {}}",
			[]string{"change table t", "remove rule old"}},
		"changes that one wants to hear of in another table": {
			"tables: {t: {key: k, changes: 1h}, u: {key: k}}\nqueues: {q: {}}\nrules: [{name: r, on: {table: t}, to: {queue: q}}]",
			"tables: {t: {key: k}, u: {key: k, changes: 1h}}\nqueues: {q: {}}\nrules: [{name: r, on: {table: u}, to: {queue: q}}]",
			[]string{"change table t", "change table u", "change rule r"}},
		"nothing in the way": {
			"streams: {s: {}}\nqueues: {q: {}}\nrules: [{name: old, on: {stream: s}, to: {queue: q}}]",
			"streams: {s: {}}\nqueues: {q: {}}\nrules: [{name: new, on: {stream: s}, to: {queue: q}}]",
			[]string{"create rule new", "remove rule old"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newShop(t, start(t, ""))
			f.write("rouse.yaml", c.before)
			if err := f.plan(false).Apply(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			f.write("rouse.yaml", c.after)
			p := f.plan(true)
			if !slices.Equal(steps(p), c.steps) {
				t.Errorf("%q, want %q", steps(p), c.steps)
			}
			if err := p.Apply(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			if left := f.plan(true); len(left.Steps) != 0 {
				t.Errorf("there is left %q", steps(left))
			}
		})
	}
	// Queues are made after those of their dead letters.
	chain := newShop(t, start(t, ""))
	chain.write("rouse.yaml", "queues: {a: {dead-letter: b}, b: {dead-letter: c}, c: {}}")
	if p := chain.plan(false); !slices.Equal(steps(p), []string{"create queue c", "create queue b", "create queue a"}) {
		t.Errorf("%q", steps(p))
	} else if err := p.Apply(t.Context(), nil); err != nil {
		t.Error(err)
	}
	// Rules that move up are set from the last on.
	f := newShop(t, start(t, ""))
	f.write("rouse.yaml", "queues: {a: {}, b: {}, c: {}, d: {}, x: {}}\nrules: [{name: r1, on: {queue: a}, to: {queue: x}}, {name: r2, on: {queue: b}, to: {queue: x}}, {name: r3, on: {queue: c}, to: {queue: x}}]")
	if err := f.plan(false).Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	f.write("rouse.yaml", "queues: {a: {}, b: {}, c: {}, d: {}, x: {}}\nrules: [{name: r1, on: {queue: b}, to: {queue: x}}, {name: r2, on: {queue: c}, to: {queue: x}}, {name: r3, on: {queue: d}, to: {queue: x}}]")
	if err := f.plan(false).Apply(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if left := f.plan(true); len(left.Steps) != 0 {
		t.Errorf("there is left %q", steps(left))
	}
	// Where that fails, what made room is put back.
	f = newShop(t, start(t, ""))
	f.write("rouse.yaml", "queues: {a: {}, b: {}, c: {}}\nrules: [{name: old, on: {queue: a}, to: {queue: b}}]")
	if err := f.plan(false).Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	f.write("rouse.yaml", "queues: {a: {}, b: {}, c: {}}\nrules: [{name: new, on: {queue: a}, to: {queue: c}}]")
	p := f.plan(true)
	if err := f.s.RemoveQueue(t.Context(), "c"); err != nil { // somebody else does
		t.Fatal(err)
	}
	if err := p.Apply(t.Context(), nil); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("%v", err)
	}
	if _, err := f.s.Rule(t.Context(), "old"); err != nil {
		t.Error(err)
	}
}
