package table_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/table"
)

func TestTransactionsAreAllOrNothing(t *testing.T) {
	ts, _, _ := open(t)
	create(t, ts, data.Table{})
	other := rouse.Ref{Namespace: "other\x00\xff", Name: "\xff\x00 any"}
	create(t, ts, data.Table{Ref: other, Key: data.Attribute{Name: "\xfek", Type: data.Number}})
	mine := data.Item{"\xfek": data.Int(1), "v": data.Int(1)}
	w := []data.Write{
		{Op: data.WritePut, Table: ref, Item: item(t, `{"pk":"a","n":1}`), If: cond(t, `{"pk":{"exists":false}}`)},
		{Op: data.WritePut, Table: other, Item: mine},
		{Op: data.WriteCheck, Table: ref, Key: item(t, `{"pk":"b"}`), If: cond(t, `{"n":2}`)},
	}
	_, err := ts.Transact(t.Context(), w)
	r, ok := errors.AsType[*data.Refused](err)
	if !ok || len(r.Writes) != 1 || r.Writes[0].Index != 2 || rouse.KindOf(err) != rouse.Conflict {
		t.Fatalf("%v, %+v", err, r)
	}
	if got := get(t, ts, `{"pk":"a"}`); got != "null" {
		t.Errorf("a part was made: %s", got)
	}
	put(t, ts, `{"pk":"b","n":2}`)
	out, err := ts.Transact(t.Context(), w)
	if err != nil || text(t, out[0].New) != `{"n":1,"pk":"a"}` || text(t, out[2]) != `{"old":{"n":2,"pk":"b"},"new":{"n":2,"pk":"b"}}` {
		t.Fatalf("%s, %v", text(t, out), err)
	}
	items, err := ts.GetItems(t.Context(), []data.ItemKey{{Table: other, Key: data.Item{"\xfek": data.Num("1.0")}}, {Table: ref, Key: item(t, `{"pk":"none"}`)}, {Table: ref, Key: item(t, `{"pk":"a"}`)}})
	if err != nil || items[0]["v"].Text != "1" || items[1] != nil || items[2]["n"].Text != "1" {
		t.Errorf("%v, %v", items, err)
	}
	_, err = ts.Transact(t.Context(), []data.Write{w[1], {Op: data.WriteDelete, Table: other, Key: data.Item{"\xfek": data.Num("1.00")}}})
	wantKind(t, err, rouse.Invalid)
	list, err := ts.Tables(t.Context(), other.Namespace, "", 0)
	if err != nil || len(list) != 1 || list[0].Ref != other || list[0].Key.Name != "\xfek" {
		t.Errorf("%+v, %v", list, err)
	}
}

// Many add to the same counters, two at a time: the sums must add up.
func TestConcurrentTransactionsAddUp(t *testing.T) {
	ts, _, _ := open(t)
	create(t, ts, data.Table{})
	const workers, rounds = 8, 25
	var wg sync.WaitGroup
	for n := range workers {
		wg.Go(func() {
			for i := range rounds {
				_, err := ts.Transact(t.Context(), []data.Write{
					{Op: data.WriteUpdate, Table: ref, Key: data.Item{"pk": data.Int(0)}, Edits: edits(t, `{"add":{"n":1}}`)},
				})
				wantKind(t, err, rouse.Invalid) // the key is text
				_, err = ts.Transact(t.Context(), []data.Write{
					{Op: data.WriteUpdate, Table: ref, Key: data.Item{"pk": data.Text("all")}, Edits: edits(t, `{"add":{"n":1}}`)},
					{Op: data.WriteUpdate, Table: ref, Key: data.Item{"pk": data.Text(fmt.Sprint((n + i) % 3))}, Edits: edits(t, `{"add":{"n":1}}`)},
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, k := range []string{"0", "1", "2", "all"} {
		var i struct{ N int }
		if err := json.Unmarshal([]byte(get(t, ts, `{"pk":"`+k+`"}`)), &i); err != nil {
			t.Fatal(err)
		}
		if k == "all" && i.N != workers*rounds {
			t.Errorf("all is %d", i.N)
		}
		sum += i.N
	}
	if sum != 2*workers*rounds {
		t.Errorf("the sum is %d", sum)
	}
}

// readAll returns "type subject data" of all changes there are.
func readAll(t *testing.T, ts *table.Tables) (all []string) {
	t.Helper()
	shards, err := ts.Shards(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shards {
		q := data.FeedQuery{Ref: ref, Shard: s.ID, Limit: 2}
		for {
			b, err := ts.Read(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range b.Entries {
				if want := fmt.Sprintf("default/t/%s/%d", s.ID, e.Sequence); e.Event.ID != want || e.Event.Source != "table:t" {
					t.Errorf("%+v, and not %s", e.Event, want)
				}
				all = append(all, e.Event.Type+" "+e.Event.Subject+" "+string(e.Event.Data))
			}
			if len(b.Entries) == 0 {
				break
			}
			q.After = b.After
		}
	}
	return all
}

func TestChangesAreFed(t *testing.T) {
	ts, clock, _ := open(t)
	create(t, ts, data.Table{Changes: rouse.Duration(time.Hour), TTL: "until"})
	put(t, ts, `{"pk":"a","n":1}`)
	put(t, ts, `{"pk":"a","n":1}`) // changes nothing
	put(t, ts, `{"pk":"a","n":2}`)
	write(t, ts, data.Write{Op: data.WriteDelete, Key: item(t, `{"pk":"a"}`)})
	write(t, ts, data.Write{Op: data.WriteDelete, Key: item(t, `{"pk":"a"}`)})
	until := clock.Now().Unix() + 10
	put(t, ts, fmt.Sprintf(`{"pk":"a","until":%d.5}`, until))
	clock.add(9 * time.Second)
	if err := ts.Sweep(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if got := get(t, ts, `{"pk":"a"}`); got == "null" {
		t.Error("it was gone before its time")
	}
	clock.add(time.Second)
	if got := get(t, ts, `{"pk":"a"}`); got != "null" {
		t.Errorf("it has expired: %s", got)
	}
	if p, err := ts.Scan(t.Context(), data.Scan{Table: ref}); err != nil || len(p.Items) != 0 {
		t.Errorf("it has expired: %+v, %v", p, err)
	}
	_, err := ts.Write(t.Context(), data.Write{Op: data.WriteUpdate, Table: ref, Key: item(t, `{"pk":"a"}`), If: cond(t, `{"pk":{"exists":true}}`)})
	wantKind(t, err, rouse.Conflict)
	for range 2 {
		if err := ts.Sweep(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		`table.inserted {"pk":"a"} {"key":{"pk":"a"},"new":{"n":1,"pk":"a"}}`,
		`table.modified {"pk":"a"} {"key":{"pk":"a"},"old":{"n":1,"pk":"a"},"new":{"n":2,"pk":"a"}}`,
		`table.removed {"pk":"a"} {"key":{"pk":"a"},"old":{"n":2,"pk":"a"}}`,
		fmt.Sprintf(`table.inserted {"pk":"a"} {"key":{"pk":"a"},"new":{"pk":"a","until":%d.5}}`, until),
		fmt.Sprintf(`table.removed {"pk":"a"} {"key":{"pk":"a"},"old":{"pk":"a","until":%d.5},"expired":true}`, until),
	}
	if got := readAll(t, ts); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	clock.add(time.Hour - 5*time.Second)
	if err := ts.Sweep(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, ts); len(got) != 1 {
		t.Errorf("after an hour: %q", got)
	}
}

func TestPutOverExpiredIsAnInsert(t *testing.T) {
	ts, clock, _ := open(t)
	create(t, ts, data.Table{Changes: rouse.Duration(time.Hour), TTL: "until"})
	put(t, ts, fmt.Sprintf(`{"pk":"a","until":%d}`, clock.Now().Unix()+1))
	clock.add(2 * time.Second)
	if got := put(t, ts, `{"pk":"a"}`); got.Old != nil {
		t.Errorf("it had expired: %v", got.Old)
	}
	if err := ts.Sweep(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if got := get(t, ts, `{"pk":"a"}`); got != `{"pk":"a"}` {
		t.Errorf("the new one is %s", got)
	}
	got := readAll(t, ts)
	if len(got) != 3 || !strings.Contains(got[1], `"expired":true`) || !strings.HasPrefix(got[2], "table.inserted") {
		t.Errorf("%q", got)
	}
}

func TestReadWaitsForAChange(t *testing.T) {
	ts, _, keys := open(t)
	create(t, ts, data.Table{Changes: rouse.Duration(time.Hour)})
	other := table.New(table.Config{Keys: keys}) // another node: it wakes nobody here
	for n, writer := range []*table.Tables{ts, other} {
		var wg sync.WaitGroup
		got := make(chan data.Entry, 4)
		ctx, cancel := context.WithCancel(t.Context())
		for shard := range 4 {
			wg.Go(func() {
				b, err := ts.Read(ctx, data.FeedQuery{Ref: ref, Shard: fmt.Sprint(shard), After: 0, Wait: time.Minute})
				if err == nil {
					got <- b.Entries[len(b.Entries)-1]
				} else if ctx.Err() == nil {
					t.Error(err)
				}
			})
		}
		put(t, writer, `{"pk":"a"}`)
		e := <-got
		cancel()
		wg.Wait()
		if e.Event.Type != "table.inserted" || e.Key != `"a"` {
			t.Errorf("writer %d: %+v", n, e)
		}
		if err := ts.RemoveTable(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		create(t, ts, data.Table{Changes: rouse.Duration(time.Hour)})
	}
}

func TestARemovedTableLeavesNothing(t *testing.T) {
	ts, clock, keys := open(t)
	d := data.Table{Changes: rouse.Duration(time.Hour), TTL: "until", Indexes: []data.Index{{Name: "x", Key: data.Attribute{Name: "until", Type: data.Number}}}}
	create(t, ts, d)
	for i := range 250 {
		put(t, ts, fmt.Sprintf(`{"pk":"%d","until":%d}`, i, clock.Now().Unix()+60))
	}
	if err := ts.RemoveTable(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	_, err := ts.Write(t.Context(), data.Write{Op: data.WritePut, Table: ref, Item: item(t, `{"pk":"a"}`)})
	wantKind(t, err, rouse.NotFound)
	_, err = ts.GetItems(t.Context(), []data.ItemKey{{Table: ref, Key: item(t, `{"pk":"1"}`)}})
	wantKind(t, err, rouse.NotFound)
	create(t, ts, d)
	if p, err := ts.Scan(t.Context(), data.Scan{Table: ref}); err != nil || len(p.Items) > 0 || p.After != nil {
		t.Errorf("a table made anew holds %s, %v", text(t, p), err)
	}
	if err := ts.RemoveTable(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	clock.add(time.Minute)
	if err := ts.Sweep(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	err = keys.View(t.Context(), func(r rouse.KeyReader) error {
		pairs, err := r.Scan(rouse.Span{})
		if len(pairs) != 1 { // the next id
			t.Errorf("%d keys are left, such as %q", len(pairs), pairs[0].Key)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// An item written while an index is filled must be in it as often as once.
func TestFillingBesideWrites(t *testing.T) {
	ts, _, _ := open(t)
	create(t, ts, data.Table{})
	for i := range 450 {
		put(t, ts, fmt.Sprintf(`{"pk":"%d","g":"old"}`, i))
	}
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := n; i < 450; i += 4 {
				put(t, ts, fmt.Sprintf(`{"pk":"%d","g":"new"}`, i))
			}
		})
	}
	d := data.Table{Ref: ref, Key: data.Attribute{Name: "pk"}, Indexes: []data.Index{{Name: "g", Key: data.Attribute{Name: "g"}}}}
	if _, err := ts.ChangeTable(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	for g, want := range map[string]int{"old": 0, "new": 450} {
		p, err := ts.Query(t.Context(), data.Query{Table: ref, Index: "g", Key: data.Text(g)})
		if err != nil || p.Seen != want || p.After != nil {
			t.Errorf("%s: %d, %v", g, p.Seen, err)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ts, clock, _ := open(t)
	create(t, ts, data.Table{Changes: rouse.Duration(time.Hour), TTL: "until"})
	put(t, ts, fmt.Sprintf(`{"pk":"a","until":%d}`, clock.Now().Unix()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- ts.Run(ctx) }()
	var all []data.Entry
	for shard := 0; len(all) < 2; shard = (shard + 1) % 4 { // the removal is fed once Run has swept
		b, err := ts.Read(t.Context(), data.FeedQuery{Ref: ref, Shard: fmt.Sprint(shard)})
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Entries) > 0 {
			all = b.Entries
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
