package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/store/storetest"
)

var (
	_      data.Queues = (*Queues)(nil)
	start              = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	jobs               = rouse.Ref{Namespace: "default", Name: "jobs"}
	failed             = rouse.Ref{Namespace: "default", Name: "failed"}
	minute             = time.Minute
	none               = time.Duration(0)
)

// A world is Queues in a real store, with a clock that stands until it is moved.
type world struct {
	*testing.T
	*Queues
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
	w.Queues = New(Config{Keys: counted{w.site.Keys(t, "queue"), &w.updates}, Now: w.now})
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

// create makes a queue that f has set.
func (w *world) create(r rouse.Ref, f func(*data.Queue)) {
	w.Helper()
	c := data.DefaultQueue(r)
	if f != nil {
		f(&c)
	}
	_, err := w.Create(w.Context(), c)
	w.ok(err)
}

func (w *world) send(ms ...data.Message) []data.Sent {
	w.Helper()
	sent, err := w.Send(w.Context(), jobs, ms)
	w.ok(err)
	return sent
}

// put sends messages of a text: its first letter is the group.
func (w *world) put(texts ...string) {
	w.Helper()
	for _, text := range texts {
		w.send(data.Message{Body: []byte(text), Group: text[:1]})
	}
}

func (w *world) receive(r rouse.Ref, n int, visibility *time.Duration) []data.Delivery {
	w.Helper()
	ds, err := w.Receive(w.Context(), data.Receive{Queue: r, Max: n, Visibility: visibility})
	w.ok(err)
	return ds
}

func bodies(ds []data.Delivery) string {
	var all []string
	for _, d := range ds {
		all = append(all, string(d.Body))
	}
	return strings.Join(all, " ")
}

func (w *world) wantBodies(ds []data.Delivery, want string) {
	w.Helper()
	if got := bodies(ds); got != want {
		w.Fatalf("received %q, want %q", got, want)
	}
}

func (w *world) delete(ds ...data.Delivery) {
	w.Helper()
	for _, d := range ds {
		_, err := w.Delete(w.Context(), jobs, []string{d.Receipt})
		w.ok(err)
	}
}

func (w *world) wantCounts(r rouse.Ref, want data.QueueCounts) {
	w.Helper()
	got, err := w.Counts(w.Context(), r)
	w.ok(err)
	if diff := cmp.Diff(want, got); diff != "" {
		w.Fatalf("counts of %v (-want +got):\n%s", r, diff)
	}
}

// wantEmpty fails where anything is stored of messages but counters.
func (w *world) wantEmpty() {
	w.Helper()
	err := w.Keys.View(w.Context(), func(r rouse.KeyReader) error {
		pairs, err := r.Scan(rouse.Span{From: []byte{messageKind}, To: []byte{messageKind + 1}})
		for _, p := range pairs {
			w.Errorf("left is %q: %q", p.Key, p.Value)
		}
		return err
	})
	w.ok(err)
}

func TestADelivery(t *testing.T) {
	w := open(t)
	w.create(jobs, nil)
	m := data.Message{Body: []byte("a\x00b"), Attributes: map[string]string{"k\xff": "v", "": "\x00"}, Dedup: "once", Group: "g"}
	sent := w.send(m, data.Message{})
	if s := sent[0]; !s.Visible.Equal(start) || !s.Expires.Equal(start.Add(4*24*time.Hour)) || s.Duplicate || s.ID >= sent[1].ID {
		t.Fatalf("sent %+v", sent)
	}
	w.advance(time.Second)
	peeked, err := w.Peek(t.Context(), jobs, 10)
	w.ok(err)
	want := data.Delivery{ID: sent[0].ID, Body: m.Body, Attributes: m.Attributes, Dedup: "once", Group: "g", Sent: start,
		Visible: start, Expires: sent[0].Expires}
	if diff := cmp.Diff(want, peeked[0]); diff != "" || len(peeked) != 2 {
		t.Fatalf("peeked at %d (-want +got):\n%s", len(peeked), diff)
	}
	ds := w.receive(jobs, 1, nil)
	want.Receipt, want.Count, want.First, want.Visible = ds[0].Receipt, 1, w.now(), w.now().Add(30*time.Second)
	if diff := cmp.Diff(want, ds[0]); diff != "" {
		t.Fatalf("received (-want +got):\n%s", diff)
	}
	w.advance(30 * time.Second)
	again := w.receive(jobs, 1, &minute)
	want.Receipt, want.Count, want.Visible = again[0].Receipt, 2, w.now().Add(time.Minute)
	if diff := cmp.Diff(want, again[0]); diff != "" || again[0].Receipt == ds[0].Receipt {
		t.Fatalf("received again (-want +got):\n%s", diff)
	}
	deleted, err := w.Delete(t.Context(), jobs, []string{again[0].Receipt, ds[0].Receipt, "nonsense", ""})
	if w.is(err, rouse.Conflict, "receipts[1]"); !slices.Equal(deleted, []bool{true, false, false, false}) {
		t.Fatal(deleted)
	}
	w.wantCounts(jobs, data.QueueCounts{Visible: 1, Next: -1})
	w.delete(w.receive(jobs, 5, nil)...)
	w.advance(data.DedupWindow + time.Second)
	w.ok(w.Expire(t.Context()))
	w.wantEmpty()
}

func TestTheReceiptOfASender(t *testing.T) {
	w := open(t)
	w.create(jobs, nil)
	sent := w.send(data.Message{Body: []byte("a")}, data.Message{Body: []byte("b"), Delay: time.Minute}, data.Message{Body: []byte("c")})
	_, err := w.Delete(t.Context(), jobs, []string{sent[0].Receipt, sent[1].Receipt})
	w.ok(err)
	_, err = w.Extend(t.Context(), jobs, sent[2].Receipt, time.Minute, []byte("d"))
	w.ok(err)
	w.wantCounts(jobs, data.QueueCounts{Delayed: 1, Next: time.Minute})
	w.advance(time.Minute)
	ds := w.receive(jobs, 5, nil)
	w.wantBodies(ds, "d")
	if _, err = w.Delete(t.Context(), jobs, []string{sent[2].Receipt}); err == nil {
		t.Fatal("the receipt outlived the next")
	}
	w.delete(ds...)
	w.wantEmpty()
}

func TestExtend(t *testing.T) {
	w := open(t)
	w.create(jobs, nil)
	w.send(data.Message{Body: []byte("a"), Attributes: map[string]string{"k": "v"}})
	old := w.receive(jobs, 1, nil)[0].Receipt
	fresh, err := w.Extend(t.Context(), jobs, old, time.Hour, []byte("changed"))
	w.ok(err)
	_, err = w.Extend(t.Context(), jobs, old, time.Hour, nil)
	w.is(err, rouse.Conflict, "receipt")
	_, err = w.Extend(t.Context(), jobs, fresh, 0, make([]byte, data.MaxMessage+1))
	w.is(err, rouse.TooLarge, "body")
	w.advance(59 * time.Minute)
	w.wantBodies(w.receive(jobs, 1, nil), "")
	_, err = w.Extend(t.Context(), jobs, fresh, 0, nil)
	w.ok(err)
	ds := w.receive(jobs, 1, nil)
	if w.wantBodies(ds, "changed"); ds[0].Attributes["k"] != "v" || ds[0].Count != 2 {
		t.Fatalf("%+v", ds[0])
	}
}

func TestDelays(t *testing.T) {
	w := open(t)
	w.create(jobs, func(c *data.Queue) { c.Delay = rouse.Duration(time.Minute) })
	w.send(data.Message{Body: []byte("queue's")}, data.Message{Body: []byte("own"), Delay: time.Second}, data.Message{Body: []byte("none"), Delay: -1})
	w.wantCounts(jobs, data.QueueCounts{Visible: 1, Delayed: 2, Next: time.Second})
	w.wantBodies(w.receive(jobs, 5, nil), "none")
	w.advance(time.Second)
	w.wantBodies(w.receive(jobs, 5, nil), "own")
	w.wantCounts(jobs, data.QueueCounts{Leased: 2, Delayed: 1, Next: 29 * time.Second})
	w.advance(59 * time.Second)
	peeked, err := w.Peek(t.Context(), jobs, 10)
	w.ok(err)
	if bodies(peeked) != "queue's own none" { // by age; the leases of the other two are over
		t.Fatal(bodies(peeked))
	}
}

func TestTooOld(t *testing.T) {
	for _, fifo := range []bool{false, true} {
		t.Run(fmt.Sprintf("fifo=%v", fifo), func(t *testing.T) {
			w := open(t)
			w.create(jobs, func(c *data.Queue) { c.Keep, c.Fifo = rouse.Duration(time.Hour), fifo })
			w.send(data.Message{Body: []byte("short"), Group: "a", TTL: time.Minute}, data.Message{Body: []byte("ever"), Group: "b", TTL: -1},
				data.Message{Body: []byte("kept"), Group: "c"}, data.Message{Body: []byte("long"), Group: "d", TTL: 2 * time.Hour}, data.Message{Body: []byte("leased"), Group: "e"})
			w.wantBodies(w.receive(jobs, 5, &none), "short ever kept long leased")
			w.advance(time.Minute)
			w.wantBodies(w.receive(jobs, 5, &none), "ever kept long leased")
			ds := w.receive(jobs, 5, &minute)
			for _, d := range ds[:3] {
				_, err := w.Extend(t.Context(), jobs, d.Receipt, 0, nil)
				w.ok(err)
			}
			_, err := w.Extend(t.Context(), jobs, ds[3].Receipt, 3*time.Hour, nil)
			w.ok(err)
			w.advance(time.Hour)
			w.ok(w.Expire(t.Context()))
			w.wantCounts(jobs, data.QueueCounts{Visible: 2, Leased: 1, Next: 2 * time.Hour})
			w.advance(time.Hour)
			peeked, err := w.Peek(t.Context(), jobs, 5)
			if w.ok(err); len(peeked) != 1 {
				t.Fatal(bodies(peeked))
			}
			w.ok(w.Expire(t.Context()))
			w.wantCounts(jobs, data.QueueCounts{Visible: 1, Leased: 1, Next: time.Hour})
			w.advance(2 * time.Hour)
			ds = w.receive(jobs, 5, nil)
			w.wantBodies(ds, "ever")
			w.delete(ds...)
			w.ok(w.Expire(t.Context()))
			w.wantEmpty()
		})
	}
}

func TestDuplicates(t *testing.T) {
	w := open(t)
	w.create(jobs, func(c *data.Queue) { c.DedupByBody = true })
	first := w.send(data.Message{Body: []byte("a"), Dedup: "1"}, data.Message{Body: []byte("b"), Dedup: "1"}, data.Message{Body: []byte("a")}, data.Message{Body: []byte("a")})
	if first[0].Duplicate || !first[1].Duplicate || first[2].Duplicate || !first[3].Duplicate || first[1].ID != first[0].ID || first[3].ID != first[2].ID {
		t.Fatalf("%+v", first)
	}
	w.delete(w.receive(jobs, 5, nil)...)
	w.advance(data.DedupWindow - time.Second)
	if s := w.send(data.Message{Body: []byte("c"), Dedup: "1"}); !s[0].Duplicate || s[0].ID != first[0].ID {
		t.Fatalf("%+v", s)
	}
	w.advance(time.Second)
	if s := w.send(data.Message{Body: []byte("c"), Dedup: "1"}); s[0].Duplicate {
		t.Fatalf("%+v", s)
	}
	w.wantBodies(w.receive(jobs, 5, nil), "c")
	w.advance(time.Second)
	if s := w.send(data.Message{Body: []byte("c"), Dedup: "1"}); !s[0].Duplicate { // what is forgotten is the first only
		t.Fatalf("%+v", s)
	}
}

func TestDeadLetters(t *testing.T) {
	w := open(t)
	w.create(failed, nil)
	w.create(jobs, func(c *data.Queue) { c.MaxReceives, c.DeadLetter = 2, failed })
	sent := w.send(data.Message{Body: []byte("a"), Attributes: map[string]string{"k": "v"}, Group: "g"}, data.Message{Body: []byte("b")})
	w.receive(jobs, 2, &none)
	w.receive(jobs, 2, &none)
	w.wantCounts(failed, data.QueueCounts{Next: -1})
	w.advance(time.Second)
	w.wantBodies(w.receive(jobs, 2, &none), "")
	w.wantCounts(jobs, data.QueueCounts{Next: -1})
	w.wantCounts(failed, data.QueueCounts{Visible: 2, Next: -1})
	ds := w.receive(failed, 1, &none)
	want := data.Delivery{ID: ds[0].ID, Receipt: ds[0].Receipt, Body: []byte("a"), Attributes: map[string]string{"k": "v"}, Group: "g", Count: 1, Sent: start,
		First: w.now(), Visible: w.now(), Expires: start.Add(4 * 24 * time.Hour), Origin: &data.Origin{Queue: jobs, ID: sent[0].ID, Count: 2}}
	if diff := cmp.Diff(want, ds[0]); diff != "" {
		t.Fatalf("dead letter (-want +got):\n%s", diff)
	}
	n, err := w.Redrive(t.Context(), failed, rouse.Ref{}, 1)
	if w.ok(err); n != 1 {
		t.Fatal(n)
	}
	ds = w.receive(jobs, 5, &minute)
	if w.wantBodies(ds, "a"); ds[0].Count != 1 || ds[0].Origin != nil || !ds[0].Sent.Equal(start) {
		t.Fatalf("%+v", ds[0])
	}
	other := rouse.Ref{Namespace: "default", Name: "other"}
	w.create(other, func(c *data.Queue) { c.Fifo = true })
	n, err = w.Redrive(t.Context(), failed, other, 0)
	if w.ok(err); n != 1 {
		t.Fatal(n)
	}
	w.wantBodies(w.receive(other, 5, &minute), "b")
	_, err = w.Send(t.Context(), failed, []data.Message{{Body: []byte("has no origin")}})
	w.ok(err)
	n, err = w.Redrive(t.Context(), failed, rouse.Ref{}, 0)
	if w.ok(err); n != 0 {
		t.Fatal(n)
	}
	w.wantBodies(w.receive(failed, 5, &minute), "has no origin")
	_, err = w.Redrive(t.Context(), failed, failed, 0)
	w.is(err, rouse.Invalid, "to")
	_, err = w.Redrive(t.Context(), failed, rouse.Ref{Name: "no"}, 0)
	w.is(err, rouse.NotFound, "no")
	w.ok(w.Remove(t.Context(), failed)) // with nowhere to go a message stays
	w.receive(jobs, 5, &none)
	w.advance(time.Minute)
	for range 3 {
		w.wantBodies(w.receive(jobs, 5, &none), "a")
	}
}

func TestManyAreRedriven(t *testing.T) {
	w := open(t)
	w.create(jobs, nil)
	w.create(failed, nil)
	w.send(make([]data.Message, 2*redriveAtOnce+3)...)
	for _, c := range []struct{ limit, want int }{{redriveAtOnce + 1, redriveAtOnce + 1}, {0, redriveAtOnce + 2}} {
		n, err := w.Redrive(t.Context(), jobs, failed, c.limit)
		if w.ok(err); n != c.want {
			t.Fatalf("%d moved, want %d", n, c.want)
		}
	}
	w.wantCounts(failed, data.QueueCounts{Visible: 2*redriveAtOnce + 3, Next: -1})
}

func TestPurgeAndRemove(t *testing.T) {
	w := open(t)
	w.create(jobs, nil)
	w.send(make([]data.Message, 2*sweepAtOnce)...)
	ds := w.receive(jobs, 5, nil)
	w.ok(w.Purge(t.Context(), jobs))
	w.wantCounts(jobs, data.QueueCounts{Next: -1})
	_, err := w.Delete(t.Context(), jobs, []string{ds[0].Receipt})
	w.is(err, rouse.Conflict, "receipt")
	w.send(data.Message{Body: []byte("new")})
	w.ok(w.Expire(t.Context()))
	w.wantBodies(w.receive(jobs, 5, nil), "new")
	w.ok(w.Remove(t.Context(), jobs))
	w.is(w.Remove(t.Context(), jobs), rouse.NotFound, "jobs")
	w.is(w.Purge(t.Context(), jobs), rouse.NotFound, "jobs")
	w.create(jobs, nil)
	w.wantBodies(w.receive(jobs, 5, nil), "")
	w.ok(w.Expire(t.Context()))
	w.wantEmpty()
}

func TestAdmin(t *testing.T) {
	w := open(t)
	names := []string{"a", "a\x00", "a\xff", "b"}
	for _, name := range names {
		c := data.Queue{Ref: rouse.Ref{Namespace: "n\xffs", Name: name}, MaxReceives: 1, DeadLetter: rouse.Ref{Namespace: "n\xffs", Name: "d\xff"},
			Notes: rouse.Notes{"x": []byte(`{"y":1}`)}}
		got, err := w.Create(t.Context(), c)
		w.ok(err)
		c.Created = start
		stored, err := w.Queue(t.Context(), c.Ref)
		w.ok(err)
		if diff := cmp.Diff(c, got) + cmp.Diff(c, stored); diff != "" {
			t.Fatalf("created (-want +got):\n%s", diff)
		}
	}
	w.create(jobs, func(c *data.Queue) { c.Fifo = true })
	for _, c := range []struct {
		after string
		limit int
		want  []string
	}{{"", 0, names}, {"", 2, names[:2]}, {"a", 2, names[1:3]}, {"b", 0, nil}} {
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
	w.advance(time.Hour)
	got, err := w.Update(t.Context(), data.Queue{Ref: jobs, Keep: 5})
	w.ok(err)
	if diff := cmp.Diff(data.Queue{Ref: jobs, Keep: 5, Fifo: true, Created: start}, got); diff != "" {
		t.Fatalf("updated (-want +got):\n%s", diff)
	}
	_, err = w.Create(t.Context(), data.Queue{Ref: jobs})
	w.is(err, rouse.Conflict, "default/jobs")
	for word, c := range map[string]data.Queue{
		"visibility": {Visibility: -1}, "delay": {Delay: -1}, "keep": {Keep: -1}, "maxReceives": {MaxReceives: -1}, "deadLetter": {MaxReceives: 1},
		"own": {MaxReceives: 1, DeadLetter: failed}, "namespace": {MaxReceives: 1, DeadLetter: rouse.Ref{Namespace: "x", Name: "y"}},
	} {
		c.Ref = failed
		_, err := w.Create(t.Context(), c)
		w.is(err, rouse.Invalid, word)
	}
	_, err = w.Update(t.Context(), data.Queue{Ref: failed})
	w.is(err, rouse.NotFound, "failed")
}

func TestUnknownAndOversize(t *testing.T) {
	w := open(t)
	_, err := w.Send(t.Context(), jobs, []data.Message{{}})
	w.is(err, rouse.NotFound, "jobs")
	_, err = w.Send(t.Context(), jobs, nil)
	w.is(err, rouse.NotFound, "jobs")
	_, err = w.Receive(t.Context(), data.Receive{Queue: jobs, Wait: time.Hour})
	w.is(err, rouse.NotFound, "jobs")
	_, err = w.Delete(t.Context(), jobs, nil)
	w.is(err, rouse.NotFound, "jobs")
	_, err = w.Peek(t.Context(), jobs, 1)
	w.is(err, rouse.NotFound, "jobs")
	_, err = w.Counts(t.Context(), jobs)
	w.is(err, rouse.NotFound, "jobs")
	w.create(jobs, nil)
	_, err = w.Send(t.Context(), jobs, []data.Message{{}, {Body: make([]byte, data.MaxMessage), Dedup: "x"}})
	w.is(err, rouse.TooLarge, "messages[1]")
	_, err = w.Send(t.Context(), jobs, make([]data.Message, maxSend+1))
	w.is(err, rouse.TooLarge, "in parts")
	w.wantCounts(jobs, data.QueueCounts{Next: -1})
	w.ok(w.Close())
	_, err = w.Send(t.Context(), jobs, []data.Message{{}})
	w.is(err, rouse.Unavailable, "closed")
}

func TestLargeMessagesComeInParts(t *testing.T) {
	w := open(t)
	w.create(jobs, nil)
	for range 25 {
		w.send(data.Message{Body: make([]byte, data.MaxMessage)})
	}
	first := w.receive(jobs, 100, nil)
	second := w.receive(jobs, 100, nil)
	if len(first) < 16 || len(first) > 17 || len(first)+len(second) != 25 {
		t.Fatalf("%d and %d", len(first), len(second))
	}
}

// Those that are leased for long lie between those that wait.
func TestFewWaitAmongMany(t *testing.T) {
	w := open(t)
	w.create(jobs, nil)
	for i := range 200 {
		w.send(data.Message{Body: fmt.Append(nil, i)})
	}
	ds := w.receive(jobs, 200, &minute)
	for _, i := range []int{3, 150, 199} {
		_, err := w.Extend(t.Context(), jobs, ds[i].Receipt, 0, nil)
		w.ok(err)
	}
	w.wantBodies(w.receive(jobs, 5, nil), "3 150 199")
}

func TestReceiveWaits(t *testing.T) {
	w := open(t)
	w.create(jobs, nil)
	got := make(chan string)
	receive := func(ctx context.Context) {
		ds, err := w.Receive(ctx, data.Receive{Queue: jobs, Wait: 24 * time.Hour})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		got <- fmt.Sprint(bodies(ds), errors.Is(err, context.Canceled))
	}
	go receive(t.Context())
	w.send(data.Message{Body: []byte("a")})
	if text := <-got; text != "afalse" {
		t.Fatal(text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go receive(ctx)
	cancel()
	if text := <-got; text != "true" {
		t.Fatal(text)
	}
}

// Two Queues over the same Keys are two nodes: one does not wake the other.
func TestReceiveFindsWhatComesOtherwise(t *testing.T) {
	drivers.Ready(t)
	synctest.Test(t, func(t *testing.T) {
		w := open(t)
		w.Now = time.Now
		w.create(jobs, nil)
		other := New(Config{Keys: w.Keys})
		defer other.Close()
		receive := func(body string, atMost time.Duration) {
			t.Helper()
			began := time.Now()
			ds, err := w.Receive(t.Context(), data.Receive{Queue: jobs, Wait: 5 * time.Second, Visibility: &minute})
			w.ok(err)
			w.wantBodies(ds, body)
			if took := time.Since(began); took > atMost {
				t.Fatalf("%q came after %v", body, took)
			}
			w.delete(ds...)
		}
		go func() {
			time.Sleep(2500 * time.Millisecond)
			if _, err := other.Send(t.Context(), jobs, []data.Message{{Body: []byte("a")}}); err != nil {
				t.Error(err)
			}
		}()
		receive("a", 3*time.Second)
		w.send(data.Message{Body: []byte("b"), Delay: 300 * time.Millisecond})
		receive("b", 310*time.Millisecond)
		receive("", 5*time.Second)
	})
}

func TestRunExpires(t *testing.T) {
	drivers.Ready(t)
	synctest.Test(t, func(t *testing.T) {
		w := open(t)
		w.create(jobs, nil)
		w.send(data.Message{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Queues.Run(ctx) }()
		w.advance(5 * 24 * time.Hour)
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		w.wantCounts(jobs, data.QueueCounts{Next: -1})
		cancel()
		w.ok(<-ended)
	})
}

// Each of several nodes makes IDs of its own and counts for itself.
func TestNodes(t *testing.T) {
	w := open(t)
	w.create(jobs, nil)
	nodes := []*Queues{w.Queues}
	for range 5 {
		n := New(Config{Keys: w.Keys, Now: w.now})
		defer n.Close()
		nodes = append(nodes, n)
	}
	var mu sync.Mutex
	seen := map[int64]bool{}
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			last := int64(0)
			for range 20 {
				sent, err := n.Send(t.Context(), jobs, make([]data.Message, 20))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, s := range sent {
					if seen[s.ID] || s.ID <= last {
						t.Errorf("%d came twice, or after %d", s.ID, last)
					}
					seen[s.ID], last = true, s.ID
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	w.wantCounts(jobs, data.QueueCounts{Visible: 6 * 20 * 20, Next: -1})
	used := map[byte]bool{}
	for id := range seen {
		used[byte(id&(slots-1))] = true
	}
	if len(used) < 2 {
		t.Errorf("all nodes use the same slot")
	}
	for len(w.receive(jobs, 1000, &none)) > 0 {
		ds := w.receive(jobs, 1000, &minute)
		var rs []string
		for _, d := range ds {
			rs = append(rs, d.Receipt)
		}
		_, err := nodes[3].Delete(t.Context(), jobs, rs)
		w.ok(err)
	}
	w.wantCounts(jobs, data.QueueCounts{Next: -1})
}

func TestWhatWaitsGoesTogether(t *testing.T) {
	w := open(t)
	w.create(jobs, nil)
	before := w.updates.Load()
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 20 {
				if _, err := w.Send(t.Context(), jobs, []data.Message{{}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := w.updates.Load() - before; n > 320 {
		t.Errorf("%d transactions for 640 sends", n)
	}
	w.wantCounts(jobs, data.QueueCounts{Visible: 640, Next: -1})
}

// One that is refused does not harm those that go with it.
func TestARefusalIsOfOneCaller(t *testing.T) {
	w := open(t)
	w.create(jobs, func(c *data.Queue) { c.Fifo = true })
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 10 {
				if _, err := w.Send(t.Context(), jobs, []data.Message{{Group: "a"}}); err != nil {
					t.Error(err)
				}
				if _, err := w.Send(t.Context(), jobs, []data.Message{{Group: "a"}, {}}); rouse.KindOf(err) != rouse.Invalid {
					t.Error(err)
				}
				if _, err := w.Extend(t.Context(), jobs, "1-1", 0, nil); rouse.KindOf(err) != rouse.Conflict {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	w.wantCounts(jobs, data.QueueCounts{Visible: 160, Next: -1})
}
