package stream

import (
	"fmt"
	"sync"
	"testing"

	"github.com/rouse-run/rouse/data"
)

func openBench(b *testing.B, shards int) *Streams {
	s := New(Config{Keys: drivers.Site(b).Keys(b, "stream")})
	b.Cleanup(func() { s.Close() })
	if _, err := s.Create(b.Context(), data.Stream{Ref: hits, Shards: shards}); err != nil {
		b.Fatal(err)
	}
	return s
}

func records(size int) []data.Record {
	rs := make([]data.Record, 100)
	for i := range rs {
		rs[i] = data.Record{Key: fmt.Sprint(i), Data: make([]byte, size)}
	}
	return rs
}

func BenchmarkAppend100(b *testing.B) {
	for _, size := range []int{200, 1024} {
		for _, workers := range []int{1, 8} {
			b.Run(fmt.Sprintf("size=%d/workers=%d", size, workers), func(b *testing.B) {
				s := openBench(b, 8)
				rs := records(size)
				var wg sync.WaitGroup
				todo := make(chan struct{}, workers)
				for range workers {
					wg.Go(func() {
						for range todo {
							if _, err := s.Append(b.Context(), hits, rs); err != nil {
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
				b.ReportMetric(100*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

func BenchmarkRead100(b *testing.B) {
	s := openBench(b, 1)
	rs := records(1024)
	for range 100 {
		if _, err := s.Append(b.Context(), hits, rs); err != nil {
			b.Fatal(err)
		}
	}
	at := uint64(0)
	for b.Loop() {
		batch, err := s.Read(b.Context(), data.FeedQuery{Ref: hits, Shard: shardID(0), After: at, Limit: 100})
		if err != nil || len(batch.Entries) != 100 {
			b.Fatal(len(batch.Entries), err)
		}
		at = batch.After % 10_000
	}
}
