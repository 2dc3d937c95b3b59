package main

import (
	"context"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

// moduleGroup measures a tiny wasm module that is kept warm, beside a bare
// net/http server that answers the same by itself.
//
// Between machines a server never pays for its client's sleep; on one, to write
// an answer is to wake who waits for it, which is a good part of what these calls
// cost, and the more of it the slower the server is: its client sleeps more often.
// So the crowd's client stays awake, on the processor that is its own anyway. What
// is measured by one that sleeps, as most load generators do, stands beside it.
func moduleGroup() group {
	g := group{name: "wasm"}
	for _, m := range rates("net/http that answers by itself") {
		one, name := m.unit == "ms", "route by a client that polls, "
		if one {
			m.goal, name = goal{}, "route, " // the issue names none
		}
		g.measurements = append(g.measurements, m.ofModule(name, !one))
		if !one {
			m.goal = goal{}
			g.measurements = append(g.measurements, m.ofModule("route by a client that sleeps, ", false))
		}
	}
	return g
}

// ofModule measures the module's route.
func (m rate) ofModule(name string, awake bool) measurement {
	m.name = name + m.name
	m.open = func(ctx context.Context, e *env) (round, error) {
		p, err := e.platform(ctx)
		if err != nil {
			return nil, err
		}
		if err := p.deploy(ctx, e.bench, "wasm", tiny(), wire.Options{Public: true}); err != nil {
			return nil, err
		}
		bare, err := e.bareServer(answer)
		if err != nil {
			return nil, err
		}
		e.onClose(bare.stop)
		ours, limit := p.route("wasm", payload).wants(answer), bare.call()
		ours.awake, limit.awake = awake, awake
		return alternate(m.sample(e, ours), m.sample(e, limit)), warmUp(ctx, e, ours, limit)
	}
	return m.measurement
}

// tiny is a reactor of some hundred bytes. As text:
//
//	(module
//	  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
//	  (memory (export "memory") 1)
//	  (data (i32.const 0) "\10\00\00\00" "<length>" "........" "<answer>")
//	  (func (export "handle")
//	    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
func tiny() files {
	const i32, function = 0x7f, 0x60
	section := func(id byte, body ...byte) []byte { return append([]byte{id, byte(len(body))}, body...) }
	name := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	text := append([]byte{16, 0, 0, 0, byte(len(answer)), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, answer...)
	module := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range [][]byte{
		section(1, 2, function, 4, i32, i32, i32, i32, 1, i32, function, 0, 0),                                         // types
		section(2, append(append([]byte{1}, append(name("wasi_snapshot_preview1"), name("fd_write")...)...), 0, 0)...), // imports
		section(3, 1, 1),    // one function, of the second type
		section(5, 1, 0, 1), // one page of memory
		section(7, append(append([]byte{2}, append(name("memory"), 2, 0)...), append(name("handle"), 0, 1)...)...), // exports
		section(10, 1, 13, 0, 0x41, 1, 0x41, 0, 0x41, 1, 0x41, 8, 0x10, 0, 0x1a, 0x0b),                             // code
		section(11, append([]byte{1, 0, 0x41, 0, 0x0b, byte(len(text))}, text...)...),                              // data
	} {
		module = append(module, s...)
	}
	return files{"main.wasm": string(module)}
}
