package storetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/rouse-run/rouse"
)

func number(b []byte) uint64 {
	n, _ := binary.Uvarint(b)
	return n
}

func bytesOf(n uint64) []byte { return binary.AppendUvarint(nil, n) }

// together calls f from so many goroutines and waits for all.
func together(t *testing.T, workers int, f func(worker int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			if err := f(i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func incrementsAddUp(t *testing.T, s *subject[Store]) {
	const workers, rounds, counters = 16, 20, 3
	k := keysOf(t, s, "k")
	together(t, workers, func(worker int) error {
		for i := range rounds {
			key := []byte{byte(worker+i) % counters}
			err := k.Update(t.Context(), func(w rouse.KeyWriter) error {
				v, err := w.Get(key)
				if err != nil {
					return err
				}
				w.Put(key, bytesOf(number(v[0])+1))
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	var sum uint64
	for _, p := range scan(t, k, rouse.Span{}) {
		sum += number(p.Value)
	}
	if sum != workers*rounds {
		t.Errorf("the counters are %d together, want %d", sum, workers*rounds)
	}
}

// Each takes itself off where somebody else stays: one at least always does.
func noWriteSkew(t *testing.T, s *subject[Store]) {
	k := keysOf(t, s, "k")
	who := [][]byte{[]byte("x"), []byte("y"), []byte("z")}
	for round := range 20 {
		update(t, k, func(w rouse.KeyWriter) error {
			for _, key := range who {
				w.Put(key, []byte("on"))
			}
			return nil
		})
		together(t, len(who), func(worker int) error {
			return k.Update(t.Context(), func(w rouse.KeyWriter) error {
				values, err := w.Get(who...)
				if err != nil {
					return err
				}
				on := 0
				for _, v := range values {
					if string(v) == "on" {
						on++
					}
				}
				if on > 1 {
					w.Put(who[worker], []byte("off"))
				}
				return nil
			})
		})
		on := 0
		for _, p := range scan(t, k, rouse.Span{}) {
			if string(p.Value) == "on" {
				on++
			}
		}
		if on != 1 {
			t.Fatalf("round %d: %d stay, want 1", round, on)
		}
	}
}

// Each adds a key of its own where there are fewer than five, as a count, a
// scan or a look at a missing key tells it.
func noPhantoms(t *testing.T, s *subject[Store]) {
	for round := range 6 {
		k := keysOf(t, s, fmt.Sprint("k", round%3))
		update(t, k, func(w rouse.KeyWriter) error { w.Clear(nil, nil); return nil })
		together(t, 12, func(worker int) error {
			return k.Update(t.Context(), func(w rouse.KeyWriter) error {
				var n int64
				var err error
				switch round % 3 {
				case 0:
					n, err = w.Count([]byte("a"), []byte("b"))
				case 1:
					var ps []rouse.Pair
					ps, err = w.Scan(rouse.Span{From: []byte("a"), Limit: 5, Reverse: worker%2 == 0})
					n = int64(len(ps))
				default:
					for slot := range byte(5) {
						var v [][]byte
						if v, err = w.Get([]byte{'a', slot}); err != nil || v[0] == nil {
							w.Put([]byte{'a', slot}, bytesOf(uint64(worker)+1))
							break
						}
					}
					return err
				}
				if n < 5 {
					w.Put([]byte{'a', byte(worker)}, nil)
				}
				return err
			})
		})
		ps := scan(t, k, rouse.Span{})
		if len(ps) != 5 {
			t.Fatalf("round %d: %d keys, want 5", round, len(ps))
		}
		for _, p := range ps[1:] {
			if round%3 == 2 && bytes.Equal(p.Value, ps[0].Value) {
				t.Fatalf("two keys are of worker %d", number(p.Value))
			}
		}
	}
}

func viewIsOneSnapshot(t *testing.T, s *subject[Store]) {
	k := keysOf(t, s, "k")
	put10(t, k)
	ok(t, k.View(t.Context(), func(r rouse.KeyReader) error {
		before := must[[][]byte](t)(r.Get([]byte("0")))
		update(t, k, func(w rouse.KeyWriter) error {
			w.Put([]byte("0"), []byte("changed"))
			w.Put([]byte("5x"), nil)
			w.Clear([]byte("7"), nil)
			return nil
		})
		wantValues(t, must[[][]byte](t)(r.Get([]byte("0"), []byte("5x"))), before[0], nil)
		wantKeys(t, must[[]rouse.Pair](t)(r.Scan(rouse.Span{})), letters("0123456789")...)
		if n := must[int64](t)(r.Count(nil, nil)); n != 10 {
			t.Errorf("%d pairs, want the ten from before", n)
		}
		return nil
	}))
	wantKeys(t, scan(t, k, rouse.Span{}), "0", "1", "2", "3", "4", "5", "5x", "6")
}

// Two keys are always the same, in whatever way a view reads them.
func viewBesideWriters(t *testing.T, s *subject[Store]) {
	k := keysOf(t, s, "k")
	write := func(n uint64) error {
		return k.Update(t.Context(), func(w rouse.KeyWriter) error {
			w.Put([]byte("a"), bytesOf(n))
			w.Put([]byte("z"), bytesOf(n))
			return nil
		})
	}
	ok(t, write(1))
	together(t, 6, func(worker int) error {
		for i := range uint64(40) {
			if worker < 2 {
				if err := write(i); err != nil {
					return err
				}
				continue
			}
			err := k.View(t.Context(), func(r rouse.KeyReader) error {
				a, err := r.Get([]byte("a"))
				if err != nil {
					return err
				}
				z, err := r.Scan(rouse.Span{From: []byte("b")})
				if err != nil || len(z) != 1 || !bytes.Equal(a[0], z[0].Value) {
					return fmt.Errorf("a is %x and z %v, %w", a, z, err)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// What Update has acknowledged, a View that begins later sees.
func changesAreSeen(t *testing.T, s *subject[Store]) {
	k := keysOf(t, s, "k")
	together(t, 8, func(worker int) error {
		key := []byte{byte(worker)}
		for i := range uint64(20) {
			if err := k.Update(t.Context(), func(w rouse.KeyWriter) error { w.Put(key, bytesOf(i)); return nil }); err != nil {
				return err
			}
			err := k.View(t.Context(), func(r rouse.KeyReader) error {
				v, err := r.Get(key)
				if err == nil && number(v[0]) != i {
					err = fmt.Errorf("%d, want %d", number(v[0]), i)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
