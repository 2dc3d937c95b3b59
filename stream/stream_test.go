package stream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/store/storetest"
)

var (
	_     data.Streams = (*Streams)(nil)
	start              = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	hits               = rouse.Ref{Namespace: "default", Name: "hits"}
)

// A world is Streams in a real store, with a clock that stands until it is moved.
type world struct {
	*testing.T
	*Streams
	site    *storetest.Site
	clock   atomic.Int64
	updates atomic.Int64
}

// counted counts the transactions that write.
type counted struct {
	rouse.Keys
	updates *atomic.Int64
}

func (c counted) Update(ctx context.Context, f func(rouse.KeyWriter) error) error {
	c.updates.Add(1)
	return c.Keys.Update(ctx, f)
}

func open(t *testing.T) *world {
	w := &world{T: t, site: drivers.Site(t)}
	w.Streams = New(Config{Keys: counted{w.site.Keys(t, "stream"), &w.updates}, Now: w.now})
	t.Cleanup(func() { w.ok(w.Close()) })
	return w
}

func (w *world) now() time.Time { return start.Add(time.Duration(w.clock.Load())) }

func (w *world) advance(d time.Duration) { w.clock.Add(int64(d)) }

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) is(err error, k rouse.Kind, word string) {
	w.Helper()
	if err == nil || rouse.KindOf(err) != k || !strings.Contains(err.Error(), word) {
		w.Fatalf("error %v (%v), want one that is %v and says %q", err, rouse.KindOf(err), k, word)
	}
}

func (w *world) create(shards int) {
	w.Helper()
	_, err := w.Create(w.Context(), data.Stream{Ref: hits, Shards: shards})
	w.ok(err)
}

func (w *world) put(texts ...string) []data.Position {
	w.Helper()
	var rs []data.Record
	for _, text := range texts {
		key, _, _ := strings.Cut(text, "=")
		rs = append(rs, data.Record{Key: key, Data: []byte(text)})
	}
	ps, err := w.Append(w.Context(), hits, rs)
	w.ok(err)
	if len(ps) != len(rs) {
		w.Fatalf("%d positions of %d records", len(ps), len(rs))
	}
	return ps
}

// at appends a record with an explicit hash key.
func (w *world) at(hash uint64, text string) data.Position {
	w.Helper()
	ps, err := w.Append(w.Context(), hits, []data.Record{{Key: text, HashKey: &hash, Data: []byte(text)}})
	w.ok(err)
	return ps[0]
}

func (w *world) batch(shard string, after uint64, limit int) data.Batch {
	w.Helper()
	b, err := w.Read(w.Context(), data.FeedQuery{Ref: hits, Shard: shard, After: after, Limit: limit})
	w.ok(err)
	return b
}

func texts(b data.Batch) string {
	var all []string
	for _, e := range b.Entries {
		all = append(all, string(e.Event.Data))
	}
	return strings.Join(all, " ")
}

func (w *world) wantTexts(shard string, after uint64, want string) {
	w.Helper()
	if got := texts(w.batch(shard, after, 0)); got != want {
		w.Fatalf("shard %s holds %q, want %q", shard, got, want)
	}
}

// shape writes the shards as id(parents)from-to, in 16ths of all hash keys.
func (w *world) shape() string {
	w.Helper()
	shards, err := w.Shards(w.Context(), hits)
	w.ok(err)
	var all []string
	for _, s := range shards {
		short := func(id string) string { return strings.TrimLeft(id[:len(id)-1], "0") + id[len(id)-1:] }
		var parents []string
		for _, p := range s.Parents {
			parents = append(parents, short(p))
		}
		text := fmt.Sprintf("%s(%s)%x-%x", short(s.ID), strings.Join(parents, ","), s.From>>60, s.To>>60)
		if s.Closed {
			text += "!"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func (w *world) wantShape(want string) {
	w.Helper()
	if got := w.shape(); got != want {
		w.Fatalf("shards %q, want %q", got, want)
	}
}

func id(n uint64) string { return shardID(n) }

func TestOrderAndPositions(t *testing.T) {
	w := open(t)
	w.create(4)
	seen := map[string][]string{}
	for i := range 50 {
		var ts []string
		for k := range 5 {
			ts = append(ts, fmt.Sprintf("k%d=%d", k, i))
		}
		for j, p := range w.put(ts...) {
			seen[p.Shard] = append(seen[p.Shard], ts[j])
			if p.Sequence != uint64(len(seen[p.Shard])) {
				t.Fatalf("%s is number %d of %s, want %d", ts[j], p.Sequence, p.Shard, len(seen[p.Shard]))
			}
		}
	}
	if len(seen) < 2 {
		t.Fatalf("all keys in %d shards", len(seen))
	}
	for shard, want := range seen {
		w.wantTexts(shard, 0, strings.Join(want, " "))
		b := w.batch(shard, 3, 2)
		if texts(b) != strings.Join(want[3:5], " ") || b.After != 5 || b.Newest != uint64(len(want)) || b.Ended {
			t.Fatalf("batch %+v", b)
		}
		end := w.batch(shard, b.Newest, 2)
		if len(end.Entries) != 0 || end.After != b.Newest {
			t.Fatalf("batch %+v", end)
		}
	}
}

func TestTheHashOfAKey(t *testing.T) {
	w := open(t)
	w.create(16)
	// The MD5 of "hello" begins with 5d, that of "rouse" with 33.
	if ps := w.put("hello", "rouse"); ps[0].Shard != id(5) || ps[1].Shard != id(3) {
		t.Errorf("positions %v", ps)
	}
	if p := w.at(math.MaxUint64, "last"); p.Shard != id(15) {
		t.Errorf("position %v", p)
	}
	if p := w.at(0, "first"); p.Shard != id(0) {
		t.Errorf("position %v", p)
	}
}

func TestEvents(t *testing.T) {
	w := open(t)
	w.create(1)
	_, err := w.Append(t.Context(), hits, []data.Record{{Key: "é\x00", Data: []byte(`{"a":1}`)}, {Data: []byte{0xff}}})
	w.ok(err)
	b := w.batch(id(0), 0, 0)
	want := []data.Entry{
		{Sequence: 1, Key: "é\x00", Event: rouse.Event{ID: "default/hits/000000000000/1", Type: "stream.record", Source: "stream:hits",
			Subject: "é\x00", Time: start, ContentType: "application/json", Data: []byte(`{"a":1}`)}},
		{Sequence: 2, Event: rouse.Event{ID: "default/hits/000000000000/2", Type: "stream.record", Source: "stream:hits",
			Time: start, ContentType: "application/octet-stream", Data: []byte{0xff}}},
	}
	if diff := cmp.Diff(want, b.Entries); diff != "" {
		t.Fatalf("entries (-want +got):\n%s", diff)
	}
}

func TestAllOrNothing(t *testing.T) {
	w := open(t)
	w.create(1)
	large := data.Record{Key: "k", Data: make([]byte, data.MaxRecord-1)}
	_, err := w.Append(t.Context(), hits, []data.Record{large})
	w.ok(err)
	large.Data = append(large.Data, 0)
	_, err = w.Append(t.Context(), hits, []data.Record{{Data: []byte("a")}, large})
	w.is(err, rouse.TooLarge, "records[1]")
	_, err = w.Append(t.Context(), hits, slices.Repeat([]data.Record{{Data: make([]byte, data.MaxRecord)}}, 25))
	w.is(err, rouse.TooLarge, "in parts")
	_, err = w.Append(t.Context(), hits, make([]data.Record, maxRecords+1))
	w.is(err, rouse.TooLarge, "in parts")
	if b := w.batch(id(0), 0, 0); b.Newest != 1 {
		t.Fatalf("newest %d", b.Newest)
	}
	_, err = w.Append(t.Context(), rouse.Ref{Name: "no"}, []data.Record{{}})
	w.is(err, rouse.NotFound, "no")
	_, err = w.Append(t.Context(), rouse.Ref{Name: "no"}, nil)
	w.is(err, rouse.NotFound, "no")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = w.Append(ctx, hits, []data.Record{{}}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if b := w.batch(id(0), 0, 0); b.Newest != 1 {
		t.Fatalf("newest %d", b.Newest)
	}
}

func TestLargeRecordsComeInParts(t *testing.T) {
	w := open(t)
	w.create(1)
	for i := range 6 {
		w.put(strings.Repeat("x", data.MaxRecord/2-i))
	}
	w.put(slices.Repeat([]string{strings.Repeat("y", data.MaxRecord/2)}, 6)...)
	n, parts := 0, 0
	for after := uint64(0); ; parts++ {
		b := w.batch(id(0), after, 0)
		if len(b.Entries) == 0 {
			break
		}
		n, after = n+len(b.Entries), b.After
	}
	if n != 12 || parts < 3 || parts > 4 {
		t.Fatalf("%d records in %d parts", n, parts)
	}
}

func TestAppendsThatWaitGoTogether(t *testing.T) {
	w := open(t)
	w.create(2)
	before := w.updates.Load()
	var wg sync.WaitGroup
	const callers, each = 32, 20
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				if _, err := w.Append(t.Context(), hits, []data.Record{{Key: fmt.Sprint(c), Data: fmt.Append(nil, c, "-", i)}, {Key: fmt.Sprint(c, "'"), Data: fmt.Append(nil, c, "'-", i)}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := w.updates.Load() - before; n > callers*each/2 {
		t.Errorf("%d transactions for %d appends", n, callers*each)
	}
	next := map[string]int{}
	for n := range uint64(2) {
		for _, e := range w.batch(id(n), 0, 100_000).Entries {
			if want := fmt.Sprint(e.Key, "-", next[e.Key]); string(e.Event.Data) != want {
				t.Fatalf("%s comes where %s should", e.Event.Data, want)
			}
			next[e.Key]++
		}
	}
	if len(next) != 2*callers {
		t.Fatalf("%d keys", len(next))
	}
	for k, n := range next {
		if n != each {
			t.Errorf("%d records of %s", n, k)
		}
	}
}

func TestSplitAndMerge(t *testing.T) {
	w := open(t)
	w.create(2)
	w.wantShape("0()0-7 1()8-f")
	w.at(0x1<<60, "a")
	w.at(0x5<<60, "b")
	w.ok(w.Split(t.Context(), hits, id(0), 4<<60))
	w.wantShape("0()0-7! 1()8-f 2(0)0-3 3(0)4-7")
	if p := w.at(0x1<<60, "c"); p.Shard != id(2) || p.Sequence != 1 {
		t.Fatal(p)
	}
	if p := w.at(4<<60, "d"); p.Shard != id(3) {
		t.Fatal(p)
	}
	w.ok(w.Merge(t.Context(), hits, id(1), id(3)))
	w.wantShape("0()0-7! 1()8-f! 2(0)0-3 3(0)4-7! 4(3,1)4-f")
	if p := w.at(9<<60, "e"); p.Shard != id(4) {
		t.Fatal(p)
	}
	for n, want := range []string{"a b", "", "c", "d", "e"} {
		b := w.batch(id(uint64(n)), 0, 0)
		if closed := n < 2 || n == 3; texts(b) != want || b.Ended != closed {
			t.Errorf("shard %d: %q, ended %v", n, texts(b), b.Ended)
		}
	}
	if b := w.batch(id(0), 0, 1); b.Ended {
		t.Error("ended before its end")
	}
	if s, err := w.Stream(t.Context(), hits); err != nil || s.Shards != 2 {
		t.Errorf("stream %+v, %v", s, err)
	}
	w.is(w.Split(t.Context(), hits, id(0), 1), rouse.Conflict, "closed")
	w.is(w.Split(t.Context(), hits, id(2), 0), rouse.Invalid, "at")
	w.is(w.Split(t.Context(), hits, id(2), 4<<60), rouse.Invalid, "at")
	w.is(w.Split(t.Context(), hits, "nine", 1), rouse.NotFound, "nine")
	w.is(w.Split(t.Context(), hits, id(9), 1), rouse.NotFound, id(9))
	w.is(w.Merge(t.Context(), hits, id(2), id(2)), rouse.Invalid, "adjoin")
	w.is(w.Merge(t.Context(), hits, id(1), id(2)), rouse.Conflict, "closed")
	w.is(w.Merge(t.Context(), rouse.Ref{Name: "no"}, id(1), id(2)), rouse.NotFound, "no")
	w.ok(w.Split(t.Context(), hits, id(2), 1))
	w.is(w.Merge(t.Context(), hits, id(5), id(4)), rouse.Invalid, "adjoin")
	w.wantShape("0()0-7! 1()8-f! 2(0)0-3! 3(0)4-7! 4(3,1)4-f 5(2)0-0 6(2)0-3")
}

func TestScale(t *testing.T) {
	w := open(t)
	w.create(1)
	for _, step := range []struct {
		n    int
		want string
	}{
		{1, "0()0-f"},
		{2, "0()0-f! 1(0)0-7 2(0)8-f"},
		{4, "0()0-f! 1(0)0-7! 2(0)8-f! 3(1)0-3 4(1)4-7 5(2)8-b 6(2)c-f"},
		{2, "0()0-f! 1(0)0-7! 2(0)8-f! 3(1)0-3! 4(1)4-7! 5(2)8-b! 6(2)c-f! 7(3,4)0-7 8(5,6)8-f"},
	} {
		w.ok(w.Scale(t.Context(), hits, step.n))
		w.wantShape(step.want)
	}
	w.ok(w.Split(t.Context(), hits, id(7), 4<<60))
	w.ok(w.Scale(t.Context(), hits, 4)) // the two halves of 7 stay
	if got := w.shape(); !strings.HasSuffix(got, "7(3,4)0-7! 8(5,6)8-f! 9(7)0-3 10(7)4-7 11(8)8-b 12(8)c-f") {
		t.Fatal(got)
	}
	for _, n := range []int{3, 7, 1000, maxShards, 5, 1} {
		w.ok(w.Scale(t.Context(), hits, n))
		d, err := w.document(t.Context(), hits)
		w.ok(err)
		next := uint64(0)
		for i, at := range d.open {
			if s := d.Shards[at]; s.From != next || s.To < s.From || i == len(d.open)-1 && s.To != math.MaxUint64 {
				t.Fatalf("of %d, shard %d is %x-%x", n, i, s.From, s.To)
			}
			next = d.Shards[at].To + 1
		}
		if len(d.open) != n {
			t.Fatalf("%d shards, want %d", len(d.open), n)
		}
	}
	w.is(w.Scale(t.Context(), hits, 0), rouse.Invalid, "shards")
	w.is(w.Scale(t.Context(), hits, maxShards+1), rouse.Invalid, "shards")
	w.is(w.Scale(t.Context(), rouse.Ref{Name: "no"}, 1), rouse.NotFound, "no")
}

func TestRetention(t *testing.T) {
	w := open(t)
	w.create(1)
	w.put("a", "b")
	w.advance(time.Hour)
	w.put("c")
	w.ok(w.Split(t.Context(), hits, id(0), 8<<60))
	w.advance(time.Minute)
	w.at(0, "d")
	w.advance(23*time.Hour - 2*time.Minute)
	w.ok(w.Trim(t.Context()))
	w.wantTexts(id(0), 0, "a b c")
	w.advance(2 * time.Minute)
	w.ok(w.Trim(t.Context()))
	w.wantTexts(id(0), 0, "c")
	w.wantTexts(id(0), 1, "c")
	w.advance(time.Hour)
	w.ok(w.Trim(t.Context()))
	w.wantShape("1()0-7 2()8-f")
	w.wantTexts(id(1), 0, "d")
	if b := w.batch(id(0), 0, 0); !b.Ended || len(b.Entries) > 0 {
		t.Fatalf("a forgotten shard: %+v", b)
	}
	if p := w.at(0, "e"); p.Sequence != 2 {
		t.Fatalf("%+v", p)
	}
	_, err := w.Update(t.Context(), data.Stream{Ref: hits, Keep: rouse.Duration(time.Minute)})
	w.ok(err)
	w.advance(time.Minute + 1000)
	w.ok(w.Trim(t.Context()))
	w.wantTexts(id(1), 0, "")
	if b := w.batch(id(1), 0, 0); b.Newest != 2 || b.After != 2 {
		t.Fatalf("%+v", b)
	}
}

func TestManyOldRecords(t *testing.T) {
	w := open(t)
	w.create(1)
	w.put(slices.Repeat([]string{"x"}, 2*trimAtOnce+1)...)
	w.advance(25 * time.Hour)
	w.put("y")
	w.ok(w.Trim(t.Context()))
	w.wantTexts(id(0), 0, "y")
}

func TestSeek(t *testing.T) {
	w := open(t)
	w.create(1)
	for i := range 10 {
		w.put(fmt.Sprint(i))
		w.advance(time.Second)
	}
	for at, want := range map[time.Duration]uint64{-1: 0, 0: 0, time.Second: 1, 1500 * time.Millisecond: 2, time.Hour: 10} {
		after, err := w.Seek(t.Context(), hits, id(0), start.Add(at))
		if after != want || err != nil {
			t.Errorf("seek %v: after %d, want %d; %v", at, after, want, err)
		}
	}
	_, err := w.Seek(t.Context(), hits, id(1), start)
	w.is(err, rouse.NotFound, id(1))
}

func TestAdmin(t *testing.T) {
	w := open(t)
	names := []string{"a", "a\x00", "a\xff", "b"}
	for _, name := range names {
		got, err := w.Create(t.Context(), data.Stream{Ref: rouse.Ref{Namespace: "n\xffs", Name: name}, Notes: rouse.Notes{"x": []byte(`{"y":1}`)}})
		w.ok(err)
		want := data.Stream{Ref: rouse.Ref{Namespace: "n\xffs", Name: name}, Shards: 1, Keep: rouse.Duration(24 * time.Hour), Created: start,
			Notes: rouse.Notes{"x": []byte(`{"y":1}`)}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("created (-want +got):\n%s", diff)
		}
		stored, err := w.Stream(t.Context(), want.Ref)
		w.ok(err)
		if diff := cmp.Diff(want, stored); diff != "" {
			t.Fatalf("stored (-want +got):\n%s", diff)
		}
	}
	w.create(1)
	for _, c := range []struct {
		after string
		limit int
		want  []string
	}{{"", 0, names}, {"", 2, names[:2]}, {"a", 2, names[1:3]}, {"a\x00", 0, names[2:]}, {"b", 0, nil}} {
		list, err := w.List(t.Context(), "n\xffs", c.after, c.limit)
		w.ok(err)
		var got []string
		for _, s := range list {
			got = append(got, s.Name)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("after %q: %q, want %q", c.after, got, c.want)
		}
	}
	_, err := w.Create(t.Context(), data.Stream{Ref: hits})
	w.is(err, rouse.Conflict, "default/hits")
	_, err = w.Create(t.Context(), data.Stream{Ref: rouse.Ref{Name: "x"}, Shards: -1})
	w.is(err, rouse.Invalid, "shards")
	_, err = w.Create(t.Context(), data.Stream{Ref: rouse.Ref{Name: "x"}, Keep: -1})
	w.is(err, rouse.Invalid, "keep")
	_, err = w.Update(t.Context(), data.Stream{Ref: rouse.Ref{Name: "x"}})
	w.is(err, rouse.NotFound, "x")
}

func TestRemove(t *testing.T) {
	w := open(t)
	w.create(2)
	w.put("a", "b", "c")
	w.ok(w.Remove(t.Context(), hits))
	w.is(w.Remove(t.Context(), hits), rouse.NotFound, "hits")
	_, err := w.Read(t.Context(), data.FeedQuery{Ref: hits, Shard: id(0)})
	w.is(err, rouse.NotFound, "hits")
	_, err = w.Shards(t.Context(), hits)
	w.is(err, rouse.NotFound, "hits")
	w.create(2)
	w.wantTexts(id(0), 0, "")
	w.put("d")
	w.ok(w.Trim(t.Context()))
	err = w.Keys.View(t.Context(), func(r rouse.KeyReader) error {
		n, err := r.Count(nil, nil)
		if n != 3 { // a document, a head and an entry
			t.Errorf("%d keys are left", n)
		}
		return err
	})
	w.ok(err)
}

func TestDamagedRecordsArePassedOver(t *testing.T) {
	w := open(t)
	w.create(1)
	w.put("a", "b", "c", "d", "e")
	for _, n := range []int{2, 3, 5} {
		w.site.Spoil(t, "stream", rouse.Span{From: []byte("j"), To: []byte("k")}, fmt.Sprintf("65%016x", n))
	}
	b := w.batch(id(0), 0, 2)
	if texts(b) != "a d" || b.After != 4 {
		t.Fatalf("%+v", b)
	}
	if b = w.batch(id(0), 4, 2); len(b.Entries) != 0 || b.After != 5 {
		t.Fatalf("%+v", b)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(encodeRecord(data.Record{Key: "k", Data: []byte("{}")}).body)
	f.Add([]byte{0, 200, 1})
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		key, payload, isJSON, err := decodeRecord(b)
		if err != nil {
			return
		}
		again := encodeRecord(data.Record{Key: key, Data: payload})
		k, p, j, err := decodeRecord(again.body)
		if err != nil || k != key || string(p) != string(payload) || j && !isJSON && len(b) == len(again.body) && b[0] == 1 {
			t.Errorf("%x became %x", b, again.body)
		}
	})
}

func FuzzDecodeDocument(f *testing.F) {
	d := &document{Stream: data.Stream{Ref: hits}}
	d.scale(3, start)
	f.Add(documentKey(hits), []byte(`{"shards":[{"from":0,"to":5},{"from":9,"to":10}]}`), uint64(7))
	f.Add(documentKey(hits), []byte(`{"shards":[{"from":0,"closed":"2026-01-02T03:04:05Z"}]}`), uint64(0))
	f.Add([]byte("s"), []byte(`{}`), uint64(1))
	f.Fuzz(func(t *testing.T, key, value []byte, hash uint64) {
		d, err := decodeDocument(rouse.Pair{Key: key, Value: value})
		if err != nil {
			return
		}
		if s := d.Shards[d.route(hash)]; s.From > hash || !s.Closed.IsZero() {
			t.Errorf("%d goes to %+v", hash, s)
		}
	})
}
