package native

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/nativetest"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

func wantKind(t *testing.T, err error, k rouse.Kind, says string) {
	t.Helper()
	if rouse.KindOf(err) != k || err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v; want %v that says %q", err, k, says)
	}
}

// Whatever bytes go in come out.
func TestRecordsThroughTheClient(t *testing.T) {
	w, ctx := newWorld(t, Config{}), t.Context()
	if _, err := w.SetStream(ctx, "s", wire.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	bodies := []string{`{"a":[1,2]}`, `{"a":"<&>"}`, "text <&>", `"quoted"`, ` "quoted"`, "12", "null", "", "\xff\x00", " {\"a\":1}\n\x00", strings.Repeat("x", 1<<16)}
	var rs []data.Record
	for _, b := range bodies {
		rs = append(rs, data.Record{Key: "k", Data: []byte(b)})
	}
	at, err := w.Append(ctx, "s", rs...)
	if err != nil || len(at) != len(bodies) || at[0].Sequence != 1 {
		t.Fatalf("%v %v", at, err)
	}
	page, err := w.Records(ctx, "s", client.RecordQuery{})
	if err != nil || len(page.Records) != len(bodies) {
		t.Fatalf("%+v %v", page, err)
	}
	for i, r := range page.Records {
		if b, err := r.Bytes(); err != nil || string(b) != bodies[i] {
			t.Errorf("%q came out as %q, %v", bodies[i], b, err)
		}
	}
	_, err = w.Records(ctx, "s", client.RecordQuery{Shard: at[0].Shard, After: 1, Since: time.Now()})
	wantKind(t, err, rouse.Invalid, "different places to begin")
	late, err := w.Records(ctx, "s", client.RecordQuery{Shard: at[0].Shard, After: uint64(len(bodies)), Wait: time.Millisecond})
	if err != nil || len(late.Records) != 0 || late.Shards[0].After != uint64(len(bodies)) {
		t.Errorf("%+v %v", late, err)
	}
}

// What a server that stops has sent of a stream is not all of it.
func TestAFollowerIsToldThatTheServerStops(t *testing.T) {
	w, ctx := newWorld(t, Config{}), t.Context()
	if _, err := w.SetStream(ctx, "s", wire.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Append(ctx, "s", data.Record{Key: "k", Data: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	calls, stop := context.WithCancel(ctx)
	s := httptest.NewUnstartedServer(New(w.services, Config{}))
	s.Config.BaseContext = func(net.Listener) context.Context { return calls }
	s.Start()
	defer s.Close()
	c, err := client.New(s.URL, nativetest.Token, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = c.FollowRecords(ctx, "s", client.RecordQuery{}, func(wire.StreamRecord) bool { stop(); return true })
	wantKind(t, err, rouse.Unavailable, "it broke off")
}

// A follower sees all records of a key in their order, across splits, merges and
// scaling, and what comes while it follows.
func TestAFollowerGoesOnInNewShards(t *testing.T) {
	w, ctx := newWorld(t, Config{}), t.Context()
	if _, err := w.SetStream(ctx, "s", wire.StreamOptions{Shards: 2}); err != nil {
		t.Fatal(err)
	}
	n := 0
	put := func() {
		t.Helper()
		for range 4 {
			n++
			if _, err := w.Append(ctx, "s", data.Record{Key: fmt.Sprint("k", n%3), Data: fmt.Append(nil, n)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put()
	if _, err := w.ScaleStream(ctx, "s", 3); err != nil {
		t.Fatal(err)
	}
	put()
	steps := []func() error{
		func() error { _, err := w.ScaleStream(ctx, "s", 1); return err },
		func() error {
			open, err := openShards(ctx, w.Client)
			if err == nil {
				_, err = w.SplitShard(ctx, "s", open[0], nil)
			}
			return err
		},
		func() error {
			open, err := openShards(ctx, w.Client)
			if err == nil {
				_, err = w.MergeShards(ctx, "s", open[0], open[1])
			}
			return err
		},
	}
	last := map[string]string{}
	seen := 0
	err := w.FollowRecords(ctx, "s", client.RecordQuery{}, func(r wire.StreamRecord) bool {
		if before := last[r.Key]; len(before) > len(r.Data) || len(before) == len(r.Data) && before >= string(r.Data) {
			t.Errorf("of %s %s comes after %s", r.Key, r.Data, before)
		}
		last[r.Key] = string(r.Data)
		if seen++; seen == n && len(steps) > 0 {
			if err := steps[0](); err != nil {
				t.Error(err)
				return false
			}
			steps = steps[1:]
			put()
		}
		return seen < n
	})
	if err != nil || seen != n || len(steps) > 0 {
		t.Errorf("%d of %d, %d steps left, %v", seen, n, len(steps), err)
	}
	// From now on, with a limit.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var got []string
	begun := false
	err = w.FollowRecords(ctx, "s", client.RecordQuery{Since: time.Now().Add(-time.Hour), Limit: 2}, func(r wire.StreamRecord) bool {
		begun = true
		got = append(got, string(r.Data))
		return true
	})
	if err != nil || !begun || len(got) != 2 {
		t.Errorf("%v %v", got, err)
	}
}

func openShards(ctx context.Context, c *client.Client) (ids []string, err error) {
	all, err := c.Shards(ctx, "s")
	for _, s := range all {
		if !s.Closed {
			ids = append(ids, s.ID)
		}
	}
	return ids, err
}

func TestMessagesThroughTheClient(t *testing.T) {
	w, ctx := newWorld(t, Config{}), t.Context()
	zero := rouse.Duration(0)
	if _, err := w.SetQueue(ctx, "q", wire.QueueOptions{MaxReceives: 2, DeadLetter: "dead"}); rouse.KindOf(err) != rouse.NotFound || !strings.Contains(err.Error(), "deadLetter: there is no queue dead: make it first") {
		t.Errorf("%v", err)
	}
	if _, err := w.SetQueue(ctx, "dead", wire.QueueOptions{}); err != nil {
		t.Fatal(err)
	}
	q, err := w.SetQueue(ctx, "q", wire.QueueOptions{Keep: &zero, MaxReceives: 2, DeadLetter: "dead"})
	if err != nil || q.Keep != 0 || q.Visibility != rouse.Duration(30*time.Second) || q.DeadLetter != "dead" {
		t.Fatalf("%+v %v", q, err)
	}
	m := wire.Message{Attributes: map[string]string{"a": "b"}}
	m.Body, m.BodyBase64 = wire.Content([]byte("\xff"))
	sent, err := w.Send(ctx, "q", m, wire.Message{Body: []byte(`"text"`), TTL: &zero})
	if err != nil || len(sent) != 2 || !sent[1].Expires.IsZero() {
		t.Fatalf("%+v %v", sent, err)
	}
	ds, err := w.Receive(ctx, "q", wire.Receive{Max: 5})
	if err != nil || len(ds) != 2 || ds[0].ID != sent[0].ID || ds[0].Count != 1 || ds[0].Attributes["a"] != "b" {
		t.Fatalf("%+v %v", ds, err)
	}
	if b, err := ds[0].Bytes(); err != nil || string(b) != "\xff" {
		t.Errorf("%q %v", b, err)
	}
	if b, err := ds[1].Bytes(); err != nil || string(b) != "text" {
		t.Errorf("%q %v", b, err)
	}
	again, err := w.Extend(ctx, "q", ds[1].Receipt, time.Hour)
	if err != nil || again == ds[1].Receipt {
		t.Errorf("%q %v", again, err)
	}
	_, err = w.Extend(ctx, "q", ds[1].Receipt, time.Hour)
	wantKind(t, err, rouse.Conflict, "out of date")
	if deleted, err := w.DeleteMessages(ctx, "q", ds[0].Receipt, ds[1].Receipt, again); err != nil || !slices.Equal(deleted, []bool{true, false, true}) {
		t.Errorf("%v %v", deleted, err)
	}
	if q, err := w.Queue(ctx, "q"); err != nil || q.Counts.Visible+q.Counts.Leased != 0 || q.Counts.Next != nil {
		t.Errorf("%+v %v", q, err)
	}
}

func TestItemsThroughTheClient(t *testing.T) {
	w, ctx := newWorld(t, Config{}), t.Context()
	if _, err := w.SetTable(ctx, "t", wire.TableOptions{Key: data.Attribute{Name: "k"}, Sort: data.Attribute{Name: "n", Type: data.Number}}); err != nil {
		t.Fatal(err)
	}
	item := func(n int64) data.Item { return data.Item{"k": data.Text("a"), "n": data.Int(n)} }
	for n := range int64(5) {
		i := item(n)
		i["raw"], i["m"] = data.Bytes([]byte{0xff}), data.MapOf(data.Item{"$x": data.Nothing()})
		if _, err := w.PutItem(ctx, "t", wire.Put{Item: i}); err != nil {
			t.Fatal(err)
		}
	}
	never := &data.Cond{Op: data.Exists, Args: []data.Term{data.At(data.Attr("no"))}}
	_, err := w.PutItem(ctx, "t", wire.Put{Item: item(1), If: never, Return: "old"})
	wantKind(t, err, rouse.Conflict, "the condition does not hold")
	if r, ok := errors.AsType[*data.Refused](err); !ok || len(r.Writes) != 1 || r.Writes[0].Item["n"].Text != "1" {
		t.Errorf("the item that is there is not told: %v", err)
	}
	_, err = w.Transact(ctx, wire.Transact{Writes: []wire.Write{{Op: data.WriteDelete, Table: "t", Key: item(1)}, {Op: data.WriteCheck, Table: "t", Key: item(2), If: never}}})
	if r, ok := errors.AsType[*data.Refused](err); !ok || len(r.Writes) != 1 || r.Writes[0].Index != 1 || r.Writes[0].Item != nil {
		t.Errorf("refused: %+v %v", r, err)
	}
	q := wire.Query{Key: data.Text("a"), Sort: &data.Range{Op: data.Gt, Values: []data.Value{data.Int(0)}}, Reverse: true}
	q.Limit = 3
	p, err := w.Query(ctx, "t", q)
	if err != nil || len(p.Items) != 3 || p.Items[0]["n"].Text != "4" || p.After == nil {
		t.Fatalf("%+v %v", p, err)
	}
	if d := cmp.Diff(p.Items[0]["m"], data.MapOf(data.Item{"$x": data.Nothing()})); d != "" || string(p.Items[0]["raw"].Data) != "\xff" {
		t.Error(d)
	}
	q.After = p.After
	if p, err = w.Query(ctx, "t", q); err != nil || len(p.Items) != 1 || p.Items[0]["n"].Text != "1" {
		t.Errorf("%+v %v", p, err)
	}
	written, err := w.UpdateItem(ctx, "t", wire.Update{Key: item(1), Edits: data.Edits{{Op: data.EditSet, Path: data.Attr("x"), Term: data.Const(data.Text("y"))}}, Return: "new"})
	if err != nil || written.New["x"].Text != "y" || written.Old != nil {
		t.Errorf("%+v %v", written, err)
	}
	if got, err := w.GetItems(ctx, "t", item(1), item(9)); err != nil || got[0]["x"].Text != "y" || got[1] != nil {
		t.Errorf("%v %v", got, err)
	}
	if written, err := w.DeleteItem(ctx, "t", wire.DeleteItem{Key: item(1), Return: "old"}); err != nil || written.Old["x"].Text != "y" {
		t.Errorf("%v %v", written, err)
	}
	if s, err := w.Scan(ctx, "t", wire.Scan{}); err != nil || len(s.Items) != 4 {
		t.Errorf("%v %v", s, err)
	}
}

func TestObjectsAreStreamed(t *testing.T) {
	w, ctx := newWorld(t, Config{MaxPayload: 100, MaxBatch: 1000}), t.Context()
	if _, err := w.SetBucket(ctx, "b", wire.BucketOptions{}); err != nil {
		t.Fatal(err)
	}
	// More than any limit of bodies, of which the size is not known ahead.
	const size = 9<<20 + 7
	body := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{1}), size) }
	sum := md5.New()
	all, err := io.ReadAll(io.TeeReader(body(), sum))
	if err != nil {
		t.Fatal(err)
	}
	const key = "a//../ü?#%2F b"
	o, err := w.PutObject(ctx, "b", key, client.ObjectPut{ContentType: "image/png", Meta: map[string]string{"camera": "old"}, Absent: true}, body())
	if err != nil || o.Size != size || o.ETag != hex.EncodeToString(sum.Sum(nil)) || o.Key != key {
		t.Fatalf("%+v %v", o, err)
	}
	got, r, err := w.GetObject(ctx, "b", key, client.ObjectGet{Match: o.ETag})
	if err != nil || got.Size != size || got.ETag != o.ETag || got.Meta["camera"] != "old" || got.Header["Content-Type"] != "image/png" {
		t.Fatalf("%+v %v", got, err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(b, all) {
		t.Errorf("%d bytes came back, %v", len(b), err)
	}
	for _, c := range []struct {
		r    data.ByteRange
		want []byte
	}{
		{data.ByteRange{From: 5, Length: 3}, all[5:8]},
		{data.ByteRange{From: size - 2}, all[size-2:]},
		{data.ByteRange{From: -4}, all[size-4:]},
		{data.ByteRange{From: size - 1, Length: 100}, all[size-1:]},
	} {
		got, r, err := w.GetObject(ctx, "b", key, client.ObjectGet{Range: &c.r})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(b, c.want) || got.Size != size {
			t.Errorf("%+v: %d bytes of %d, %v", c.r, len(b), got.Size, err)
		}
	}
	_, _, err = w.GetObject(ctx, "b", key, client.ObjectGet{Range: &data.ByteRange{From: size}})
	if wantKind(t, err, rouse.Invalid, "outside"); !errors.Is(err, data.ErrRange) {
		t.Error(err)
	}
	_, err = w.PutObject(ctx, "b", key, client.ObjectPut{Absent: true}, body())
	if wantKind(t, err, rouse.Conflict, "condition"); !errors.Is(err, data.ErrCondition) {
		t.Error(err)
	}
	if st, err := w.StatObject(ctx, "b", key, client.ObjectGet{}); err != nil || st.Size != size || st.Meta["camera"] != "old" {
		t.Errorf("%+v %v", st, err)
	}
	_, err = w.StatObject(ctx, "b", "nosuch", client.ObjectGet{})
	wantKind(t, err, rouse.NotFound, "no such object")
	if list, err := w.Objects(ctx, "b", client.ObjectQuery{Prefix: "a//"}); err != nil || len(list.Objects) != 1 || list.Objects[0].Key != key {
		t.Errorf("%+v %v", list, err)
	}
}

// What breaks off is not stored, and leaves what was there.
func TestAnObjectThatBreaksOffIsNotStored(t *testing.T) {
	w, ctx := newWorld(t, Config{}), t.Context()
	if _, err := w.SetBucket(ctx, "b", wire.BucketOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.PutObject(ctx, "b", "k", client.ObjectPut{}, strings.NewReader("whole")); err != nil {
		t.Fatal(err)
	}
	torn := errors.New("the disk is torn")
	_, err := w.PutObject(ctx, "b", "k", client.ObjectPut{}, io.MultiReader(strings.NewReader("part"), failingReader{torn}))
	if !errors.Is(err, torn) {
		t.Errorf("got %v", err)
	}
	_, r, err := w.GetObject(ctx, "b", "k", client.ObjectGet{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || string(b) != "whole" {
		t.Errorf("%q %v", b, err)
	}
	_, err = w.PutObject(ctx, "nosuch", "k", client.ObjectPut{}, strings.NewReader("x"))
	wantKind(t, err, rouse.NotFound, "find bucket")
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

// A chain of three functions can be explained from each of them.
func TestExplainWalksTheChain(t *testing.T) {
	w, ctx := newWorld(t, Config{}), t.Context()
	if _, err := w.SetTrigger(ctx, "red", wire.TriggerOptions{Kind: "button"}); err != nil {
		t.Fatal(err)
	}
	retry := event.Retry{Retry: rouse.Retry{Attempts: 3, Backoff: rouse.Duration(time.Millisecond)}}
	if _, err := w.SetRule(ctx, "first", event.Rule{On: event.On{Trigger: "red"}, To: event.Target{Function: "fails"}, Retry: retry}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "A", "a-b", "ä", "type", "data"} {
		if _, err := w.Fire(ctx, "red", rouse.Event{Attributes: map[string]string{"fine1": "x", name: "x"}}); rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), fmt.Sprintf("events[0].attributes has %q", name)) {
			t.Errorf("an attribute %q: %v", name, err)
		}
	}
	ids, err := w.Fire(ctx, "red", rouse.Event{Type: "pressed", Data: []byte(`{"n":1}`), Attributes: map[string]string{"fine1": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	ran, err := w.platform.Await(ctx, "fails", 3)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := w.Event(ctx, ids[0]); err != nil || string(e.Data) != `{"n":1}` || e.Source != "trigger:red" {
		t.Errorf("%+v %v", e, err)
	}
	// What a failure leads to is written as the engine would.
	next := rouse.Activation{ID: "f" + strings.Repeat("0", 31), Function: rouse.Ref{Namespace: rouse.DefaultNamespace, Name: "echo"}, Version: 1, Cause: ran[1].ID,
		Rule: "second", Status: rouse.StatusAnswered, Started: ran[1].Started.Add(time.Microsecond), Result: []byte(`"long"`)}
	last := next
	last.ID, last.Cause, last.Started = "e"+next.ID[1:], next.ID, next.Started.Add(time.Microsecond)
	if err := w.platform.Post(ctx, []rouse.Activation{next, last}, nil); err != nil {
		t.Fatal(err)
	}
	x, err := w.Explain(ctx, ran[1].ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Causes) != 1 || x.Causes[0].Event == nil || x.Causes[0].Event.ID != ids[0] || x.Causes[0].Rule != "first" || x.Causes[0].On != "trigger red" {
		t.Errorf("causes: %+v", x.Causes)
	}
	if len(x.Attempts) != 2 || x.Attempts[0].ID != ran[0].ID || x.Attempts[1].ID != ran[2].ID {
		t.Errorf("attempts: %+v", x.Attempts)
	}
	if len(x.Effects) != 1 || x.Effects[0].Activation.ID != next.ID || len(x.Effects[0].Effects) != 1 || x.Effects[0].Effects[0].Activation.ID != last.ID || x.Effects[0].Activation.Result != nil {
		t.Errorf("effects: %+v", x.Effects)
	}
	// An event that a function made leads on as well.
	made := event.WithCause(ctx, event.Cause{ID: last.ID, Hops: 1})
	if err := w.services.Control.Emit(made, rouse.Ref{Namespace: rouse.DefaultNamespace, Name: "red"}, []rouse.Event{{}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.platform.Await(ctx, "fails", 6); err != nil {
		t.Fatal(err)
	}
	x, err = w.Explain(ctx, last.ID)
	if err != nil {
		t.Fatal(err)
	}
	var chain []string
	for _, c := range x.Causes {
		if c.Activation != nil {
			chain = append(chain, c.Activation.ID)
		} else if c.Event != nil {
			chain = append(chain, c.Event.ID)
		}
	}
	if d := cmp.Diff(chain, []string{next.ID, ran[1].ID, ids[0]}); d != "" {
		t.Errorf("back: %s", d)
	}
	if len(x.Effects) != 3 || x.Effects[0].Activation.Function.Name != "fails" || x.Effects[0].Activation.Hops != 1 {
		t.Errorf("on: %+v", x.Effects)
	}
}

func TestExplainIsBounded(t *testing.T) {
	w, ctx := newWorld(t, Config{}), t.Context()
	var as []rouse.Activation
	now := time.Now()
	for i := range 2 * maxSteps {
		a := rouse.Activation{ID: fmt.Sprintf("%032x", i+1), Function: rouse.Ref{Namespace: rouse.DefaultNamespace, Name: "echo"}, Version: 1, Started: now.Add(time.Duration(i) * time.Second), Status: rouse.StatusAnswered}
		if i > 0 {
			a.Cause = as[i-1].ID
		}
		as = append(as, a)
	}
	as[0].Cause = as[len(as)-1].ID // round in a circle, which nothing forbids a caller to say
	if err := w.platform.Post(ctx, as, nil); err != nil {
		t.Fatal(err)
	}
	x, err := w.Explain(ctx, as[40].ID)
	if err != nil || len(x.Causes) != maxSteps || !x.Truncated {
		t.Errorf("%d causes, %v %v", len(x.Causes), x.Truncated, err)
	}
	x, err = w.Explain(ctx, as[5].ID)
	if err != nil {
		t.Fatal(err)
	}
	depth := 0
	for e := x.Effects; len(e) > 0; e = e[0].Effects {
		depth++
	}
	if depth != maxSteps {
		t.Errorf("%d deep", depth)
	}
}

func TestWhyCold(t *testing.T) {
	now := time.Now()
	a := rouse.Activation{ID: "a", Version: 2, Started: now, Cold: true}
	at := func(version int, ago, run time.Duration) rouse.Activation {
		return rouse.Activation{ID: "b", Version: version, Started: now.Add(-ago), Run: rouse.Duration(run)}
	}
	for _, c := range []struct {
		before []rouse.Activation
		want   string
	}{
		{nil, "it is the function's first run, or the first within an hour"},
		{[]rouse.Activation{a}, "it is the function's first run, or the first within an hour"},
		{[]rouse.Activation{at(1, time.Minute, 0)}, "it is the first run of version 2 within an hour; others were of version 1"},
		{[]rouse.Activation{at(2, time.Minute, time.Second), at(2, time.Hour, 0)}, "version 2 had not run for 59s, and its instances were gone"},
		{[]rouse.Activation{at(2, time.Second, time.Minute), at(1, time.Second, time.Minute)}, "1 others of version 2 ran at that moment"},
	} {
		if got := whyCold(a, c.before); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestNamespacesAreKeptApart(t *testing.T) {
	w, ctx := newWorld(t, Config{}), t.Context()
	other := *w.Client
	other.Namespace = "other"
	if _, err := other.SetStream(ctx, "s", wire.StreamOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := w.Stream(ctx, "s")
	wantKind(t, err, rouse.NotFound, "default/s")
	_, err = other.SetQueue(ctx, "q", wire.QueueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if page, err := w.Queues(ctx, "", 0); err != nil || len(page.Queues) != 0 {
		t.Errorf("%+v %v", page, err)
	}
}

// The notes of other dialects stay when this one changes a thing.
func TestNotesStay(t *testing.T) {
	w, ctx := newWorld(t, Config{}), t.Context()
	notes := rouse.Notes{"other": []byte(`{"role":"x"}`)}
	ref := func(name string) rouse.Ref { return rouse.Ref{Namespace: rouse.DefaultNamespace, Name: name} }
	d := w.services.Data
	_, err1 := d.Streams.Create(ctx, data.Stream{Ref: ref("x"), Notes: notes})
	q := data.DefaultQueue(ref("x"))
	q.Notes = notes
	_, err2 := d.Queues.Create(ctx, q)
	_, err3 := d.Tables.CreateTable(ctx, data.Table{Ref: ref("x"), Key: data.Attribute{Name: "k"}, Notes: notes})
	_, err4 := d.Buckets.CreateBucket(ctx, data.Bucket{Ref: ref("x"), Notes: notes})
	_, err5 := w.services.Rules.SetTrigger(ctx, event.Trigger{Ref: ref("x"), Kind: "button", Config: []byte("{}"), Notes: notes})
	_, err6 := w.services.Rules.SetRule(ctx, event.Rule{Ref: ref("x"), On: event.On{Trigger: "x"}, To: event.Target{Function: "echo"}, Notes: notes})
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string]string{"streams/x": `{"keep":"1h"}`, "queues/x": `{}`, "tables/x": `{"key":{"name":"k"},"ttl":"t"}`, "buckets/x": `{"versioned":true}`,
		"triggers/x": `{"kind":"button","config":{"open":true}}`, "rules/x": `{"on":{"trigger":"x"},"to":{"function":"fails"}}`} {
		resp, got := do(t, request(t, http.MethodPut, w.url+"/v1/"+path, body))
		if resp.StatusCode != 200 || !strings.Contains(got, `"notes":{"other":{"role":"x"}}`) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, got)
		}
	}
}

// A request to a trigger is bounded, as any other is.
func TestATriggersRequestIsBounded(t *testing.T) {
	w, ctx := newWorld(t, Config{MaxBatch: 100}), t.Context()
	if _, err := w.SetTrigger(ctx, "hook", wire.TriggerOptions{Kind: "door", Config: []byte(`{"open":true}`)}); err != nil {
		t.Fatal(err)
	}
	if resp, body := do(t, request(t, http.MethodPost, w.url+"/on/hook/x", strings.Repeat("x", 101))); resp.StatusCode != 413 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}
