package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
)

var keysTests = map[string]func(*testing.T, *subject[Store]){
	"no value is nil and an empty one is not": func(t *testing.T, s *subject[Store]) {
		k := keysOf(t, s, "k")
		update(t, k, func(w rouse.KeyWriter) error {
			w.Put([]byte("nil"), nil)
			w.Put([]byte("empty"), []byte{})
			w.Put([]byte{}, []byte("of the empty key"))
			values := must[[][]byte](t)(w.Get([]byte("nil"), []byte("empty"), []byte("none"), nil))
			wantValues(t, values, []byte{}, []byte{}, nil, []byte("of the empty key"))
			return nil
		})
		wantValues(t, get(t, k, "empty", "none", "nil", "", "empty"), []byte{}, nil, []byte{}, []byte("of the empty key"), []byte{})
		wantValues(t, get(t, k))
		for _, p := range scan(t, k, rouse.Span{}) {
			if p.Key == nil || p.Value == nil {
				t.Errorf("pair %q is %v", p.Key, p.Value)
			}
		}
	},
	"keys sort by bytes": func(t *testing.T, s *subject[Store]) {
		k := keysOf(t, s, "k")
		sorted := []string{"", "\x00", "\x00\x00", "\x00\xff", "A", "B", "a", "a\x00", "ab", "b", "\x7f", "\x80", "ä", "\xff", "\xff\xff"}
		slices.Sort(sorted)
		update(t, k, func(w rouse.KeyWriter) error {
			for i := range sorted {
				w.Put([]byte(sorted[(i*7)%len(sorted)]), []byte{byte((i * 7) % len(sorted))})
			}
			return nil
		})
		wantKeys(t, scan(t, k, rouse.Span{}), sorted...)
		slices.Reverse(sorted)
		wantKeys(t, scan(t, k, rouse.Span{Reverse: true}), sorted...)
	},
	"a span has its ends and its bounds": func(t *testing.T, s *subject[Store]) {
		k := keysOf(t, s, "k")
		put10(t, k)
		for _, c := range []struct {
			span rouse.Span
			want string
		}{
			{rouse.Span{}, "0123456789"},
			{rouse.Span{Reverse: true}, "9876543210"},
			{rouse.Span{From: []byte("3")}, "3456789"},
			{rouse.Span{To: []byte("3")}, "012"},
			{rouse.Span{From: []byte("3"), To: []byte("3")}, ""},
			{rouse.Span{From: []byte("5"), To: []byte("3")}, ""},
			{rouse.Span{To: []byte{}}, ""},
			{rouse.Span{From: []byte("2x"), To: []byte("5x")}, "345"},
			{rouse.Span{From: []byte("2"), To: []byte("5"), Reverse: true}, "432"},
			{rouse.Span{From: []byte("2"), Limit: 3}, "234"},
			{rouse.Span{From: []byte("2"), Limit: 3, Reverse: true}, "987"},
			{rouse.Span{Limit: 100}, "0123456789"},
			{rouse.Span{From: []byte("4"), Size: 1}, "4"},
			{rouse.Span{From: []byte("4"), Size: 10}, "4"},
			{rouse.Span{From: []byte("4"), Size: 11}, "45"},
			{rouse.Span{From: []byte("4"), Size: 1000, Limit: 2}, "45"},
			{rouse.Span{Size: 25, Reverse: true}, "987"},
		} {
			wantKeys(t, scan(t, k, c.span), letters(c.want)...)
		}
		for _, c := range []struct {
			from, to []byte
			want     int64
		}{{nil, nil, 10}, {[]byte("3"), nil, 7}, {nil, []byte("3"), 3}, {[]byte("2"), []byte("5"), 3}, {[]byte("5"), []byte("2"), 0}, {nil, []byte{}, 0}} {
			ok(t, k.View(t.Context(), func(r rouse.KeyReader) error {
				if n := must[int64](t)(r.Count(c.from, c.to)); n != c.want {
					t.Errorf("%d from %q to %q, want %d", n, c.from, c.to, c.want)
				}
				return nil
			}))
		}
	},
	"clear deletes a span": func(t *testing.T, s *subject[Store]) {
		k := keysOf(t, s, "k")
		put10(t, k)
		update(t, k, func(w rouse.KeyWriter) error { w.Clear([]byte("3"), []byte("6")); return nil })
		wantKeys(t, scan(t, k, rouse.Span{}), letters("0126789")...)
		update(t, k, func(w rouse.KeyWriter) error {
			w.Clear([]byte("8"), nil)
			w.Clear([]byte("6"), []byte("2"))
			return nil
		})
		wantKeys(t, scan(t, k, rouse.Span{}), letters("01267")...)
		update(t, k, func(w rouse.KeyWriter) error { w.Clear(nil, nil); w.Put([]byte("n"), nil); return nil })
		wantKeys(t, scan(t, k, rouse.Span{}), "n")
	},
	"a large page comes whole": func(t *testing.T, s *subject[Store]) {
		k := keysOf(t, s, "k")
		var want []string
		update(t, k, func(w rouse.KeyWriter) error {
			want = nil
			for i := range 5000 {
				key := fmt.Sprintf("%05d", i)
				want = append(want, key)
				w.Put([]byte(key), bytes.Repeat([]byte{byte(i)}, 100))
			}
			return nil
		})
		wantKeys(t, scan(t, k, rouse.Span{}), want...)
		values := get(t, k, want...)
		for i, v := range values {
			if !bytes.Equal(v, bytes.Repeat([]byte{byte(i)}, 100)) {
				t.Fatalf("value %d is %x", i, v)
			}
		}
	},
	"the largest key and value fit, and larger ones do not": func(t *testing.T, s *subject[Store]) {
		k := keysOf(t, s, "k")
		key, value := bytes.Repeat([]byte{0xff}, 2560), bytes.Repeat([]byte("v"), 32<<20)
		mixed := []byte("a") // an index may compress the other one
		for len(mixed) < len(key) {
			sum := sha256.Sum256(mixed)
			mixed = append(mixed, sum[:]...)
		}
		mixed = mixed[:len(key)]
		update(t, k, func(w rouse.KeyWriter) error {
			w.Put(key, value)
			w.Put([]byte("a"), nil)
			w.Put(mixed, mixed)
			return nil
		})
		wantValues(t, get(t, k, string(mixed)), mixed)
		if v := get(t, k, string(key)); !bytes.Equal(v[0], value) {
			t.Fatalf("%d bytes came back", len(v[0]))
		}
		if ps := scan(t, k, rouse.Span{From: []byte("b")}); len(ps) != 1 || !bytes.Equal(ps[0].Key, key) {
			t.Errorf("%d pairs, want the one of the largest key", len(ps))
		}
		for _, f := range []func(rouse.KeyWriter){
			func(w rouse.KeyWriter) { w.Put(append(key, 0), nil) },
			func(w rouse.KeyWriter) { w.Put([]byte("a"), append(value, 0)) },
		} {
			is(t, k.Update(t.Context(), func(w rouse.KeyWriter) error { w.Put([]byte("beside"), nil); f(w); return nil }), rouse.TooLarge)
		}
		wantValues(t, get(t, k, "a", "beside", string(key)+"x"), []byte{}, nil, nil)
		update(t, k, func(w rouse.KeyWriter) error { w.Clear(nil, nil); return nil })
	},
	"an error of f changes nothing and comes back as it is": func(t *testing.T, s *subject[Store]) {
		k := keysOf(t, s, "k")
		put10(t, k)
		for _, no := range []error{errors.New("no"), rouse.Errorf(rouse.Conflict, "test", "it", "no"), context.Canceled} {
			err := k.Update(t.Context(), func(w rouse.KeyWriter) error {
				w.Put([]byte("0"), nil)
				w.Put([]byte("new"), nil)
				w.Clear([]byte("1"), nil)
				return no
			})
			if err != no {
				t.Errorf("error %v, want %v itself", err, no)
			}
			if err := k.View(t.Context(), func(rouse.KeyReader) error { return no }); err != no {
				t.Errorf("error %v, want %v itself", err, no)
			}
		}
		wantKeys(t, scan(t, k, rouse.Span{}), letters("0123456789")...)
	},
	"neighbours are not harmed by one that fails": func(t *testing.T, s *subject[Store]) {
		k := keysOf(t, s, "k")
		no := errors.New("no")
		var want []string
		var wg sync.WaitGroup
		for i := range 96 {
			key := fmt.Sprintf("%03d", i)
			if i%4 < 2 {
				want = append(want, key)
			}
			wg.Go(func() {
				err := k.Update(t.Context(), func(w rouse.KeyWriter) error {
					w.Put([]byte(key), []byte(key))
					switch i % 4 {
					case 2:
						return no
					case 3:
						w.Put(make([]byte, 2561), nil)
					}
					return nil
				})
				if i%4 < 2 && err != nil || i%4 == 2 && err != no || i%4 == 3 && rouse.KindOf(err) != rouse.TooLarge {
					t.Errorf("update %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		wantKeys(t, scan(t, k, rouse.Span{}), want...)
	},
	"what is read may be kept": func(t *testing.T, s *subject[Store]) {
		k := keysOf(t, s, "k")
		put10(t, k)
		kept := scan(t, k, rouse.Span{})
		values := get(t, k, letters("0123456789")...)
		for i := range 20 {
			update(t, k, func(w rouse.KeyWriter) error {
				for _, l := range letters("0123456789") {
					w.Put([]byte(l), bytes.Repeat([]byte{byte(i)}, 10))
				}
				return nil
			})
			scan(t, k, rouse.Span{})
		}
		for i, p := range kept {
			if l := fmt.Sprint(i); string(p.Key) != l || !bytes.Equal(p.Value, bytes.Repeat([]byte(l), 10)) || !bytes.Equal(values[i], p.Value) {
				t.Errorf("pair %d is now %q: %q and %q", i, p.Key, p.Value, values[i])
			}
		}
	},
	"transactions do as a sorted list does": func(t *testing.T, s *subject[Store]) {
		for seed := range uint64(3) {
			compareWithModel(t, s, seed)
		}
	},
	"increments at once add up":      incrementsAddUp,
	"write skew does not happen":     noWriteSkew,
	"phantoms do not happen":         noPhantoms,
	"a view is one snapshot":         viewIsOneSnapshot,
	"a view beside writers is whole": viewBesideWriters,
	"an acknowledged change is seen": changesAreSeen,
	"a context that has ended does nothing": func(t *testing.T, s *subject[Store]) {
		k := keysOf(t, s, "k")
		put10(t, k)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := k.Update(ctx, func(w rouse.KeyWriter) error { w.Clear(nil, nil); return nil })
		is(t, err, rouse.Unavailable)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
		err = k.View(ctx, func(r rouse.KeyReader) error { _, err := r.Count(nil, nil); return err })
		is(t, err, rouse.Unavailable)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
		wantKeys(t, scan(t, k, rouse.Span{}), letters("0123456789")...)
	},
	"two names are two maps": func(t *testing.T, s *subject[Store]) {
		long := string(bytes.Repeat([]byte("n"), 127)) // longer than many a database's names
		names := []string{"a", "A", "a.b", "a-b", "a_b", long + "1", long + "2"}
		for _, name := range names {
			update(t, keysOf(t, s, name), func(w rouse.KeyWriter) error { w.Put([]byte(name), nil); return nil })
		}
		for _, reopen := range []bool{false, true} {
			if reopen {
				s.reopen(t)
			}
			for _, name := range names {
				wantKeys(t, scan(t, keysOf(t, s, name), rouse.Span{}), name)
			}
		}
		for _, name := range []string{"", "a/b", "a\"b", "ä"} {
			_, err := s.it.Keys(t.Context(), name)
			is(t, err, rouse.Invalid)
		}
	},
	"a name is one map": func(t *testing.T, s *subject[Store]) {
		put10(t, keysOf(t, s, "k"))
		wantKeys(t, scan(t, keysOf(t, s, "k"), rouse.Span{}), letters("0123456789")...)
	},
	"what was written survives a reopening": func(t *testing.T, s *subject[Store]) {
		put10(t, keysOf(t, s, "k"))
		for range 2 {
			s.reopen(t)
			ps := scan(t, keysOf(t, s, "k"), rouse.Span{})
			wantKeys(t, ps, letters("0123456789")...)
			if string(ps[3].Value) != "3333333333" {
				t.Errorf("value %q", ps[3].Value)
			}
		}
	},
	"a closed store is unavailable": func(t *testing.T, s *subject[Store]) {
		k := keysOf(t, s, "k")
		put10(t, k)
		ok(t, s.it.Close())
		ok(t, s.it.Close())
		is(t, k.Update(t.Context(), func(w rouse.KeyWriter) error { w.Clear(nil, nil); return nil }), rouse.Unavailable)
		is(t, k.View(t.Context(), func(r rouse.KeyReader) error { _, err := r.Count(nil, nil); return err }), rouse.Unavailable)
		_, err := s.it.Keys(t.Context(), "k")
		is(t, err, rouse.Unavailable)
		s.it = s.open(t)
		wantKeys(t, scan(t, keysOf(t, s, "k"), rouse.Span{}), letters("0123456789")...)
	},
	"closing commits or refuses each": func(t *testing.T, s *subject[Store]) {
		k := keysOf(t, s, "k")
		var made [64]atomic.Bool
		var begun, wg sync.WaitGroup
		begun.Add(len(made))
		for i := range made {
			wg.Go(func() {
				begun.Done()
				err := k.Update(t.Context(), func(w rouse.KeyWriter) error { w.Put([]byte{byte(i)}, nil); return nil })
				if made[i].Store(err == nil); err != nil && rouse.KindOf(err) != rouse.Unavailable {
					t.Errorf("update %d: %v", i, err)
				}
			})
		}
		begun.Wait()
		s.reopen(t)
		wg.Wait()
		var want []string
		for i := range made {
			if made[i].Load() {
				want = append(want, string([]byte{byte(i)}))
			}
		}
		wantKeys(t, scan(t, keysOf(t, s, "k"), rouse.Span{}), want...)
	},
}

func keysOf(t *testing.T, s *subject[Store], name string) rouse.Keys {
	t.Helper()
	return must[rouse.Keys](t)(s.it.Keys(t.Context(), name))
}

func update(t *testing.T, k rouse.Keys, f func(rouse.KeyWriter) error) {
	t.Helper()
	ok(t, k.Update(t.Context(), f))
}

// put10 writes the keys 0 to 9, each with ten bytes.
func put10(t *testing.T, k rouse.Keys) {
	t.Helper()
	update(t, k, func(w rouse.KeyWriter) error {
		for _, l := range letters("0123456789") {
			w.Put([]byte(l), bytes.Repeat([]byte(l), 10))
		}
		return nil
	})
}

func get(t *testing.T, k rouse.Keys, keys ...string) (values [][]byte) {
	t.Helper()
	var ks [][]byte
	for _, key := range keys {
		ks = append(ks, []byte(key))
	}
	ok(t, k.View(t.Context(), func(r rouse.KeyReader) (err error) {
		values, err = r.Get(ks...)
		return err
	}))
	return values
}

func scan(t *testing.T, k rouse.Keys, s rouse.Span) (ps []rouse.Pair) {
	t.Helper()
	ok(t, k.View(t.Context(), func(r rouse.KeyReader) (err error) {
		ps, err = r.Scan(s)
		return err
	}))
	return ps
}

// wantValues tells nil from empty.
func wantValues(t *testing.T, got [][]byte, want ...[]byte) {
	t.Helper()
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func wantKeys(t *testing.T, ps []rouse.Pair, want ...string) {
	t.Helper()
	var got []string
	for _, p := range ps {
		got = append(got, string(p.Key))
	}
	if !slices.Equal(want, got) {
		t.Fatalf("keys (-want +got):\n%.2000s", cmp.Diff(want, got))
	}
}

func letters(s string) (ls []string) {
	for i := range s {
		ls = append(ls, s[i:i+1])
	}
	return ls
}
