package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

const megabyte = 1 << 20

// memoryGroup measures what an instance that idles after a call holds for
// itself alone.
func memoryGroup() group {
	return group{name: "memory", measurements: []measurement{
		{name: "idle python3 instance", unit: "MB", limit: "a child of a bare zygote, after a call", goal: goal{most, 1.5}, open: idlePython},
		{name: "idle nodejs instance", unit: "MB", limit: "a plain node process, after a call", goal: goal{most, 8}, open: idleNode},
	}}
}

// idle samples the instances of a runtime: each round calls a new function
// and looks at its one process once nothing moves.
func (e *env) idle(ctx context.Context, runtime string, limit func() (float64, error)) (round, error) {
	p, err := e.platform(ctx)
	if err != nil {
		return nil, err
	}
	return alternate(func(ctx context.Context) (float64, error) {
		const name = "idle"
		if err := p.deploy(ctx, e.bench, name, hello[runtime], wire.Options{Runtime: runtime}); err != nil {
			return 0, err
		}
		if err := p.invoke(name, payload).wants(answer).once(ctx); err != nil {
			return 0, err
		}
		time.Sleep(4 * e.settle)
		found := instances(p.cmd.Process.Pid)
		if len(found) != 1 {
			return 0, fmt.Errorf("%d processes run the one function", len(found))
		}
		held, err := private(found[0])
		if err == nil {
			err = p.Remove(ctx, name)
		}
		for err == nil && len(instances(p.cmd.Process.Pid)) > 0 && ctx.Err() == nil {
			time.Sleep(e.settle)
		}
		return held / megabyte, errors.Join(err, ctx.Err())
	}, func(context.Context) (float64, error) {
		held, err := limit()
		return held / megabyte, err
	}), nil
}

func idlePython(ctx context.Context, e *env) (round, error) {
	p, err := e.platform(ctx)
	if err != nil {
		return nil, err
	}
	rt, err := p.runtime(ctx, "python3")
	if err != nil {
		return nil, err
	}
	folder, err := hello["python3"].folder(e.bench)
	if err != nil {
		return nil, err
	}
	return e.idle(ctx, "python3", func() (held float64, err error) {
		z, err := e.zygote(rt, "")
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, z.close()) }()
		child, err := z.fork(folder)
		if err != nil {
			return 0, err
		}
		defer child.close()
		if err := child.expect(answer); err != nil {
			return 0, err
		}
		found := instances(z.cmd.Process.Pid)
		if len(found) != 1 {
			return 0, fmt.Errorf("%d children of the bare zygote", len(found))
		}
		return private(found[0])
	})
}

func idleNode(ctx context.Context, e *env) (round, error) {
	p, err := e.platform(ctx)
	if err != nil {
		return nil, err
	}
	rt, err := p.runtime(ctx, "nodejs")
	if err != nil {
		return nil, err
	}
	folder, err := hello["nodejs"].folder(e.bench)
	if err != nil {
		return nil, err
	}
	return e.idle(ctx, "nodejs", func() (held float64, err error) {
		w, err := e.parkedNode(rt)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, w.close()) }()
		if err := w.become(folder); err != nil {
			return 0, err
		}
		return private(w.cmd.Process.Pid)
	})
}
