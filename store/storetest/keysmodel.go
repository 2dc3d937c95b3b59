package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rouse-run/rouse"
)

// A model is what Keys are, done slowly: pairs in the order of their keys.
type model []rouse.Pair

func (m model) find(key []byte) (int, bool) {
	return slices.BinarySearchFunc(m, key, func(p rouse.Pair, key []byte) int { return bytes.Compare(p.Key, key) })
}

func (m model) get(key []byte) []byte {
	if i, found := m.find(key); found {
		return m[i].Value
	}
	return nil
}

// without returns m without the pairs of a span.
func (m model) without(from, to []byte) model {
	return slices.DeleteFunc(slices.Clone(m), func(p rouse.Pair) bool { return holds(from, to, p.Key) })
}

func (m model) with(key, value []byte) model {
	i, found := m.find(key)
	m = slices.Clone(m)
	if found {
		m[i].Value = value
		return m
	}
	return slices.Insert(m, i, rouse.Pair{Key: key, Value: value})
}

func (m model) scan(s rouse.Span) (ps []rouse.Pair) {
	all := slices.Clone(m)
	if s.Reverse {
		slices.Reverse(all)
	}
	size := 0
	for _, p := range all {
		if !holds(s.From, s.To, p.Key) {
			continue
		}
		ps = append(ps, p)
		if size += len(p.Value); s.Limit > 0 && len(ps) == s.Limit || s.Size > 0 && size >= s.Size {
			break
		}
	}
	return ps
}

func holds(from, to, key []byte) bool {
	return bytes.Compare(key, from) >= 0 && (to == nil || bytes.Compare(key, to) < 0)
}

// compareWithModel runs transactions of random operations on a map and on a
// model.
func compareWithModel(t *testing.T, s *subject[Store], seed uint64) {
	k := keysOf(t, s, fmt.Sprint("model", seed))
	var m model
	no := errors.New("no")
	for n := range 40 {
		var after model
		refused := n%7 == 6
		err := k.Update(t.Context(), func(w rouse.KeyWriter) error {
			// The same again where f runs again.
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			after = slices.Clone(m)
			for range 1 + r.IntN(12) {
				after = randomWrite(r, w, after)
				if err := randomRead(r, w, after); err != nil {
					return fmt.Errorf("seed %d, transaction %d, in it: %w", seed, n, err)
				}
			}
			if refused {
				return no
			}
			return nil
		})
		switch {
		case refused && err == no:
		case err != nil:
			t.Fatal(err)
		default:
			m = after
		}
		err = k.View(t.Context(), func(kr rouse.KeyReader) error {
			r := rand.New(rand.NewPCG(seed, uint64(n)+1<<32))
			return errors.Join(randomRead(r, kr, m), randomRead(r, kr, m), compareScan(kr, m, rouse.Span{}))
		})
		if err != nil {
			t.Fatalf("seed %d, after transaction %d: %v", seed, n, err)
		}
	}
}

func randomWrite(r *rand.Rand, w rouse.KeyWriter, m model) model {
	key := randomKey(r)
	switch r.IntN(10) {
	case 0:
		to := randomTo(r)
		w.Clear(key, to)
		return m.without(key, to)
	case 1, 2, 3:
		w.Delete(key)
		return m.without(key, append(bytes.Clone(key), 0))
	case 4: // many, as one page is not enough then
		for range 80 {
			key := append(randomKey(r), randomKey(r)...)
			value := make([]byte, r.IntN(9))
			w.Put(key, value)
			m = m.with(key, value)
		}
		return m
	default:
		value := []byte(fmt.Sprint(r.IntN(1000)))[:r.IntN(2)]
		w.Put(key, value)
		return m.with(key, value)
	}
}

func randomRead(r *rand.Rand, kr rouse.KeyReader, m model) error {
	switch r.IntN(3) {
	case 0:
		var keys, want [][]byte
		for range 1 + r.IntN(5) {
			key := randomKey(r)
			keys, want = append(keys, key), append(want, m.get(key))
		}
		got, err := kr.Get(keys...)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			return fmt.Errorf("get %q: %v (-want +got):\n%s", keys, err, diff)
		}
	case 1:
		from, to := randomKey(r), randomTo(r)
		want := len(m.scan(rouse.Span{From: from, To: to}))
		if got, err := kr.Count(from, to); got != int64(want) || err != nil {
			return fmt.Errorf("count from %q to %q: %d, %v; want %d", from, to, got, err, want)
		}
	default:
		s := rouse.Span{From: randomKey(r), To: randomTo(r), Reverse: r.IntN(2) == 0}
		if r.IntN(2) == 0 {
			s.Limit = 1 + r.IntN(10)
		}
		if r.IntN(3) == 0 {
			s.Size = 1 + r.IntN(20)
		}
		return compareScan(kr, m, s)
	}
	return nil
}

func compareScan(kr rouse.KeyReader, m model, s rouse.Span) error {
	got, err := kr.Scan(s)
	if diff := cmp.Diff(m.scan(s), got, cmpopts.EquateEmpty()); diff != "" || err != nil {
		return fmt.Errorf("scan %+v: %v (-want +got):\n%.3000s", s, err, diff)
	}
	return nil
}

// randomKey is one of few, so that they meet.
func randomKey(r *rand.Rand) []byte {
	key := []byte{}
	for range r.IntN(4) {
		key = append(key, "\x00ab\xff"[r.IntN(4)])
	}
	return key
}

func randomTo(r *rand.Rand) []byte {
	if r.IntN(4) == 0 {
		return nil
	}
	return randomKey(r)
}
