package queue

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
)

// bodiesOf receives from a plain queue.
func (w *world) bodiesOf(queue string, n int, d time.Duration) (all []string) {
	w.Helper()
	ls, err := w.Plain().Receive(w.Context(), queue, n, d)
	w.ok(err)
	for _, l := range ls {
		all = append(all, fmt.Sprint(string(l.Body), l.Count))
	}
	return all
}

// What the server itself held when it was killed is there for the next one at
// once; what others hold, and what is delayed, is not.
func TestRecover(t *testing.T) {
	w := open(t)
	plain := w.Plain()
	for _, q := range []string{"invoke:a", "rule:b"} {
		_, err := plain.Send(t.Context(), q, []rouse.Message{{Body: []byte("x")}, {Body: []byte("y")}, {Body: []byte("later"), Delay: 10 * time.Second}})
		w.ok(err)
		w.bodiesOf(q, 1, 30*time.Second)
	}
	w.create(jobs, nil)
	w.create(failed, func(q *data.Queue) { q.Fifo = true })
	w.put("a", "b", "c")
	half := 30 * time.Second
	w.wantBodies(w.receive(jobs, 1, &half), "a") // somebody else's
	ds, err := w.Take(t.Context(), data.Receive{Queue: jobs, Visibility: &half})
	w.ok(err)
	w.wantBodies(ds, "b")
	held, err := w.Take(t.Context(), data.Receive{Queue: jobs, Visibility: &half})
	w.ok(err)
	_, err = w.Extend(t.Context(), jobs, held[0].Receipt, time.Hour, nil) // for another attempt, much later
	w.ok(err)
	for _, body := range []string{"1", "2"} {
		_, err = w.Send(t.Context(), failed, []data.Message{{Body: []byte(body), Group: "g"}})
		w.ok(err)
	}
	if ds, err = w.Take(t.Context(), data.Receive{Queue: failed, Visibility: &half}); err != nil || bodies(ds) != "1" {
		t.Fatalf("%v %v", ds, err)
	}

	next := New(Config{Keys: w.Keys, Now: w.now})
	defer func() { w.ok(next.Close()) }()
	if n, err := next.Recover(t.Context(), half, jobs, failed, rouse.Ref{Name: "gone"}); n != 4 || err != nil {
		t.Fatalf("%d were recovered, want 4: %v", n, err)
	}
	for _, q := range []string{"invoke:a", "rule:b"} {
		if got := w.bodiesOf(q, 5, 0); !slices.Equal(got, []string{"x2", "y1"}) {
			t.Errorf("in %s is %q", q, got)
		}
	}
	w.wantBodies(w.receive(jobs, 5, &half), "b")
	w.wantBodies(w.receive(failed, 5, &half), "1 2")
	if n, err := next.Recover(t.Context(), half, jobs, failed); n != 0 || err != nil {
		t.Fatalf("%d were recovered that others hold: %v", n, err)
	}
}

// More than goes into one transaction is recovered, among what is not.
func TestManyAreRecovered(t *testing.T) {
	w := open(t)
	const n = dueAtOnce + 100
	for range 2 {
		_, err := w.Plain().Send(t.Context(), "q", slices.Repeat([]rouse.Message{{Body: []byte("a")}}, n))
		w.ok(err)
		_, err = w.Plain().Send(t.Context(), "q", slices.Repeat([]rouse.Message{{Body: []byte("b"), Delay: 5 * time.Second}}, n/2))
		w.ok(err)
	}
	for range 3 {
		if got := w.bodiesOf("q", maxReceive, 10*time.Second); len(got) == 0 {
			t.Fatal("nothing is there")
		}
	}
	if got, err := w.Recover(t.Context(), 30*time.Second); got != 2*n || err != nil {
		t.Fatalf("%d were recovered, want %d: %v", got, 2*n, err)
	}
	all, err := w.Plain().Stats(t.Context(), "q")
	w.ok(err)
	if s := all["q"]; s.Visible != 2*n || s.Leased != n {
		t.Errorf("%+v", s)
	}
}
