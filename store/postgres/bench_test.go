package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/postgres/pgtest"
)

func openBench(b *testing.B) *Store {
	s, err := Open(b.Context(), Config{URL: pgtest.Start(b)})
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

func keysOf(b testing.TB, s *Store) rouse.Keys {
	k, err := s.Keys(context.Background(), "k")
	if err != nil {
		b.Fatal(err)
	}
	return k
}

// spread runs f b.N times from so many goroutines and reports the rate.
func spread(b *testing.B, workers int, f func() error) {
	var wg sync.WaitGroup
	todo := make(chan struct{}, workers)
	for range workers {
		wg.Go(func() {
			for range todo {
				if err := f(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for b.Loop() {
		todo <- struct{}{}
	}
	close(todo)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

// fill writes so many pairs of 1 KB.
func fill(b testing.TB, k rouse.Keys, n int) {
	for from := 0; from < n; from += 1000 {
		err := k.Update(context.Background(), func(w rouse.KeyWriter) error {
			for i := from; i < min(from+1000, n); i++ {
				w.Put(fmt.Appendf(nil, "%08d", i), make([]byte, 1024))
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// Each reads a key and writes it, as most that stand on a map do.
func BenchmarkUpdate(b *testing.B) {
	for _, kind := range []string{"spread", "append", "hot"} {
		for _, workers := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/%d", kind, workers), func(b *testing.B) {
				k := keysOf(b, openBench(b))
				fill(b, k, 10_000)
				spread(b, workers, func() error {
					key := fmt.Appendf(nil, "%08d", rand.IntN(10_000))
					switch kind {
					case "append":
						key = binary.BigEndian.AppendUint64([]byte("new"), rand.Uint64())
					case "hot":
						key = []byte("hot")
					}
					return k.Update(context.Background(), func(w rouse.KeyWriter) error {
						if kind != "append" {
							if _, err := w.Get(key); err != nil {
								return err
							}
						}
						w.Put(key, make([]byte, 1024))
						return nil
					})
				})
			})
		}
	}
}

func BenchmarkGet(b *testing.B) {
	for _, workers := range []int{1, 32} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			k := keysOf(b, openBench(b))
			fill(b, k, 10_000)
			spread(b, workers, func() error {
				return k.View(context.Background(), func(r rouse.KeyReader) error {
					_, err := r.Get(fmt.Appendf(nil, "%08d", rand.IntN(10_000)))
					return err
				})
			})
		})
	}
}

func BenchmarkScan100(b *testing.B) {
	for _, workers := range []int{1, 32} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			k := keysOf(b, openBench(b))
			fill(b, k, 10_000)
			spread(b, workers, func() error {
				return k.View(context.Background(), func(r rouse.KeyReader) error {
					_, err := r.Scan(rouse.Span{From: fmt.Appendf(nil, "%08d", rand.IntN(9_900)), Limit: 100})
					return err
				})
			})
		})
	}
}

func BenchmarkRecordsPost(b *testing.B) {
	for _, workers := range []int{1, 8} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			r := openBench(b).Records()
			const n = 100 // activations in a posting, of ten functions, each with a line
			spread(b, workers, func() error {
				now := time.Now()
				as, ls := make([]rouse.Activation, n), make([]rouse.Line, n)
				for i := range as {
					id := fmt.Sprintf("%012x7%03x%016x", now.UnixMilli(), i, rand.Uint64()&(1<<62-1)|1<<63)
					f := rouse.Ref{Namespace: "n", Name: fmt.Sprint("f", i%10)}
					as[i] = rouse.Activation{ID: id, Function: f, Status: rouse.StatusAnswered, Started: now, Run: 1e6, Result: make([]byte, 100)}
					ls[i] = rouse.Line{Function: f, Activation: id, Time: now, Stream: rouse.Stdout, Text: "a line of about forty characters, as most"}
				}
				return r.Post(context.Background(), as, ls)
			})
			b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "activations/s")
		})
	}
}
