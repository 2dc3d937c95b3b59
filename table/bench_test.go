package table_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rouse-run/rouse/data"
)

// The limits that these are read against: put and get 10,000 a second each at
// 32 clients, a query of 100 items 2 ms.
func BenchmarkPut(b *testing.B) {
	for name, d := range map[string]data.Table{"plain": {}, "index": {Indexes: []data.Index{{Name: "g", Key: data.Attribute{Name: "group"}}}}, "feed": {Changes: 3600e9}} {
		b.Run(name, func(b *testing.B) {
			ts, _, _ := open(b)
			create(b, ts, d)
			var n atomic.Int64
			b.ResetTimer()
			b.SetParallelism(16) // by two processors: 32 clients
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					w := data.Write{Op: data.WritePut, Table: ref, Item: data.Item{"pk": data.Text(fmt.Sprint(i % 50_000)), "n": data.Int(i), "group": data.Text(fmt.Sprint(i % 1000)), "body": data.Text(strings.Repeat("x", 200))}}
					if _, err := ts.Write(b.Context(), w); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "put/s")
		})
	}
}

func BenchmarkUpdate(b *testing.B) {
	ts, _, _ := open(b)
	create(b, ts, data.Table{})
	e := edits(b, `{"add":{"n":1},"set":{"last":"x"}}`)
	var n atomic.Int64
	b.ResetTimer()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w := data.Write{Op: data.WriteUpdate, Table: ref, Key: data.Item{"pk": data.Text(fmt.Sprint(n.Add(1) % 5000))}, Edits: e}
			if _, err := ts.Write(b.Context(), w); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "update/s")
}

func BenchmarkGet(b *testing.B) {
	ts, _, _ := open(b)
	create(b, ts, data.Table{})
	for i := range 2000 {
		put(b, ts, fmt.Sprintf(`{"pk":"%d","n":%d,"body":"%s"}`, i, i, strings.Repeat("x", 200)))
	}
	var n atomic.Int64
	b.ResetTimer()
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			items, err := ts.GetItems(b.Context(), []data.ItemKey{{Table: ref, Key: data.Item{"pk": data.Text(fmt.Sprint(n.Add(1) % 2000))}}})
			if err != nil || items[0] == nil {
				b.Fatal(items, err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "get/s")
}

func BenchmarkQuery100(b *testing.B) {
	ts, _, _ := open(b)
	create(b, ts, data.Table{Sort: data.Attribute{Name: "s", Type: data.Number}, Indexes: []data.Index{{Name: "g", Key: data.Attribute{Name: "g"}}}})
	for i := range 1000 {
		put(b, ts, fmt.Sprintf(`{"pk":"p","s":%d,"g":"%d","body":"%s"}`, i, i/100, strings.Repeat("x", 200)))
	}
	for _, index := range []string{"", "g"} {
		b.Run("index="+index, func(b *testing.B) {
			q := data.Query{Table: ref, Index: index, Key: data.Text("p"), Select: data.Select{Limit: 100}}
			if index != "" {
				q.Key = data.Text("5")
			}
			for b.Loop() {
				p, err := ts.Query(b.Context(), q)
				if err != nil || len(p.Items) != 100 {
					b.Fatal(len(p.Items), err)
				}
			}
		})
	}
}
