package ident

import (
	"regexp"
	"slices"
	"sync"
	"testing"
)

// IDs have the version and the variant of RFC 9562, section 5.7, sort in the order
// in which they were made, and no two are the same, whoever makes them.
func TestNew(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$`)
	const makers, n = 8, 2000
	var mu sync.Mutex
	var work sync.WaitGroup
	all := map[string]bool{}
	for range makers {
		work.Go(func() {
			mine := make([]string, n)
			for i := range mine {
				mine[i] = New()
			}
			mu.Lock()
			defer mu.Unlock()
			for _, s := range mine {
				if all[s] = true; !form.MatchString(s) {
					t.Errorf("%s is no UUIDv7", s)
				}
			}
			if !slices.IsSorted(mine) {
				t.Error("they don't sort by when they were made")
			}
		})
	}
	work.Wait()
	if len(all) != makers*n {
		t.Errorf("%d of %d are different", len(all), makers*n)
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		New()
	}
}
