package queue

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
)

func openBench(b *testing.B) *Queues {
	q := New(Config{Keys: drivers.Site(b).Keys(b, "queue")})
	b.Cleanup(func() { q.Close() })
	return q
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

func perSecond(b *testing.B, n int) {
	b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkSend64(b *testing.B) {
	for _, size := range []int{200, 1024} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			q := openBench(b).Plain()
			ms := []rouse.Message{{Body: make([]byte, size)}}
			spread(b, 64, func() {
				if _, err := q.Send(context.Background(), "q", ms); err != nil {
					b.Error(err)
				}
			})
			perSecond(b, 1)
		})
	}
}

func BenchmarkSendBatch(b *testing.B) {
	for _, n := range []int{100, 1000} {
		for _, size := range []int{200, 1024} {
			b.Run(fmt.Sprintf("n=%d/size=%d", n, size), func(b *testing.B) {
				q := openBench(b).Plain()
				ms := make([]rouse.Message, n)
				for i := range ms {
					ms[i].Body = make([]byte, size)
				}
				spread(b, 1, func() {
					if _, err := q.Send(context.Background(), "q", ms); err != nil {
						b.Error(err)
					}
				})
				perSecond(b, n)
			})
		}
	}
}

// Each iteration of the cycle sends one message; eight others receive up to ten
// at a time and delete them.
func BenchmarkCycle(b *testing.B) {
	queues := openBench(b)
	q := queues.Plain()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				ls, err := q.Receive(ctx, "q", 10, time.Minute)
				if err != nil || len(ls) == 0 {
					time.Sleep(time.Millisecond)
					continue
				}
				rs := make([]rouse.Receipt, len(ls))
				for i, l := range ls {
					rs[i] = l.Receipt
				}
				if _, err := q.Delete(context.WithoutCancel(ctx), "q", rs); err != nil {
					b.Error(err)
				}
			}
		})
	}
	ms := []rouse.Message{{Body: make([]byte, 1024)}}
	spread(b, 64, func() {
		if _, err := q.Send(context.Background(), "q", ms); err != nil {
			b.Error(err)
		}
	})
	for {
		all, err := q.Stats(context.Background(), "q")
		if err != nil {
			b.Fatal(err)
		}
		if s := all["q"]; s.Visible+s.Leased == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	perSecond(b, 1)
	cancel()
	wg.Wait()
}

// The same by way of data.Queues, with long polls.
func BenchmarkCycleOfData(b *testing.B) {
	for _, fifo := range []bool{false, true} {
		b.Run(fmt.Sprintf("fifo=%v", fifo), func(b *testing.B) {
			q := openBench(b)
			r := rouse.Ref{Namespace: "default", Name: "q"}
			c := data.DefaultQueue(r)
			c.Fifo = fifo
			if _, err := q.Create(b.Context(), c); err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			var wg, left sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for ctx.Err() == nil {
						ds, _ := q.Receive(ctx, data.Receive{Queue: r, Max: 10, Wait: time.Minute})
						rs := make([]string, len(ds))
						for i, d := range ds {
							rs[i] = d.Receipt
						}
						if len(rs) == 0 {
							continue
						}
						if _, err := q.Delete(context.WithoutCancel(ctx), r, rs); err != nil {
							b.Error(err)
						}
						left.Add(-len(ds))
					}
				})
			}
			n := 0
			var mu sync.Mutex
			spread(b, 64, func() {
				mu.Lock()
				n++
				m := data.Message{Body: make([]byte, 1024), Group: fmt.Sprint(n % 50)}
				mu.Unlock()
				left.Add(1)
				if _, err := q.Send(context.Background(), r, []data.Message{m}); err != nil {
					b.Error(err)
				}
			})
			left.Wait()
			perSecond(b, 1)
			cancel()
			wg.Wait()
		})
	}
}

func BenchmarkStats1M(b *testing.B) {
	q := openBench(b).Plain()
	ms := make([]rouse.Message, 10_000)
	for range 100 {
		if _, err := q.Send(b.Context(), "q", ms); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := q.Stats(b.Context(), "q"); err != nil {
			b.Fatal(err)
		}
	}
}
