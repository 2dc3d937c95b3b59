package process_test

import (
	"testing"

	"github.com/rouse-run/rouse"
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
