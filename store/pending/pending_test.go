package pending

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rouse-run/rouse"
)

// A table is what is stored, read as a driver must. A value of "damaged" is.
type table map[string]string

func (m table) pair(key string) (rouse.Pair, error) {
	if m[key] == "damaged" {
		return rouse.Pair{Key: []byte(key)}, rouse.Errorf(rouse.Internal, "read", key, "damaged")
	}
	return rouse.Pair{Key: []byte(key), Value: []byte(m[key])}, nil
}

func (m table) Get(keys ...[]byte) (values [][]byte, err error) {
	values = make([][]byte, len(keys))
	for i, key := range keys {
		if _, ok := m[string(key)]; !ok {
			continue
		}
		p, e := m.pair(string(key))
		if values[i] = p.Value; e != nil {
			err = e
		}
	}
	return values, err
}

func (m table) Scan(s rouse.Span) (ps []rouse.Pair, err error) {
	keys := slices.Sorted(maps.Keys(m))
	if s.Reverse {
		slices.Reverse(keys)
	}
	size := 0
	for _, key := range keys {
		if !(span{s.From, s.To}).holds([]byte(key)) {
			continue
		}
		p, e := m.pair(key)
		if e != nil {
			err = e
		}
		ps = append(ps, p)
		if size += len(p.Value); s.Limit > 0 && len(ps) == s.Limit || s.Size > 0 && size >= s.Size {
			break
		}
	}
	return ps, err
}

func (m table) Count(from, to []byte) (int64, error) {
	ps, _ := m.Scan(rouse.Span{From: from, To: to})
	return int64(len(ps)), nil
}

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

// write makes the same random change in a Writer and a table.
func write(r *rand.Rand, w *Writer, m table) {
	key := randomKey(r)
	switch r.IntN(8) {
	case 0:
		to := randomTo(r)
		w.Clear(key, to)
		maps.DeleteFunc(m, func(k, _ string) bool { return span{key, to}.holds([]byte(k)) })
	case 1, 2:
		w.Delete(key)
		delete(m, string(key))
	default:
		value := strings.Repeat("v", r.IntN(4))
		w.Put(key, []byte(value))
		m[string(key)] = value
	}
}

// compare reads the same of both, at random.
func compare(r *rand.Rand, w *Writer, m table) error {
	s := rouse.Span{From: randomKey(r), To: randomTo(r), Reverse: r.IntN(2) == 0, Limit: r.IntN(6), Size: r.IntN(2) * r.IntN(9)}
	want, wantErr := m.Scan(s)
	got, err := w.Scan(s)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		return fmt.Errorf("scan %+v (-want +got):\n%s", s, diff)
	}
	if (wantErr != nil) != (err != nil) || err != nil && !damaged(err) {
		return fmt.Errorf("scan %+v: error %v, want %v", s, err, wantErr)
	}
	n, err := w.Count(s.From, s.To)
	if want, _ := m.Count(s.From, s.To); n != want || err != nil {
		return fmt.Errorf("count %+v: %d, %v, want %d", s, n, err, want)
	}
	keys := [][]byte{randomKey(r), randomKey(r), randomKey(r)}
	values, wantErr := m.Get(keys...)
	found, err := w.Get(keys...)
	if diff := cmp.Diff(values, found); diff != "" || (err == nil) != (wantErr == nil) {
		return fmt.Errorf("get %q: error %v, want %v (-want +got):\n%s", keys, err, wantErr, diff)
	}
	return nil
}

func TestAWriterReadsAsIfItHadWritten(t *testing.T) {
	for seed := range uint64(800) {
		r := rand.New(rand.NewPCG(seed, 0))
		base := table{}
		for range r.IntN(200) {
			base[string(append(randomKey(r), randomKey(r)...))] = strings.Repeat("v", r.IntN(4))
		}
		if seed%3 == 0 {
			for range 3 {
				base[string(randomKey(r))] = "damaged"
			}
		}
		// One over another, as several changes in one transaction.
		outer, model := New(base), maps.Clone(base)
		for range r.IntN(8) {
			write(r, outer, model)
		}
		inner, after := New(outer), maps.Clone(model)
		for range r.IntN(8) {
			write(r, inner, after)
			if err := compare(r, inner, after); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if err := compare(r, outer, model); err != nil {
			t.Fatalf("seed %d, the outer one: %v", seed, err)
		}
		if err := inner.Apply(outer); err != nil {
			t.Fatal(err)
		}
		if err := compare(r, outer, after); err != nil {
			t.Fatalf("seed %d, the outer one afterwards: %v", seed, err)
		}
		for key := range base {
			if base[key] != after[key] && !outer.Wrote([]byte(key)) {
				t.Fatalf("seed %d: %q has changed, and was not written", seed, key)
			}
		}
		stored := maps.Clone(base)
		err := outer.Changes(
			func(from, to []byte) error {
				maps.DeleteFunc(stored, func(k, _ string) bool { return span{from, to}.holds([]byte(k)) })
				return nil
			},
			func(key, value []byte) error { stored[string(key)] = string(value); return nil },
			func(key []byte) error { delete(stored, string(key)); return nil })
		if diff := cmp.Diff(after, stored); diff != "" || err != nil {
			t.Fatalf("seed %d: %v, stored (-want +got):\n%s", seed, err, diff)
		}
	}
}

// What was damaged and is now deleted or written anew harms nobody; what still
// is, is named, and nothing else.
func TestDamageThatIsGoneIsNotReported(t *testing.T) {
	base := table{"a": "1", "b": "damaged", "c": "damaged", "d": "damaged", "e": "damaged", "f": "2"}
	w := New(base)
	w.Delete([]byte("b"))
	w.Put([]byte("c"), []byte("anew"))
	w.Clear([]byte("d"), []byte("d\x00"))
	for _, reverse := range []bool{false, true} {
		for _, c := range []struct{ to, keys, says string }{{"e", "ac", ""}, {"", "acef", "read e: damaged"}} {
			s := rouse.Span{Reverse: reverse, To: []byte(c.to)}
			if c.to == "" {
				s.To = nil
			}
			ps, err := w.Scan(s)
			if reverse {
				slices.Reverse(ps)
			}
			keys, said := "", ""
			for _, p := range ps {
				keys += string(p.Key)
			}
			if err != nil {
				said = err.Error()
			}
			if keys != c.keys || said != c.says {
				t.Errorf("up to %q: keys %s, error %q; want %s, %q", c.to, keys, said, c.keys, c.says)
			}
			if n, err := w.Count(s.From, s.To); int(n) != len(c.keys) || err != nil {
				t.Errorf("up to %q: %d keys, %v; want %d", c.to, n, err, len(c.keys))
			}
		}
	}
}

func TestWhatWasWrittenIsKnown(t *testing.T) {
	w := New(table{"a": "1", "x": "2"})
	if !w.Empty() || w.Wrote([]byte("a")) || w.WroteIn(nil, nil) {
		t.Error("a new one has written")
	}
	w.Put([]byte("b"), nil)
	w.Delete([]byte("d"))
	w.Clear([]byte("m"), []byte("p"))
	for key, want := range map[string]bool{"a": false, "b": true, "c": false, "d": true, "m": true, "o": true, "p": false} {
		if w.Wrote([]byte(key)) != want {
			t.Errorf("%q was written: %v", key, !want)
		}
	}
	for _, c := range []struct {
		from, to string
		want     bool
	}{{"a", "b", false}, {"a", "c", true}, {"b", "b\x00", true}, {"e", "m", false}, {"e", "n", true}, {"o", "z", true}, {"p", "z", false}} {
		if w.WroteIn([]byte(c.from), []byte(c.to)) != c.want {
			t.Errorf("from %q to %q was written: %v", c.from, c.to, !c.want)
		}
	}
}

// What is too large is refused when the changes are asked for, and harms no
// Writer to which they would go.
func TestWhatIsTooLargeIsRefused(t *testing.T) {
	for _, put := range [][2][]byte{{make([]byte, maxKey+1), nil}, {nil, make([]byte, maxValue+1)}} {
		outer := New(table{})
		w := New(outer)
		w.Put([]byte("a"), nil)
		w.Put(put[0], put[1])
		if err := w.Apply(outer); rouse.KindOf(err) != rouse.TooLarge || !outer.Empty() {
			t.Errorf("error %v; want one that is too large, and nothing written", err)
		}
	}
}

// What was cleared is not read of the base, however much it is.
func TestWhatIsClearedIsNotRead(t *testing.T) {
	base := &counting{table: table{}}
	for i := range 10_000 {
		base.table[fmt.Sprintf("k%05d", i)] = "v"
	}
	for _, reverse := range []bool{false, true} {
		w := New(base)
		w.Clear([]byte("k"), []byte("k09"))
		w.Clear([]byte("k09"), []byte("k09999"))
		w.Put([]byte("k05"), nil)
		base.read = 0
		ps, err := w.Scan(rouse.Span{Limit: 5, Reverse: reverse})
		if err != nil || len(ps) != 2 || !bytes.Equal(ps[0].Key, []byte("k05")) != reverse {
			t.Errorf("pairs %q, %v", ps, err)
		}
		if base.read > 10 {
			t.Errorf("%d pairs were read", base.read)
		}
	}
}

// counting counts the pairs that are read.
type counting struct {
	table
	read int
}

func (c *counting) Scan(s rouse.Span) ([]rouse.Pair, error) {
	ps, err := c.table.Scan(s)
	c.read += len(ps)
	return ps, err
}
