package process_test

import (
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/sandbox/process"
)

func BenchmarkCold(b *testing.B) {
	for rt, files := range hello {
		for tier, d := range drivers {
			b.Run(rt+"/"+tier, func(b *testing.B) {
				for b.Loop() {
					h := boot(b, d, rouse.Function{Runtime: rt, Handler: "main.main"}, files)
					h.ask(b, map[string]string{"name": "ada"})
					_ = h.Close()
				}
			})
		}
	}
}

func BenchmarkWarm(b *testing.B) {
	for rt, files := range hello {
		for tier, d := range drivers {
			b.Run(rt+"/"+tier, func(b *testing.B) {
				h := boot(b, d, rouse.Function{Runtime: rt, Handler: "main.main"}, files)
				for b.Loop() {
					h.ask(b, map[string]string{"name": "ada"})
				}
			})
		}
	}
}

// BenchmarkColdWithAccess is BenchmarkCold of functions that may use the platform
// and don't.
func BenchmarkColdWithAccess(b *testing.B) {
	for rt, files := range hello {
		b.Run(rt, func(b *testing.B) {
			for b.Loop() {
				p := newPlatform("b")
				h, err := tryWith(b, drivers[process.Namespaces], rouse.Function{Runtime: rt, Handler: "main.main"}, files, p.access())
				if err != nil {
					b.Fatal(err)
				}
				h.ask(b, map[string]string{"name": "ada"})
				_ = h.Close()
				<-p.ended
			}
		})
	}
}
