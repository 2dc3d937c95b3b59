package openwhisk_test

import (
	"slices"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/native"
)

// pairs are the same function under this contract and the native one.
func pairs() map[string]action {
	py := rouse.Function{Runtime: "python3", Handler: "main.main"}
	js := rouse.Function{Runtime: "nodejs", Handler: "main.main"}
	return map[string]action{
		"python/openwhisk": python("def main(args):\n    return {'hello': args['name']}\n"),
		"python/native": {function: py, contract: native.Contract{},
			files: files{"main.py": "def main(event, context):\n    return {'hello': event['name']}\n"}},
		"node/openwhisk": node("function main (args) { return { hello: args.name } }"),
		"node/native": {function: js, contract: native.Contract{},
			files: files{"main.js": "exports.main = (event, context) => ({ hello: event.name })"}},
	}
}

func BenchmarkWarm(b *testing.B) {
	for name, a := range pairs() {
		b.Run(name, func(b *testing.B) {
			h := a.boot(b)
			in := rouse.Invocation{ID: "01996d4e5f3a7b2c8d9e0f1a2b3c4d5e", Event: rouse.Event{Data: []byte(`{"name":"ada"}`)}}
			b.ReportAllocs()
			for b.Loop() {
				if a, err := h.Answer(b.Context(), in); err != nil || a.Status != rouse.StatusAnswered {
					b.Fatal(a, err)
				}
			}
		})
	}
}

func BenchmarkCold(b *testing.B) {
	for name, a := range pairs() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				h := a.boot(b)
				h.ask(b, `{"name":"ada"}`)
				_ = h.Close()
			}
		})
	}
}

// BenchmarkOverNative calls both by turns, so that what else the machine does
// hits both, and tells their medians.
func BenchmarkOverNative(b *testing.B) {
	all := pairs()
	for _, language := range []string{"python", "node"} {
		b.Run(language, func(b *testing.B) {
			in := rouse.Invocation{ID: "01996d4e5f3a7b2c8d9e0f1a2b3c4d5e", Event: rouse.Event{Data: []byte(`{"name":"ada"}`)}}
			houses := map[string]*house{}
			took := map[string][]time.Duration{}
			names := []string{language + "/openwhisk", language + "/native"}
			for _, name := range names {
				houses[name] = all[name].boot(b)
			}
			for b.Loop() {
				for _, name := range names {
					began := time.Now()
					if a, err := houses[name].Answer(b.Context(), in); err != nil || a.Status != rouse.StatusAnswered {
						b.Fatal(a, err)
					}
					took[name] = append(took[name], time.Since(began))
				}
			}
			median := func(name string) float64 {
				slices.Sort(took[name])
				return float64(took[name][len(took[name])/2]) / 1e3
			}
			b.ReportMetric(median(names[0]), "µs-openwhisk")
			b.ReportMetric(median(names[1]), "µs-native")
			b.ReportMetric(median(names[0])/median(names[1]), "ratio")
		})
	}
}
