package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

const (
	batchLines = 1000
	crowd      = 64
)

// stored is what must be kept of one accepted invocation.
func stored() []byte {
	b, err := json.Marshal(rouse.Invocation{ID: strings.Repeat("0", 32), Function: rouse.Ref{Namespace: "default", Name: "f"},
		Event: rouse.Event{Data: []byte(payload)}})
	if err != nil {
		panic(err) // it holds nothing that JSON can't say
	}
	return b
}

// acceptGroup measures how fast asynchronous invocations are taken, durably.
// One instance works off what was taken meanwhile ("running"), or hangs in the
// first ("waiting"). A platform is stopped for as long as it is not measured,
// or it would work off what it took meanwhile.
func acceptGroup() group {
	g := group{name: "accept"}
	sources := map[string]string{
		"running": "def main(event):\n    return 0\n",
		"waiting": "import time\n\ndef main(event):\n    time.sleep(3600)\n",
	}
	for _, kind := range []string{"running", "waiting"} {
		code := files{"main.py": sources[kind]}
		for _, m := range []struct {
			name        string
			path        string
			body        string
			connections int
			together    int // invocations in one write of the limit
			each        int // invocations in one call
			goal        float64
		}{
			{"in batches of 1,000", "/batch", strings.Repeat(payload+"\n", batchLines), 4, batchLines, batchLines, 20_000},
			{"singly, 64 connections", "/invoke?async=true", payload, crowd, crowd, 1, 5000},
		} {
			g.measurements = append(g.measurements, measurement{
				name: m.name + ", " + kind, unit: "/s", goal: goal{least, m.goal},
				limit: fmt.Sprintf("append and fdatasync of %d invocations at once", m.together),
				open: func(ctx context.Context, e *env) (round, error) {
					p, err := e.accepting(ctx, code)
					if err != nil {
						return nil, err
					}
					c := post(p.addr, "/v1/functions/f"+m.path, p.token, m.body)
					return alternate(
						p.awake(func(ctx context.Context) (float64, error) {
							rate, err := c.throughput(ctx, m.connections, e.span)
							return rate * float64(m.each), err
						}),
						func(context.Context) (float64, error) {
							rate, err := appendRate(p.data, bytes.Repeat(stored(), m.together), e.span)
							return rate * float64(m.together), err
						}), nil
				},
			})
		}
	}
	return g
}

// accepting starts a platform of its own with the function f, and stops it.
func (e *env) accepting(ctx context.Context, code files) (*platform, error) {
	data, err := e.folder("accept-")
	if err != nil {
		return nil, err
	}
	p, err := e.start(ctx, data)
	if err != nil {
		return nil, err
	}
	e.onClose(func() error { // a stop would wait for what runs
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		return nil
	})
	err = p.deploy(ctx, e.bench, "f", code, wire.Options{Limits: rouse.Limits{Max: 1, Timeout: rouse.Duration(2 * time.Hour)}})
	return p, errors.Join(err, p.cmd.Process.Signal(syscall.SIGSTOP))
}

// awake lets a stopped platform go on while f takes a sample.
func (p *platform) awake(f probe) probe {
	return func(ctx context.Context) (v float64, err error) {
		if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, p.cmd.Process.Signal(syscall.SIGSTOP)) }()
		return f(ctx)
	}
}

// appendRate appends b to a file in dir, each time durably, and returns how
// often a second it can.
func appendRate(dir string, b []byte, d time.Duration) (rate float64, err error) {
	f, err := os.OpenFile(filepath.Join(dir, "append"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	began, n := time.Now(), 0
	for ; time.Since(began) < d; n++ {
		if _, err := f.Write(b); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}
