package meta

import (
	"fmt"
	"testing"

	"github.com/rouse-run/rouse"
)

func BenchmarkList10k(b *testing.B) {
	m := New(drivers.Site(b).Keys(b, "meta"))
	var cs []rouse.Change
	for i := range 10_000 {
		cs = append(cs, rouse.Change{Kind: "function", Ref: rouse.Ref{Namespace: "default", Name: fmt.Sprintf("f%05d", i)}, Data: make([]byte, 1024)})
	}
	if err := m.Apply(b.Context(), cs); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		docs, err := m.List(b.Context(), rouse.DocQuery{Kind: "function", Namespace: "default"})
		if err != nil || len(docs) != 10_000 {
			b.Fatal(len(docs), err)
		}
	}
}
