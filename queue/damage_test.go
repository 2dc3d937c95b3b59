package queue

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/tuple"
)

// spoil changes the values of keys of a kind that end with an ID or, where that
// is 0, of all of them.
func (w *world) spoil(kind byte, id int64) {
	w.Helper()
	var d *document
	w.ok(w.Keys.View(w.Context(), func(r rouse.KeyReader) (err error) {
		d, err = w.documents.load(r, jobs)
		return err
	}))
	from := append(append([]byte{messageKind}, d.box()...), kind)
	if kind == counterKind {
		from = counterPrefix(d.box())
	}
	suffix := ""
	if id != 0 {
		suffix = fmt.Sprintf("%016x", id)
	}
	w.site.Spoil(w.T, "queue", rouse.Span{From: from, To: tuple.After(from)}, suffix)
}

func TestDamage(t *testing.T) {
	for _, fifo := range []bool{false, true} {
		t.Run(fmt.Sprintf("fifo=%v", fifo), func(t *testing.T) {
			w := open(t)
			w.create(jobs, func(c *data.Queue) { c.Fifo = fifo })
			var ids []int64
			for _, text := range []string{"a1", "a2", "b1", "c1", "c2", "d1"} {
				ids = append(ids, w.send(data.Message{Body: []byte(text), Group: text[:1]})[0].ID)
			}
			waiting := byte(waitKind)
			if fifo {
				waiting = fifoKind
			}
			w.spoil(bodyKind, ids[0])
			w.spoil(waiting, ids[2])
			ds := w.receive(jobs, 10, &minute)
			for range 5 { // of a group of which one was put aside there may be more
				ds = append(ds, w.receive(jobs, 10, &minute)...)
			}
			w.wantBodies(ds, "a2 c1 c2 d1")
			w.wantCounts(jobs, data.QueueCounts{Leased: 4, Damaged: 2, Next: time.Minute})
			w.spoil(leasedKind, ids[3]) // the state of c1
			w.spoil(counterKind, 0)
			w.advance(time.Minute)
			ds = w.receive(jobs, 10, &minute)
			w.wantBodies(ds, "a2 c2 d1")
			w.wantCounts(jobs, data.QueueCounts{Leased: 3, Damaged: 3, Next: time.Minute})
			if s := w.send(data.Message{Body: []byte("e"), Group: "e"}); s[0].ID <= ids[5] {
				t.Fatalf("%d after %d", s[0].ID, ids[5])
			}
			w.delete(ds...)
			w.wantCounts(jobs, data.QueueCounts{Visible: 1, Damaged: 3, Next: -1})
		})
	}
}

func TestDamagedPlainMessagesAreDeadLetters(t *testing.T) {
	w := open(t)
	q := w.Plain()
	ids, err := q.Send(t.Context(), "q", []rouse.Message{{Body: []byte("a")}, {Body: []byte("b")}, {Body: []byte("c")}})
	w.ok(err)
	body := w.plainBody("q", ids[1])
	w.site.Spoil(t, "queue", rouse.Span{From: body, To: append(body, 0)}, "")
	ls, err := q.Receive(t.Context(), "q", 3, time.Minute)
	w.ok(err)
	if len(ls) != 2 || string(ls[0].Body)+string(ls[1].Body) != "ac" {
		t.Fatalf("%+v", ls)
	}
	dead, err := q.Dead(t.Context(), "q", 0, 0)
	w.ok(err)
	if len(dead) != 1 || dead[0].ID != ids[1] || dead[0].Body != nil || dead[0].Reason != damage {
		t.Fatalf("%+v", dead)
	}
	if n, err := q.Redrive(t.Context(), "q", nil); n != 0 || err != nil {
		t.Fatal(n, err)
	}
}

func (w *world) plainBody(name string, id int64) []byte {
	return plain{w.Queues}.at(name).idKey(bodyKind, id)
}

func TestStatsOfNames(t *testing.T) {
	w := open(t)
	q := w.Plain()
	for _, name := range []string{"a", "ab", "a\x00", "a\xff", "b"} {
		_, err := q.Send(t.Context(), name, []rouse.Message{{}})
		w.ok(err)
	}
	all, err := q.Stats(t.Context(), "a")
	w.ok(err)
	want := map[string]rouse.QueueStats{}
	for _, name := range []string{"a", "ab", "a\x00", "a\xff"} {
		want[name] = rouse.QueueStats{Visible: 1, Next: -1}
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Fatalf("stats (-want +got):\n%s", diff)
	}
}

// Of several queues that are used at once the counters of one may be damaged:
// they are counted again.
func TestDamagedCountersOfOneOfSeveral(t *testing.T) {
	w := open(t)
	all := map[string][]rouse.Message{"a": {{}, {}}, "b": {{}}}
	first, err := w.SendAll(t.Context(), all, map[string]int{"a": 1}, time.Minute)
	w.ok(err)
	for range 2 { // where it is at home, and where it is not
		from := counterPrefix(plainName("a"))
		w.site.Spoil(t, "queue", rouse.Span{From: from, To: tuple.After(from)}, "")
		_, err = w.SendAll(t.Context(), all, nil, 0)
		w.ok(err)
		w.homes.forget(plainName("a"))
	}
	from := counterPrefix(plainName("a"))
	w.site.Spoil(t, "queue", rouse.Span{From: from, To: tuple.After(from)}, "")
	_, err = w.DeleteAll(t.Context(), map[string][]rouse.Receipt{"a": {first["a"][0].Receipt}, "b": {{ID: 1, Epoch: 1}}})
	w.ok(err)
	stats, err := w.Plain().Stats(t.Context(), "")
	w.ok(err)
	if stats["a"].Visible != 5 || stats["b"].Visible != 3 {
		t.Errorf("%v", stats)
	}
}
