package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/store/storetest"
)

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// A desk is a Journal in a real store, with a neighbour on each side.
type desk struct {
	*testing.T
	Journal
	keys rouse.Keys
	site *storetest.Site
}

func open(t *testing.T) desk {
	site := drivers.Site(t)
	d := desk{t, Journal{[]byte("jb")}, site.Keys(t, "j"), site}
	for _, prefix := range []string{"ja", "jc"} {
		n := d
		n.Journal = Journal{[]byte(prefix)}
		n.append(start, "neighbour")
	}
	return d
}

func (d desk) update(f func(rouse.KeyWriter) error) {
	d.Helper()
	if err := d.keys.Update(d.Context(), f); err != nil {
		d.Fatal(err)
	}
}

func (d desk) append(at time.Time, bodies ...string) (first uint64) {
	d.Helper()
	d.update(func(w rouse.KeyWriter) (err error) {
		var bs [][]byte
		for _, b := range bodies {
			bs = append(bs, []byte(b))
		}
		first, err = d.Append(w, at, bs...)
		return err
	})
	return first
}

func (d desk) read(after uint64, limit, size int) (text string, err error) {
	d.Helper()
	verr := d.keys.View(d.Context(), func(r rouse.KeyReader) error {
		var es []Entry
		es, err = d.Read(r, after, limit, size)
		for _, e := range es {
			text += fmt.Sprintf("%d@%g:%s ", e.Number, e.Time.Sub(start).Seconds(), e.Body)
		}
		return nil
	})
	if verr != nil {
		d.Fatal(verr)
	}
	return text, err
}

func (d desk) wantRead(after uint64, limit, size int, want string) {
	d.Helper()
	if got, err := d.read(after, limit, size); got != want || err != nil {
		d.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func (d desk) wantBounds(first, next uint64) {
	d.Helper()
	err := d.keys.View(d.Context(), func(r rouse.KeyReader) error {
		a, b, err := d.Bounds(r)
		if a != first || b != next {
			d.Fatalf("from %d to %d, want from %d to %d", a, b, first, next)
		}
		return err
	})
	if err != nil {
		d.Fatal(err)
	}
}

func (d desk) seek(t time.Time) (after uint64) {
	d.Helper()
	err := d.keys.View(d.Context(), func(r rouse.KeyReader) (err error) {
		after, err = d.Seek(r, t)
		return err
	})
	if err != nil {
		d.Fatal(err)
	}
	return after
}

func (d desk) trim(before time.Time, most int) (n int) {
	d.Helper()
	d.update(func(w rouse.KeyWriter) (err error) {
		n, err = d.Trim(w, before, most)
		return err
	})
	return n
}

// spoil changes the value of a key, which is in hex.
func (d desk) spoil(key string) {
	d.Helper()
	d.site.Spoil(d.T, "j", rouse.Span{}, key)
}

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

func TestNumbersAndTimes(t *testing.T) {
	d := open(t)
	d.wantBounds(1, 1)
	d.wantRead(0, 0, 0, "")
	if n := d.append(at(1), "a", "", "c"); n != 1 {
		t.Fatal(n)
	}
	if n := d.append(at(-5), "d"); n != 4 {
		t.Fatal(n)
	}
	if n := d.append(at(2), "e"); n != 5 {
		t.Fatal(n)
	}
	d.wantBounds(1, 6)
	d.wantRead(0, 0, 0, "1@1:a 2@1: 3@1:c 4@1:d 5@2:e ")
	d.wantRead(0, 2, 0, "1@1:a 2@1: ")
	d.wantRead(2, 2, 0, "3@1:c 4@1:d ")
	d.wantRead(0, 0, 1, "1@1:a ")
	d.wantRead(5, 0, 0, "")
	d.wantRead(1<<64-1, 0, 0, "")
}

func TestWhatFailsLeavesNoGap(t *testing.T) {
	d := open(t)
	no := errors.New("no")
	err := d.keys.Update(t.Context(), func(w rouse.KeyWriter) error {
		if _, err := d.Append(w, start, []byte("lost")); err != nil {
			return err
		}
		if es, err := d.Read(w, 0, 0, 0); len(es) != 1 || err != nil {
			t.Errorf("a transaction reads %v, %v of its own", es, err)
		}
		return no
	})
	if err != no {
		t.Fatal(err)
	}
	if n := d.append(start, "a"); n != 1 {
		t.Fatal(n)
	}
}

func TestSeveralAtOnce(t *testing.T) {
	d := open(t)
	d.append(start, "a")
	other := Journal{[]byte("jd")}
	d.update(func(w rouse.KeyWriter) error {
		firsts, err := AppendAll(w, at(1), []Batch{{d.Journal, [][]byte{[]byte("b"), []byte("c")}}, {other, [][]byte{[]byte("x")}}})
		if err == nil && (firsts[0] != 2 || firsts[1] != 1) {
			t.Errorf("firsts %v", firsts)
		}
		return err
	})
	d.wantRead(0, 0, 0, "1@0:a 2@1:b 3@1:c ")
	d.Journal = other
	d.wantRead(0, 0, 0, "1@1:x ")
}

func TestSeekAndTrim(t *testing.T) {
	d := open(t)
	if got := d.seek(start); got != 0 {
		t.Fatal(got)
	}
	for i := range 20 {
		d.append(at(i/2*10), fmt.Sprint(i)) // two at a time
	}
	d.wantSeeks()
	if n := d.trim(at(30), 4); n != 4 {
		t.Fatalf("%d trimmed", n)
	}
	d.wantBounds(5, 21)
	if n := d.trim(at(30), 4); n != 2 {
		t.Fatalf("%d trimmed", n)
	}
	if n := d.trim(at(30), 4); n != 0 {
		t.Fatalf("%d trimmed", n)
	}
	d.wantBounds(7, 21)
	d.wantRead(0, 2, 0, "7@30:6 8@30:7 ")
	d.wantSeeks()
	if n := d.trim(at(1000), 1000); n != 14 {
		t.Fatalf("%d trimmed", n)
	}
	d.wantBounds(21, 21)
	d.wantSeeks()
	if n := d.append(at(1000), "next"); n != 21 {
		t.Fatal(n)
	}
}

// wantSeeks compares Seek to what reading everything says.
func (d desk) wantSeeks() {
	d.Helper()
	for s := -5; s < 200; s += 5 {
		var want uint64
		err := d.keys.View(d.Context(), func(r rouse.KeyReader) error {
			first, _, err := d.Bounds(r)
			want = first - 1
			es, rerr := d.Read(r, 0, 0, 0)
			for _, e := range es {
				if e.Time.Before(at(s)) {
					want = e.Number
				}
			}
			return errors.Join(err, rerr)
		})
		if err != nil {
			d.Fatal(err)
		}
		if got := d.seek(at(s)); got != want {
			d.Fatalf("seek %d s: after %d, want after %d", s, got, want)
		}
	}
}

func TestRemove(t *testing.T) {
	d := open(t)
	d.append(at(100), "a", "b")
	d.trim(at(200), 1)
	d.update(func(w rouse.KeyWriter) error { d.Remove(w); return nil })
	d.wantBounds(1, 1)
	if n := d.append(at(1), "c"); n != 1 {
		t.Fatal(n)
	}
	d.wantRead(0, 0, 0, "1@1:c ")
	for _, prefix := range []string{"ja", "jc"} {
		d.Journal = Journal{[]byte(prefix)}
		d.wantRead(0, 0, 0, "1@0:neighbour ")
	}
}

func TestDamagedEntriesArePassedOver(t *testing.T) {
	d := open(t)
	for i := range 8 {
		d.append(at(i), fmt.Sprint(i))
	}
	for _, n := range []int{1, 2, 3, 6, 8} {
		d.spoil(fmt.Sprintf("6A6265%016X", n))
	}
	got, err := d.read(0, 2, 0)
	if got != "4@3:3 5@4:4 " || rouse.KindOf(err) != rouse.Internal {
		t.Fatalf("read %q, %v", got, err)
	}
	if got, err = d.read(4, 0, 0); got != "5@4:4 7@6:6 " || rouse.KindOf(err) != rouse.Internal {
		t.Fatalf("read %q, %v", got, err)
	}
	if got, err = d.read(7, 1, 0); got != "" || rouse.KindOf(err) != rouse.Internal {
		t.Fatalf("read %q, %v", got, err)
	}
	// Damaged ones count as the next one that is whole.
	for s, want := range map[int]uint64{0: 0, 1: 0, 3: 0, 4: 4, 5: 5, 6: 5, 7: 7, 8: 8} {
		if got := d.seek(at(s)); got != want {
			t.Errorf("seek %d s: after %d, want after %d", s, got, want)
		}
	}
	if n := d.trim(at(5), 100); n != 5 {
		t.Errorf("%d trimmed", n)
	}
	d.wantBounds(6, 9)
}

func TestADamagedHeadIsMadeAgain(t *testing.T) {
	d := open(t)
	for i := range 5 {
		d.append(at(i), fmt.Sprint(i))
	}
	d.trim(at(2), 100)
	d.spoil("6A6268")
	d.wantBounds(3, 6)
	if n := d.append(at(1), "5"); n != 6 {
		t.Fatal(n)
	}
	d.wantRead(4, 0, 0, "5@4:4 6@4:5 ")
	d.spoil("6A6274")
	d.wantBounds(3, 7)
	d.trim(at(100), 100)
	d.spoil("6A6268")
	if n := d.append(at(9), "6"); n != 7 {
		t.Fatal(n)
	}
}

func TestWaiters(t *testing.T) {
	var ws Waiters
	a, b := rouse.Ref{Namespace: "n", Name: "a"}, rouse.Ref{Namespace: "n", Name: "b"}
	ws.Wake(a, "0") // nobody
	ofA, done := ws.wait(place{a, "0"})
	defer done()
	var others []<-chan struct{}
	for _, at := range []place{{a, "1"}, {b, "0"}} {
		c, done := ws.wait(at)
		others = append(others, c)
		defer done()
	}
	ws.Wake(a, "0")
	<-ofA
	for _, c := range others {
		select {
		case <-c:
			t.Fatal("another was woken")
		default:
		}
	}
}

// A pretended feed says how often it is read, and after what.
func TestReadOfWaiters(t *testing.T) {
	q := data.FeedQuery{Ref: rouse.Ref{Namespace: "n", Name: "a"}, Shard: "0", Wait: 10 * time.Second}
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		wait  time.Duration
		at    int // the read that returns batch and err
		batch data.Batch
		err   error
		reads int
		took  time.Duration
	}{
		"no wait":            {wait: 0, at: -1, reads: 1},
		"entries at once":    {wait: 10 * time.Second, at: 1, batch: data.Batch{Entries: make([]data.Entry, 1), After: 9}, reads: 1},
		"an error":           {wait: 10 * time.Second, at: 2, err: broken, reads: 2, took: 3 * time.Second},
		"its end":            {wait: 10 * time.Second, at: 3, batch: data.Batch{Ended: true, After: 9}, reads: 3, took: 6 * time.Second},
		"nothing":            {wait: 10 * time.Second, at: -1, reads: 5, took: 10 * time.Second},
		"at the last moment": {wait: 10 * time.Second, at: 5, batch: data.Batch{Entries: make([]data.Entry, 1), After: 9}, reads: 5, took: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ws := Waiters{Look: 3 * time.Second}
				q.Wait = c.wait
				reads, began := 0, time.Now()
				b, err := ws.Read(t.Context(), q, func(_ context.Context, q data.FeedQuery) (data.Batch, error) {
					if q.After != uint64(reads) {
						t.Errorf("read %d is after %d", reads+1, q.After)
					}
					if reads++; reads == c.at {
						return c.batch, c.err
					}
					return data.Batch{After: uint64(reads)}, nil // as one who has passed over damage
				})
				want := c.batch
				if c.at < 0 {
					want.After = uint64(c.reads)
				}
				if diff := cmp.Diff(want, b); diff != "" || err != c.err || reads != c.reads || time.Since(began) != c.took {
					t.Errorf("%d reads in %v, error %v (-want +got):\n%s", reads, time.Since(began), err, diff)
				}
				if len(ws.bells) != 0 {
					t.Errorf("%d bells are left", len(ws.bells))
				}
			})
		})
	}
}

// What is added while it is read must not be waited for.
func TestReadOfWaitersIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws := Waiters{Look: time.Hour}
		q := data.FeedQuery{Ref: rouse.Ref{Namespace: "n", Name: "a"}, Shard: "0", Wait: 24 * time.Hour}
		for _, added := range []string{"while it is read", "while it waits"} {
			reads, began := 0, time.Now()
			_, err := ws.Read(t.Context(), q, func(context.Context, data.FeedQuery) (data.Batch, error) {
				if reads++; reads == 2 {
					return data.Batch{Ended: true}, nil
				}
				if added == "while it is read" {
					ws.Wake(q.Ref, q.Shard)
				} else {
					time.AfterFunc(time.Second, func() { ws.Wake(q.Ref, q.Shard) })
				}
				return data.Batch{}, nil
			})
			if err != nil || reads != 2 || time.Since(began) > time.Second {
				t.Errorf("%s: %d reads in %v, %v", added, reads, time.Since(began), err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, err := ws.Read(ctx, q, func(context.Context, data.FeedQuery) (data.Batch, error) { cancel(); return data.Batch{}, nil })
		if rouse.KindOf(err) != rouse.Unavailable || !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want an unavailable one of the context", err)
		}
		if len(ws.bells) != 0 {
			t.Errorf("%d bells are left", len(ws.bells))
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{}, []byte("jbe\x00\x00\x00\x00\x00\x00\x00\x01"), []byte("\x80\x00\x00\x00\x00\x00\x00\x05body"))
	f.Add(head{7, 123}.encode(), []byte("jbe"), []byte{})
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), []byte{}, []byte("x"))
	f.Fuzz(func(t *testing.T, h, key, value []byte) {
		if got, err := decodeHead(h); err == nil && h != nil && !bytes.Equal(got.encode(), h) {
			t.Errorf("head %x is written again as %x", h, got.encode())
		}
		if n, err := decodeTrimmed(h); err == nil && n+1 == 0 {
			t.Errorf("trimmed %x: nothing can come after it", h)
		}
		j := Journal{[]byte("jb")}
		if e, err := j.decodeEntry(rouse.Pair{Key: key, Value: value}); err == nil {
			if again := encodeEntry(e.Time.UnixMicro(), e.Body); !bytes.Equal(again, value) {
				t.Errorf("entry %x is written again as %x", value, again)
			}
		}
	})
}

func BenchmarkAppend100(b *testing.B) {
	keys := drivers.Site(b).Keys(b, "j")
	j := Journal{[]byte("j")}
	bodies := make([][]byte, 100)
	for i := range bodies {
		bodies[i] = make([]byte, 1024)
	}
	for b.Loop() {
		err := keys.Update(b.Context(), func(w rouse.KeyWriter) error {
			_, err := j.Append(w, time.Now(), bodies...)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "entries/s")
}
