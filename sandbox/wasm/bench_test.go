package wasm

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/rouse-run/rouse"
)

func BenchmarkColdTiny(b *testing.B) {
	d := newDriver(b)
	s := deployed(b, assemble("handle", nil), rouse.Function{Limits: rouse.Limits{Memory: 128 << 20}})
	for b.Loop() {
		box, err := d.Open(context.Background(), s)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := box.Run(context.Background(), rouse.Input{Body: strings.NewReader("")}, io.Discard); err != nil {
			b.Fatal(err)
		}
		box.Close()
	}
}

func BenchmarkRun(b *testing.B) {
	reactor, err := guest.reactor()
	if err != nil {
		b.Fatal(err)
	}
	command, err := guest.command()
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name, in string
		module   []byte
	}{
		{"tiny reactor", "", assemble("handle", nil)},
		{"tiny command", "", assemble("_start", nil)},
		{"Go reactor", "echo hello", reactor},
		{"Go command", "echo hello", command},
	} {
		b.Run(c.name, func(b *testing.B) {
			box := open(b, newDriver(b), deployed(b, c.module, rouse.Function{Limits: rouse.Limits{Memory: 128 << 20}}))
			for b.Loop() {
				if _, err := box.Run(context.Background(), rouse.Input{Body: strings.NewReader(c.in)}, io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMeter compares ways to be able to end a run, none of them included.
func BenchmarkMeter(b *testing.B) {
	module, err := guest.reactor()
	if err != nil {
		b.Fatal(err)
	}
	with, err := meter(module)
	if err != nil {
		b.Fatal(err)
	}
	for _, in := range []string{"echo hello", "work"} {
		for _, c := range []struct {
			name   string
			module []byte
			close  bool
		}{{"none", module, false}, {"meter", with.code, false}, {"the runtime's own", module, true}} {
			b.Run(in+"/"+c.name, func(b *testing.B) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(c.close))
				defer r.Close(ctx)
				wasi_snapshot_preview1.MustInstantiate(ctx, r)
				if _, err := r.NewHostModuleBuilder(meterModule).NewFunctionBuilder().
					WithGoModuleFunction(api.GoModuleFunc(yield), nil, nil).Export(meterYield).NewFunctionBuilder().
					WithGoModuleFunction(api.GoModuleFunc(overflow), nil, nil).Export(meterOverflow).Instantiate(ctx); err != nil {
					b.Fatal(err)
				}
				streams := &stdio{out: io.Discard}
				m, err := r.InstantiateWithConfig(ctx, c.module, wazero.NewModuleConfig().WithStdin(streams).WithStdout(streams).
					WithSysNanotime().WithSysWalltime().WithStartFunctions("_initialize"))
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					streams.in = strings.NewReader(in)
					if _, err := m.ExportedFunction("handle").Call(ctx); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
