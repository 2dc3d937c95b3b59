package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

// What is sent to many queues at once is in each as if it had been sent there
// alone: to those that were in use before and to new ones, with good counts.
func TestSendAll(t *testing.T) {
	w := open(t)
	const n = 60
	all := map[string][]rouse.Message{}
	for i := range n {
		name := fmt.Sprintf("rule:%03d", i)
		all[name] = []rouse.Message{{Body: fmt.Appendf(nil, "%d.1", i)}, {Body: fmt.Appendf(nil, "%d.2", i), Delay: time.Minute}}
		if i%3 == 0 { // it has a slot already
			_, err := w.Plain().Send(t.Context(), name, []rouse.Message{{Body: []byte("before")}})
			w.ok(err)
		}
	}
	all["rule:none"] = nil
	before := w.updates.Load()
	w.ok(w.sendAll(all))
	if did := w.updates.Load() - before; did != 1 {
		t.Errorf("%d transactions", did)
	}
	other := New(Config{Keys: w.Keys, Now: w.now}) // which has no slot yet
	defer func() { w.ok(other.Close()) }()
	_, err := other.SendAll(t.Context(), all, nil, 0)
	w.ok(err)
	stats, err := w.Plain().Stats(t.Context(), "rule:")
	w.ok(err)
	if len(stats) != n {
		t.Errorf("%d queues hold something, want %d", len(stats), n)
	}
	for i := range n {
		name := fmt.Sprintf("rule:%03d", i)
		want := []string{fmt.Sprint(i, ".1"), fmt.Sprint(i, ".1")}
		if i%3 == 0 {
			want = append([]string{"before"}, want...)
		}
		if s := stats[name]; s.Visible != int64(len(want)) || s.Leased != 2 {
			t.Errorf("%s has %+v", name, s)
		}
		ls, err := w.Plain().Receive(t.Context(), name, 10, time.Second)
		w.ok(err)
		var got []string
		ids := map[int64]bool{}
		for _, l := range ls {
			got, ids[l.ID] = append(got, string(l.Body)), true
		}
		if !slices.Equal(got, want) || len(ids) != len(want) {
			t.Errorf("in %s is %q, want %q", name, got, want)
		}
	}
	all["rule:large"] = []rouse.Message{{Body: make([]byte, maxPlain+1)}}
	w.is(w.sendAll(all), rouse.TooLarge, "rule:large")
	w.ok(other.Close())
	_, err = other.SendAll(t.Context(), all, nil, 0)
	w.is(err, rouse.TooLarge, "rule:large")
	delete(all, "rule:large")
	_, err = other.SendAll(t.Context(), all, nil, 0)
	w.is(err, rouse.Unavailable, "closed")
	w.ok(w.sendAll(nil))
}

// Who waits for one of the queues is woken.
func TestSendAllWakes(t *testing.T) {
	w := open(t)
	woken, done := w.waiters.wait(plainSource("a"))
	defer done()
	w.ok(w.sendAll(map[string][]rouse.Message{"a": {{Body: []byte("x")}}, "b": {{}}}))
	select {
	case <-woken:
	default:
		t.Error("nobody was woken")
	}
}

// Many that send to overlapping queues and take from them at once neither lose a
// message nor wait for each other for ever.
func TestSendAllBesideOthers(t *testing.T) {
	w := open(t)
	const senders, times, queues = 4, 15, 6
	var work sync.WaitGroup
	for s := range senders {
		work.Go(func() {
			for n := range times {
				all := map[string][]rouse.Message{}
				for q := range queues {
					if (q+s+n)%2 == 0 {
						all[fmt.Sprint("q", q)] = []rouse.Message{{Body: fmt.Append(nil, s, "-", n)}}
					}
				}
				if _, err := w.SendAll(context.Background(), all, nil, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	got := make([]map[string]int, queues)
	for q := range queues {
		got[q] = map[string]int{}
		work.Go(func() {
			name := fmt.Sprint("q", q)
			for len(got[q]) < senders*times/2 && !t.Failed() {
				ls, err := w.Plain().Receive(context.Background(), name, 3, time.Hour)
				if err != nil {
					t.Error(err)
				}
				var rs []rouse.Receipt
				for _, l := range ls {
					got[q][string(l.Body)]++
					rs = append(rs, l.Receipt)
				}
				if _, err := w.Plain().Delete(context.Background(), name, rs); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	for q, all := range got {
		for body, n := range all {
			if n != 1 {
				t.Errorf("message %s of q%d was received %d times", body, q, n)
			}
		}
	}
	if len(w.holds.all) != 0 {
		t.Errorf("%d are held", len(w.holds.all))
	}
}

func (w *world) sendAll(all map[string][]rouse.Message) error {
	_, err := w.SendAll(w.Context(), all, nil, 0)
	return err
}

// What is sent and taken in one is leased as if it had been received: it is in
// nobody else's hands, can be deleted, and is there again when its time is over
// or the server has ended.
func TestSendAllTakes(t *testing.T) {
	w := open(t)
	leases, err := w.SendAll(t.Context(), map[string][]rouse.Message{"a": {{Body: []byte("1")}, {Body: []byte("2")}, {Body: []byte("3")}}, "b": {{Body: []byte("4")}}, "c": {{Body: []byte("5")}}},
		map[string]int{"a": 2, "c": 9, "d": 1}, time.Minute)
	w.ok(err)
	if len(leases) != 2 || len(leases["a"]) != 2 || len(leases["c"]) != 1 || string(leases["a"][1].Body) != "2" || leases["a"][0].Count != 1 || !leases["a"][0].Sent.Equal(w.now()) {
		t.Fatalf("%+v", leases)
	}
	if got := w.bodiesOf("a", 5, time.Minute); !slices.Equal(got, []string{"31"}) {
		t.Errorf("others get %q", got)
	}
	deleted, err := w.Plain().Delete(t.Context(), "a", []rouse.Receipt{leases["a"][0].Receipt})
	w.ok(err)
	if !deleted[0] {
		t.Error("a receipt is not good")
	}
	if n, err := w.Recover(t.Context(), time.Minute); n != 3 || err != nil { // 2, 3 and 5
		t.Errorf("%d were recovered, %v", n, err)
	}
	if got := w.bodiesOf("a", 5, 0); !slices.Equal(got, []string{"22", "32"}) {
		t.Errorf("then there are %q", got)
	}
	if got := w.bodiesOf("c", 5, 0); !slices.Equal(got, []string{"52"}) {
		t.Errorf("then there are %q", got)
	}
	_, err = w.SendAll(t.Context(), map[string][]rouse.Message{"e": {{Body: []byte("6")}}}, map[string]int{"e": 1}, time.Second)
	w.ok(err)
	w.advance(time.Second)
	if got := w.bodiesOf("e", 5, 0); !slices.Equal(got, []string{"62"}) {
		t.Errorf("when its time is over there is %q", got)
	}
}

// What is deleted of several queues at once is as if it had been deleted of each:
// but for what is in other hands, or gone.
func TestDeleteAll(t *testing.T) {
	w := open(t)
	leases, err := w.SendAll(t.Context(), map[string][]rouse.Message{"a": {{Body: []byte("1")}, {Body: []byte("2")}}, "b": {{Body: []byte("3")}}, "c": {{Body: []byte("4")}}, "d": {{Body: []byte("5")}}},
		map[string]int{"a": 2, "b": 1, "c": 1}, time.Minute)
	w.ok(err)
	receipt := func(queue string, i int) rouse.Receipt { return leases[queue][i].Receipt }
	_, err = w.Plain().Extend(t.Context(), "b", receipt("b", 0), 0) // it has another receipt now
	w.ok(err)
	visible, err := w.Plain().Extend(t.Context(), "c", receipt("c", 0), 0) // and this one is good though it waits
	w.ok(err)
	before := w.updates.Load()
	deleted, err := w.DeleteAll(t.Context(), map[string][]rouse.Receipt{"a": {receipt("a", 1), receipt("a", 1), receipt("a", 0)}, "b": {receipt("b", 0)}, "c": {visible}, "none": {{ID: 1, Epoch: 1}}})
	w.ok(err)
	if did := w.updates.Load() - before; did != 1 {
		t.Errorf("%d transactions", did)
	}
	if got, want := fmt.Sprint(deleted), "map[a:[true false true] b:[false] c:[true] none:[false]]"; got != want {
		t.Errorf("deleted are %s, want %s", got, want)
	}
	stats, err := w.Plain().Stats(t.Context(), "")
	w.ok(err)
	if len(stats) != 2 || stats["b"].Visible != 1 || stats["d"].Visible != 1 {
		t.Errorf("left are %v", stats)
	}
	if got := w.bodiesOf("b", 5, 0); !slices.Equal(got, []string{"32"}) {
		t.Errorf("left is %q", got)
	}
	deleted, err = w.DeleteAll(t.Context(), nil)
	w.ok(err)
	if len(deleted) != 0 {
		t.Errorf("%v", deleted)
	}
	w.ok(w.Close())
	_, err = w.DeleteAll(t.Context(), map[string][]rouse.Receipt{"a": {receipt("a", 0)}})
	w.is(err, rouse.Unavailable, "closed")
}
