package main

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

// soakGroup runs invocations by the million and looks for what did not go away
// afterwards. Before and after, all instances are let go.
func soakGroup() group {
	g := group{name: "soak", slow: true, flags: []string{"--idle", "1s"}}
	for _, m := range []struct {
		name, unit string
		goal       goal
		of         func(state) float64
	}{
		{"descriptors, with all that the store may open,", "", goal{beyondMost, 0}, func(s state) float64 { return s.descriptors }},
		{"processes", "", goal{beyondMost, 0}, func(s state) float64 { return s.processes }},
		{"control groups", "", goal{beyondMost, 0}, func(s state) float64 { return s.cgroups }},
		{"memory", "MB", goal{beyondShare, 0.1}, func(s state) float64 { return s.resident }},
	} {
		g.measurements = append(g.measurements, measurement{
			name: m.name + " after", unit: m.unit, limit: "before them, after a quarter as many", goal: m.goal, once: true,
			open: func(ctx context.Context, e *env) (round, error) {
				before, after, err := e.soaked(ctx)
				return func(context.Context) (float64, float64, error) { return m.of(after), m.of(before), nil }, err
			},
		})
	}
	return g
}

// A state is what a platform holds once it idles.
type state struct {
	descriptors, processes, cgroups, resident float64
}

// soaked runs the invocations at the first call.
func (e *env) soaked(ctx context.Context) (before, after state, err error) {
	if e.soaking != nil {
		return e.soaking[0], e.soaking[1], nil
	}
	p, err := e.platform(ctx)
	if err != nil {
		return before, after, err
	}
	var calls []call
	for runtime, code := range hello {
		if err := p.deploy(ctx, e.bench, runtime, code, wire.Options{Runtime: runtime, Public: true}); err != nil {
			return before, after, err
		}
		calls = append(calls, p.route(runtime, payload).wants(answer), p.invoke(runtime, payload).wants(answer))
	}
	if err := p.deploy(ctx, e.bench, "wasm", tiny(), wire.Options{}); err != nil {
		return before, after, err
	}
	calls = append(calls, p.invoke("wasm", payload).wants(answer))
	for _, step := range []struct {
		n  int
		at *state
	}{{max(many, e.soak/4), &before}, {e.soak, &after}} {
		e.say("soak: %d invocations", step.n)
		if err = flood(ctx, calls, step.n); err == nil {
			*step.at, err = p.state(ctx)
		}
		if err != nil {
			return before, after, err
		}
	}
	e.soaking = &[2]state{before, after}
	return before, after, nil
}

// flood makes n calls in all, over many connections that each make those of one
// kind.
func flood(ctx context.Context, calls []call, n int) error {
	errs := make([]error, many)
	var working sync.WaitGroup
	for i := range errs {
		working.Go(func() {
			_, _, errs[i] = calls[i%len(calls)].load(ctx, 1, func(done int) bool { return done < n/many })
		})
	}
	working.Wait()
	return errors.Join(errs...)
}

// state waits until no instance is left and what was closed is closed.
func (p *platform) state(ctx context.Context) (s state, err error) {
	for calm := 0; calm < 3; {
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-time.After(time.Second):
		}
		n, err := p.Node(ctx)
		if err != nil {
			return s, err
		}
		if calm++; n.Instances > 0 {
			calm = 0
		}
	}
	pid := p.cmd.Process.Pid
	fds, err := descriptors(pid, filepath.Join(p.data, "store"))
	if err != nil {
		return s, err
	}
	name, err := groupOf(pid)
	if err != nil {
		return s, err
	}
	bytes, err := resident(pid)
	return state{float64(fds), float64(len(descendants(pid))), float64(cgroups(name)), bytes / megabyte}, err
}
