package bucket_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rouse-run/rouse/data"
)

func BenchmarkPut1K(b *testing.B) {
	t := open(b)
	var n atomic.Int64
	b.ResetTimer()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			body := strings.NewReader(fmt.Sprintf("%01024d", i))
			if _, err := t.PutObject(b.Context(), data.ObjectPut{Bucket: ref, Key: fmt.Sprint(i)}, body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "put/s")
}

func BenchmarkStat(b *testing.B) {
	t := open(b)
	t.put("a", "x")
	for b.Loop() {
		if _, err := t.StatObject(b.Context(), data.ObjectGet{Bucket: ref, Key: "a"}); err != nil {
			b.Fatal(err)
		}
	}
}

// A common prefix costs the same with ten objects below it or a thousand.
func BenchmarkListPrefixes(b *testing.B) {
	for _, below := range []int{10, 1000} {
		b.Run(fmt.Sprint(below), func(b *testing.B) {
			t := open(b)
			t.put("source", "x")
			for i := range 10 * below {
				c := data.ObjectCopy{From: data.ObjectGet{Bucket: ref, Key: "source"}, To: data.ObjectPut{Bucket: ref, Key: fmt.Sprintf("%d/%d", i%10, i)}}
				if _, err := t.CopyObject(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				l, err := t.ListObjects(b.Context(), data.ObjectList{Bucket: ref, Delimiter: "/"})
				if err != nil || len(l.Prefixes) != 10 {
					b.Fatal(l, err)
				}
			}
		})
	}
}
