package main

import (
	"context"
	"fmt"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

// The function that the warm and cold paths run, and its answer. It does
// nothing, so that only the way to it and back counts.
const (
	payload = `{"name":"ada"}`
	answer  = `{"message":"hello","answer":42}`
)

var hello = map[string]files{
	"python3": {"main.py": "def main(event, context):\n    return {\"message\": \"hello\", \"answer\": 42}\n"},
	"nodejs":  {"index.js": "exports.main = (event, context) => ({ message: 'hello', answer: 42 })\n"},
}

// many is the number of connections that make a crowd, and workers that of the
// processes behind a bare server.
const (
	many    = 16
	workers = 4
)

// warmGroup measures calls of functions whose instances are up, beside a bare
// net/http server that hands bodies to plain workers over pipes.
func warmGroup() group {
	g := group{name: "warm"}
	for _, rt := range []string{"python3", "nodejs"} {
		for _, door := range []string{"route", "invoke"} {
			for _, m := range rates(fmt.Sprintf("net/http and %d plain %s workers over pipes", workers, rt)) {
				sample := m.sample
				m.name = rt + " " + door + ", " + m.name
				m.open = func(ctx context.Context, e *env) (round, error) {
					ours, limit, err := e.warm(ctx, rt, door)
					return alternate(sample(e, ours), sample(e, limit)), err
				}
				g.measurements = append(g.measurements, m.measurement)
			}
		}
	}
	return g
}

// A rate is one way to measure a door.
type rate struct {
	measurement
	sample func(*env, call) probe
}

// rates are the throughput under a crowd, the CPU time that one of its calls
// takes, and the time of a single caller.
func rates(limit string) []rate {
	return []rate{
		{measurement{name: "16 connections", unit: "/s", limit: limit, goal: goal{ratioLeast, 0.8}},
			(*env).crowd},
		{measurement{name: "CPU of a call of these", unit: "µs", limit: limit},
			func(e *env, c call) probe {
				return func(ctx context.Context) (float64, error) { return c.work(ctx, many, e.span) }
			}},
		{measurement{name: "p50 of 1 connection", unit: "ms", limit: limit, goal: goal{ratioMost, 1.3}},
			func(e *env, c call) probe {
				return func(ctx context.Context) (float64, error) { return c.latency(ctx, e.span) }
			}},
	}
}

// crowd measures the throughput of c under a crowd.
func (e *env) crowd(c call) probe {
	return func(ctx context.Context) (float64, error) { return c.throughput(ctx, many, e.span) }
}

// warm readies a function and the bare server of the same handler, both warm.
func (e *env) warm(ctx context.Context, runtime, door string) (ours, limit call, err error) {
	p, err := e.platform(ctx)
	if err != nil {
		return ours, limit, err
	}
	if limit, err = e.plain(ctx, runtime, workers); err != nil {
		return ours, limit, err
	}
	if err := p.deploy(ctx, e.bench, runtime, hello[runtime], wire.Options{Runtime: runtime, Public: true}); err != nil {
		return ours, limit, err
	}
	if ours = p.invoke(runtime, payload); door == "route" {
		ours = p.route(runtime, payload)
	}
	ours = ours.wants(answer)
	return ours, limit, warmUp(ctx, e, ours, limit)
}

// plain starts a bare server with so many workers of the same handler, which take
// turns.
func (e *env) plain(ctx context.Context, runtime string, workers int) (call, error) {
	p, err := e.platform(ctx)
	if err != nil {
		return call{}, err
	}
	rt, err := p.runtime(ctx, runtime)
	if err != nil {
		return call{}, err
	}
	dir, err := e.unpackBare()
	if err != nil {
		return call{}, err
	}
	code, err := hello[runtime].folder(e.bench)
	if err != nil {
		return call{}, err
	}
	command := []string{rt.Path, "-I", dir + "/worker.py", code}
	if runtime == "nodejs" {
		command = []string{rt.Path, dir + "/worker.cjs", code + "/index.js"}
	}
	bare, err := e.bareServer(append([]string{"workers", fmt.Sprint(workers)}, command...)...)
	if err != nil {
		return call{}, err
	}
	e.onClose(bare.stop)
	return bare.call(), nil
}

// warmUp calls until all that is done once is done.
func warmUp(ctx context.Context, e *env, calls ...call) error {
	for _, c := range calls {
		if err := c.once(ctx); err != nil {
			return err
		}
		if _, err := c.throughput(ctx, many, e.span/2); err != nil {
			return err
		}
	}
	return nil
}
