package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// sleepingGroup measures what many deployed functions cost that nobody calls.
func sleepingGroup() group {
	return group{name: "sleeping", measurements: []measurement{
		{name: "start with 10,000 functions", unit: "s", limit: "the start of a bare net/http server", goal: goal{most, 2}, open: startWithMany},
		{name: "memory with 10,000 functions, started", unit: "MB", limit: "the same with one function", goal: goal{beyondMost, 50}, open: memoryStarted},
		{name: "memory with 10,000 functions, deployed", unit: "MB", limit: "the same with one function", goal: goal{beyondMost, 50}, once: true, open: memoryDeployed},
	}}
}

// A crowded is a data folder with many functions, and one with one.
type crowded struct {
	many, one       string
	manyMB, onlyOne float64 // resident after the deploys
}

// crowded makes the folders at the first call.
func (e *env) crowded(ctx context.Context) (*crowded, error) {
	if e.sleepers != nil {
		return e.sleepers, nil
	}
	zip, err := hello["python3"].pack(e.bench)
	if err != nil {
		return nil, err
	}
	c := &crowded{}
	for _, of := range []struct {
		n    int
		data *string
		held *float64
	}{{1, &c.one, &c.onlyOne}, {e.many, &c.many, &c.manyMB}} {
		if *of.data, err = e.folder("sleeping-"); err != nil {
			return nil, err
		}
		e.say("sleeping: deploying %d", of.n)
		p, err := e.start(ctx, *of.data)
		if err != nil {
			return nil, err
		}
		err = p.deployMany(ctx, of.n, zip, wire.Options{Runtime: "python3"})
		if err == nil {
			*of.held, err = p.held(ctx)
		}
		if stopped := p.stop(); err == nil {
			err = stopped
		}
		if err != nil {
			return nil, err
		}
	}
	e.sleepers = c
	return c, nil
}

// held calls a function and returns the megabytes that the platform's own
// process then holds.
func (p *platform) held(ctx context.Context) (float64, error) {
	if err := p.invoke("f00000", payload).wants(answer).once(ctx); err != nil {
		return 0, err
	}
	n, err := resident(p.cmd.Process.Pid)
	return n / megabyte, err
}

// started starts a platform over data, looks at it and stops it.
func (e *env) started(ctx context.Context, data string, look func(*platform) (float64, error)) (float64, error) {
	p, err := e.start(ctx, data)
	if err != nil {
		return 0, err
	}
	v, err := look(p)
	if stopped := p.stop(); err == nil {
		err = stopped
	}
	return v, err
}

func startWithMany(ctx context.Context, e *env) (round, error) {
	c, err := e.crowded(ctx)
	if err != nil {
		return nil, err
	}
	return alternate(func(ctx context.Context) (float64, error) {
		return e.started(ctx, c.many, func(p *platform) (float64, error) { return p.took.Seconds(), nil })
	}, func(context.Context) (float64, error) {
		s, err := e.bareServer(answer)
		if err != nil {
			return 0, err
		}
		return s.took.Seconds(), s.stop()
	}), nil
}

func memoryStarted(ctx context.Context, e *env) (round, error) {
	c, err := e.crowded(ctx)
	if err != nil {
		return nil, err
	}
	probe := func(data string) probe {
		return func(ctx context.Context) (float64, error) {
			return e.started(ctx, data, func(p *platform) (float64, error) { return p.held(ctx) })
		}
	}
	return alternate(probe(c.many), probe(c.one)), nil
}

func memoryDeployed(ctx context.Context, e *env) (round, error) {
	c, err := e.crowded(ctx)
	if err != nil {
		return nil, err
	}
	if c.manyMB == 0 {
		return nil, fmt.Errorf("nothing was deployed")
	}
	return func(context.Context) (float64, float64, error) { return c.manyMB, c.onlyOne, nil }, nil
}

// deployMany deploys n functions of one code, several at once.
func (p *platform) deployMany(ctx context.Context, n int, zip []byte, o wire.Options) error {
	next := make(chan int)
	errs := make([]error, 16)
	var working sync.WaitGroup
	for w := range errs {
		working.Go(func() {
			for i := range next {
				if errs[w] == nil {
					errs[w] = p.deployStubbornly(ctx, fmt.Sprintf("f%05d", i), zip, o)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	working.Wait()
	return errors.Join(errs...)
}

// deployStubbornly deploys again where another deploy of the same code came
// between: with as many at once that is no surprise.
func (p *platform) deployStubbornly(ctx context.Context, name string, zip []byte, o wire.Options) error {
	for {
		_, err := p.Deploy(ctx, name, o, bytes.NewReader(zip), nil)
		if rouse.KindOf(err) != rouse.Conflict || ctx.Err() != nil {
			return err
		}
	}
}
