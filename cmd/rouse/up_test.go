package main

import (
	"runtime/debug"
	"testing"

	"github.com/rouse-run/rouse/node"
)

// The garbage of the server has a bound, unless who starts it has set one.
func TestGarbageIsBounded(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	defer func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) }()
	tune(func(string) string { return "set" })
	if p := debug.SetGCPercent(100); p != 100 || debug.SetMemoryLimit(-1) != limit {
		t.Errorf("%d%%, %d bytes: what was set is changed", p, debug.SetMemoryLimit(-1))
	}
	tune(func(string) string { return "" })
	if p, most := debug.SetGCPercent(100), debug.SetMemoryLimit(-1); p != 400 || most != node.MachineMemory()/8 {
		t.Errorf("%d%%, %d bytes", p, most)
	}
}
