package process_test

import (
	"sync"
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

// BenchmarkColdInARow starts function after function, several at once, with all
// their ways out, and leaves them running; ending them is not measured.
func BenchmarkColdInARow(b *testing.B) {
	const atOnce, kept = 4, 100
	d := drivers[process.Namespaces]
	dir := code(b, hello["python3"])
	var open []rouse.Sandbox
	empty := func() {
		for _, s := range open {
			_ = s.Close()
		}
		open = open[:0]
	}
	for b.Loop() {
		var starting sync.WaitGroup
		opened := make(chan rouse.Sandbox, atOnce)
		for range atOnce {
			starting.Go(func() {
				h, err := tryIn(b, d, rouse.Function{Runtime: "python3", Handler: "main.main", Egress: true}, dir, newPlatform("b").access())
				if h.sandbox != nil {
					opened <- h.sandbox
				}
				if err == nil {
					_, err = h.Answer(b.Context(), rouse.Invocation{ID: "id", Event: rouse.Event{Data: []byte(`{"name":"ada"}`)}})
				}
				if err != nil {
					b.Error(err)
				}
			})
		}
		starting.Wait()
		for range len(opened) {
			open = append(open, <-opened)
		}
		if len(open) >= kept {
			b.StopTimer()
			empty()
			b.StartTimer()
		}
	}
	empty()
	b.ReportMetric(float64(b.N*atOnce)/b.Elapsed().Seconds(), "starts/s")
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
