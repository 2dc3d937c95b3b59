package sqlite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

func openBench(b *testing.B) *Store {
	s, err := Open(b.Context(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// perSecond reports n things per iteration as a rate.
func perSecond(b *testing.B, n int, unit string) {
	b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), unit+"/s")
	b.ReportMetric(0, "ns/op")
}

// spread runs f b.N times from so many goroutines.
func spread(b *testing.B, workers int, f func()) {
	var wg sync.WaitGroup
	todo := make(chan struct{}, workers)
	for range workers {
		wg.Go(func() {
			for range todo {
				f()
			}
		})
	}
	for b.Loop() {
		todo <- struct{}{}
	}
	close(todo)
	wg.Wait()
}

// made are activations whose ids are a millisecond apart for every so many.
func made(start time.Time, from, n, perMs int, function func(int) string) []rouse.Activation {
	as := make([]rouse.Activation, n)
	for i := range as {
		at := start.Add(time.Duration((from+i)/perMs) * time.Millisecond)
		as[i] = rouse.Activation{
			ID:       fmt.Sprintf("%012x7%03x%016x", at.UnixMilli(), (from+i)%perMs%4096, rand.Uint64()&(1<<62-1)|1<<63),
			Function: rouse.Ref{Namespace: "default", Name: function(from + i)}, Version: 3, Status: rouse.StatusAnswered,
			Started: at.Add(1234), Queued: 2000, Run: rouse.Duration(1_000_000 + rand.IntN(1_000_000)), Memory: 31_457_280 + int64(rand.IntN(1000)),
			GBSeconds: rand.Float64() / 1000, Result: []byte(`{"hello":"world"}`), Size: 17,
		}
		if (from+i)%10_000 == 0 {
			as[i].Status, as[i].Failure = rouse.StatusFailed, &rouse.Failure{Type: "ValueError", Message: "no"}
		}
	}
	return as
}

func hot(int) string { return "hot" }

func BenchmarkRecordsPost(b *testing.B) {
	for _, c := range []struct {
		name      string
		functions int
	}{{"hot", 1}, {"mixed20", 20}, {"mixed20000", 20_000}} {
		b.Run(c.name, func(b *testing.B) {
			r := openBench(b).Records()
			start := time.Now()
			batches := make([][]rouse.Activation, 40)
			for i := range batches {
				batches[i] = made(start, i*500, 500, 20, func(n int) string { return fmt.Sprint("f", n%c.functions) })
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Post(b.Context(), batches[i%len(batches)], nil); err != nil {
					b.Fatal(err)
				}
				i++
			}
			perSecond(b, 500, "act")
		})
	}
}

func BenchmarkRecordsPostLines(b *testing.B) {
	r := openBench(b).Records()
	as := made(time.Now(), 0, 500, 20, hot)
	var ls []rouse.Line
	for _, a := range as {
		for range 2 {
			ls = append(ls, rouse.Line{Activation: a.ID, Function: a.Function, Time: a.Started, Stream: rouse.Stdout, Text: "something that a function says of its work"})
		}
	}
	for b.Loop() {
		if err := r.Post(b.Context(), as, ls); err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b, 1000, "line")
}

func fill(b *testing.B, function func(int) string) *Store {
	s := openBench(b)
	start := time.Now().Add(-time.Minute)
	for i := range 2000 {
		if err := s.Records().Post(b.Context(), made(start, i*500, 500, 20, function), nil); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func BenchmarkRecordsOf1M(b *testing.B) {
	for _, c := range []struct {
		name      string
		functions int
		failed    int // of f0
	}{{"hot", 1, 50}, {"rare", 20_000, 50}} {
		b.Run(c.name, func(b *testing.B) {
			r := fill(b, func(n int) string { return fmt.Sprint("f", n%c.functions) }).Records()
			ask := func(name string, want int, q rouse.ActivationQuery) {
				q.Namespace = "default"
				b.Run(name, func(b *testing.B) {
					for b.Loop() {
						if as, err := r.Activations(b.Context(), q); err != nil || len(as) != want {
							b.Fatal(len(as), err)
						}
					}
				})
			}
			all, err := r.Activations(b.Context(), rouse.ActivationQuery{Namespace: "default", Function: "f0", Limit: 50})
			if err != nil {
				b.Fatal(err)
			}
			ask("Newest50", 50, rouse.ActivationQuery{Function: "f0"})
			ask("NewestPage2", 25, rouse.ActivationQuery{Function: "f0", Before: all[24].ID, Limit: 25})
			ask("NewestOfNamespace", 50, rouse.ActivationQuery{})
			ask("Failed50", 50, rouse.ActivationQuery{Statuses: []rouse.Status{rouse.StatusFailed}})
			ask("FailedOfFunction50", c.failed, rouse.ActivationQuery{Function: "f0", Statuses: []rouse.Status{rouse.StatusFailed}})
			b.Run("ByID", func(b *testing.B) {
				for b.Loop() {
					if _, err := r.Activation(b.Context(), all[len(all)/2].ID); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// Each reads a key and writes it, as most that stand on a map do.
func BenchmarkKeysUpdate(b *testing.B) {
	for _, workers := range []int{1, 32} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			k := filledKeys(b)
			spread(b, workers, func() {
				key := fmt.Appendf(nil, "%08d", rand.IntN(10_000))
				err := k.Update(context.Background(), func(w rouse.KeyWriter) error {
					_, err := w.Get(key)
					w.Put(key, make([]byte, 1024))
					return err
				})
				if err != nil {
					b.Error(err)
				}
			})
			perSecond(b, 1, "op")
		})
	}
}

func BenchmarkKeysScan100(b *testing.B) {
	k := filledKeys(b)
	spread(b, 4, func() {
		err := k.View(context.Background(), func(r rouse.KeyReader) error {
			_, err := r.Scan(rouse.Span{From: fmt.Appendf(nil, "%08d", rand.IntN(9_900)), Limit: 100})
			return err
		})
		if err != nil {
			b.Error(err)
		}
	})
	perSecond(b, 1, "op")
}

func BenchmarkKeysGet(b *testing.B) {
	k := filledKeys(b)
	spread(b, 4, func() {
		err := k.View(context.Background(), func(r rouse.KeyReader) error {
			_, err := r.Get(fmt.Appendf(nil, "%08d", rand.IntN(10_000)))
			return err
		})
		if err != nil {
			b.Error(err)
		}
	})
	perSecond(b, 1, "op")
}

// filledKeys has ten thousand pairs of 1 KB.
func filledKeys(b *testing.B) rouse.Keys {
	k, err := openBench(b).Keys(b.Context(), "k")
	if err != nil {
		b.Fatal(err)
	}
	err = k.Update(b.Context(), func(w rouse.KeyWriter) error {
		for i := range 10_000 {
			w.Put(fmt.Appendf(nil, "%08d", i), make([]byte, 1024))
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return k
}
