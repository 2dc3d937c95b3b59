package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rouse-run/rouse"
)

const q = "work"

var queueTests = map[string]func(*testing.T, *subject[Queue]){
	"ids are in the order of the messages": func(t *testing.T, s *subject[Queue]) {
		last := int64(0)
		for range 3 {
			ids := send(t, s, "a", "b", "c")
			for _, id := range ids {
				if id <= last {
					t.Fatalf("ids %v after %d", ids, last)
				}
				last = id
			}
		}
		s.reopen(t)
		if ids := send(t, s, "d"); ids[0] <= last {
			t.Fatalf("id %d after %d, once it is reopened", ids[0], last)
		}
	},
	"the oldest come first": func(t *testing.T, s *subject[Queue]) {
		send(t, s, "a", "b")
		s.clock.advance(time.Second)
		send(t, s, "c", "d")
		wantBodies(t, receive(t, s, 3, time.Minute), "a", "b", "c")
		wantBodies(t, receive(t, s, 3, time.Minute), "d")
		wantBodies(t, receive(t, s, 3, time.Minute))
	},
	"one given back comes before those sent later": func(t *testing.T, s *subject[Queue]) {
		send(t, s, "a", "b", "c")
		l := receive(t, s, 1, time.Minute)
		s.clock.advance(time.Second)
		must[rouse.Receipt](t)(s.it.Extend(t.Context(), q, l[0].Receipt, 0))
		wantBodies(t, receive(t, s, 3, time.Minute), "a", "b", "c")
	},
	"a lease says what it is": func(t *testing.T, s *subject[Queue]) {
		sent := s.clock.now()
		ids := send(t, s, "a")
		s.clock.advance(time.Hour)
		l := receive(t, s, 1, time.Minute)
		if len(l) != 1 || l[0].ID != ids[0] || l[0].Count != 1 || !l[0].Sent.Equal(sent) || string(l[0].Body) != "a" {
			t.Fatalf("lease %+v", l)
		}
	},
	"a body may be empty or large": func(t *testing.T, s *subject[Queue]) {
		large := string(make([]byte, 6<<20))
		send(t, s, "", large)
		wantBodies(t, receive(t, s, 2, time.Minute), "", large)
	},
	"a leased message is nobody else's until its time is over": func(t *testing.T, s *subject[Queue]) {
		send(t, s, "a")
		first := receive(t, s, 1, time.Minute)
		s.clock.advance(59 * time.Second)
		wantBodies(t, receive(t, s, 1, time.Minute))
		s.clock.advance(2 * time.Second)
		second := receive(t, s, 1, time.Minute)
		wantBodies(t, second, "a")
		if second[0].Count != 2 || second[0].ID != first[0].ID || second[0].Epoch == first[0].Epoch {
			t.Fatalf("leases %+v and %+v", first[0], second[0])
		}
	},
	"a lease for no time is over at once": func(t *testing.T, s *subject[Queue]) {
		send(t, s, "a")
		receive(t, s, 1, 0)
		if l := receive(t, s, 1, 0); len(l) != 1 || l[0].Count != 2 {
			t.Fatalf("leases %+v", l)
		}
	},
	"a stale receipt deletes, extends and buries nothing": func(t *testing.T, s *subject[Queue]) {
		send(t, s, "a")
		stale := receive(t, s, 1, 0)[0].Receipt
		fresh := receive(t, s, 1, time.Minute)[0].Receipt
		for _, r := range []rouse.Receipt{stale, {ID: fresh.ID}, {ID: fresh.ID, Epoch: fresh.Epoch + 1}, {ID: fresh.ID + 1, Epoch: fresh.Epoch}} {
			wantDeleted(t, s, []rouse.Receipt{r}, false)
			_, err := s.it.Extend(t.Context(), q, r, 0)
			is(t, err, rouse.Conflict)
			is(t, s.it.Bury(t.Context(), q, r, "no"), rouse.Conflict)
		}
		wantStats(t, s, rouse.QueueStats{Leased: 1, Next: time.Minute})
		wantDeleted(t, s, []rouse.Receipt{fresh}, true)
		wantDeleted(t, s, []rouse.Receipt{fresh}, false)
		is(t, s.it.Bury(t.Context(), q, fresh, "gone"), rouse.Conflict)
	},
	"a receipt is good until another is made": func(t *testing.T, s *subject[Queue]) {
		send(t, s, "a", "b")
		l := receive(t, s, 2, time.Minute)
		s.clock.advance(time.Hour)
		wantDeleted(t, s, []rouse.Receipt{l[0].Receipt}, true)
		wantBodies(t, receive(t, s, 2, time.Minute), "b")
		wantDeleted(t, s, []rouse.Receipt{l[1].Receipt}, false)
	},
	"delete says which": func(t *testing.T, s *subject[Queue]) {
		send(t, s, "a", "b", "c")
		l := receive(t, s, 3, time.Minute)
		wantDeleted(t, s, []rouse.Receipt{l[1].Receipt}, true)
		wantDeleted(t, s, []rouse.Receipt{l[0].Receipt, l[1].Receipt, l[2].Receipt}, true, false, true)
		wantStats(t, s, rouse.QueueStats{Next: -1})
	},
	"extend makes a new receipt of the old one": func(t *testing.T, s *subject[Queue]) {
		send(t, s, "a")
		old := receive(t, s, 1, time.Minute)[0].Receipt
		fresh := must[rouse.Receipt](t)(s.it.Extend(t.Context(), q, old, time.Hour))
		s.clock.advance(time.Minute * 59)
		wantBodies(t, receive(t, s, 1, time.Minute))
		wantDeleted(t, s, []rouse.Receipt{old}, false)
		_, err := s.it.Extend(t.Context(), q, old, time.Hour)
		is(t, err, rouse.Conflict)
		again := must[rouse.Receipt](t)(s.it.Extend(t.Context(), q, fresh, 0))
		wantStats(t, s, rouse.QueueStats{Visible: 1, Next: -1})
		for _, r := range []rouse.Receipt{old, fresh} {
			wantDeleted(t, s, []rouse.Receipt{r}, false)
			_, err := s.it.Extend(t.Context(), q, r, time.Hour)
			is(t, err, rouse.Conflict)
			is(t, s.it.Bury(t.Context(), q, r, "no"), rouse.Conflict)
		}
		wantDeleted(t, s, []rouse.Receipt{again}, true)
	},
	"extend can make a lease shorter": func(t *testing.T, s *subject[Queue]) {
		send(t, s, "a")
		old := receive(t, s, 1, time.Hour)[0].Receipt
		fresh := must[rouse.Receipt](t)(s.it.Extend(t.Context(), q, old, time.Second))
		wantStats(t, s, rouse.QueueStats{Leased: 1, Next: time.Second})
		wantDeleted(t, s, []rouse.Receipt{old}, false)
		s.clock.advance(time.Second)
		again := receive(t, s, 1, time.Hour-time.Second) // to the very moment at which the first lease ended
		wantBodies(t, again, "a")
		wantDeleted(t, s, []rouse.Receipt{old, fresh}, false, false)
		wantDeleted(t, s, []rouse.Receipt{again[0].Receipt}, true)
	},
	"extend may bring a message back sooner": func(t *testing.T, s *subject[Queue]) {
		send(t, s, "a", "b")
		l := receive(t, s, 2, time.Hour)
		soon := must[rouse.Receipt](t)(s.it.Extend(t.Context(), q, l[1].Receipt, time.Minute))
		wantStats(t, s, rouse.QueueStats{Leased: 2, Next: time.Minute})
		sooner := must[rouse.Receipt](t)(s.it.Extend(t.Context(), q, soon, time.Second))
		for _, r := range []rouse.Receipt{l[1].Receipt, soon} {
			wantDeleted(t, s, []rouse.Receipt{r}, false)
		}
		s.clock.advance(time.Second)
		again := receive(t, s, 2, time.Minute)
		wantBodies(t, again, "b")
		wantDeleted(t, s, []rouse.Receipt{sooner, again[0].Receipt, l[0].Receipt}, false, true, true)
	},
	"a lease may be as long as can be": func(t *testing.T, s *subject[Queue]) {
		must[[]int64](t)(s.it.Send(t.Context(), q, []rouse.Message{{Body: []byte("a")}, {Delay: 1<<63 - 1}}))
		l := receive(t, s, 2, 1<<63-1)
		wantBodies(t, l, "a")
		r := must[rouse.Receipt](t)(s.it.Extend(t.Context(), q, l[0].Receipt, 1<<63-1))
		s.clock.advance(24 * 365 * time.Hour)
		wantBodies(t, receive(t, s, 2, time.Minute))
		wantDeleted(t, s, []rouse.Receipt{l[0].Receipt, r}, false, true)
	},
	"many receipts at one moment are each their own": func(t *testing.T, s *subject[Queue]) {
		send(t, s, "a")
		seen := map[int64]bool{}
		for range 100 {
			r := receive(t, s, 1, 0)[0].Receipt
			e := must[rouse.Receipt](t)(s.it.Extend(t.Context(), q, r, 0))
			if seen[r.Epoch] || seen[e.Epoch] || r.Epoch == e.Epoch {
				t.Fatalf("epochs %d and %d, of which one was before", r.Epoch, e.Epoch)
			}
			seen[r.Epoch], seen[e.Epoch] = true, true
		}
	},
	"a delayed message waits": func(t *testing.T, s *subject[Queue]) {
		must[[]int64](t)(s.it.Send(t.Context(), q, []rouse.Message{
			{Body: []byte("late"), Delay: time.Hour}, {Body: []byte("soon"), Delay: time.Minute}, {Body: []byte("now")}}))
		wantStats(t, s, rouse.QueueStats{Visible: 1, Leased: 2, Next: time.Minute})
		wantBodies(t, receive(t, s, 3, 2*time.Hour), "now")
		s.clock.advance(time.Minute)
		wantBodies(t, receive(t, s, 3, 2*time.Hour), "soon")
		wantStats(t, s, rouse.QueueStats{Leased: 3, Next: 59 * time.Minute})
		s.clock.advance(59 * time.Minute)
		wantBodies(t, receive(t, s, 3, 2*time.Hour), "late")
	},
	"the buried are dead letters": func(t *testing.T, s *subject[Queue]) {
		sent := s.clock.now()
		ids := send(t, s, "a", "b", "c")
		s.clock.advance(time.Minute)
		for _, l := range receive(t, s, 3, time.Minute) {
			ok(t, s.it.Bury(t.Context(), q, l.Receipt, "because "+string(l.Body)))
		}
		wantStats(t, s, rouse.QueueStats{Dead: 3, Next: -1})
		wantBodies(t, receive(t, s, 3, time.Minute))
		want := []rouse.DeadLetter{{ID: ids[0], Body: []byte("a"), Count: 1, Reason: "because a", Sent: sent, Buried: s.clock.now()}}
		got := must[[]rouse.DeadLetter](t)(s.it.Dead(t.Context(), q, 0, 1))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("dead letters (-want +got):\n%s", diff)
		}
		wantDead(t, s, ids[0], 2, "b", "c")
		wantDead(t, s, ids[2], 2)
		s.reopen(t)
		wantDead(t, s, 0, 10, "a", "b", "c")
	},
	"dead letters are sent again": func(t *testing.T, s *subject[Queue]) {
		ids := send(t, s, "a", "b", "c")
		for _, l := range receive(t, s, 3, time.Minute) {
			ok(t, s.it.Bury(t.Context(), q, l.Receipt, "no"))
		}
		if n := must[int](t)(s.it.Redrive(t.Context(), q, []int64{ids[1], ids[1], ids[2] + 1000})); n != 1 {
			t.Fatalf("%d sent again, want 1", n)
		}
		wantDead(t, s, 0, 10, "a", "c")
		l := receive(t, s, 3, time.Minute)
		wantBodies(t, l, "b")
		if l[0].Count != 1 {
			t.Fatalf("count %d, want 1", l[0].Count)
		}
		if n := must[int](t)(s.it.Redrive(t.Context(), q, nil)); n != 2 {
			t.Fatalf("%d sent again, want 2", n)
		}
		wantBodies(t, receive(t, s, 3, time.Minute), "a", "c")
		wantStats(t, s, rouse.QueueStats{Leased: 3, Next: time.Minute})
	},
	"queues are kept apart": func(t *testing.T, s *subject[Queue]) {
		send(t, s, "a")
		other := must[[]int64](t)(s.it.Send(t.Context(), "other", []rouse.Message{{Body: []byte("b")}}))
		l := receive(t, s, 5, time.Minute)
		wantBodies(t, l, "a")
		if d := must[[]bool](t)(s.it.Delete(t.Context(), "other", []rouse.Receipt{l[0].Receipt})); d[0] {
			t.Fatal("a receipt of one queue deletes in another")
		}
		is(t, s.it.Bury(t.Context(), "other", l[0].Receipt, "no"), rouse.Conflict)
		ok(t, s.it.Bury(t.Context(), q, l[0].Receipt, "no"))
		if n := must[int](t)(s.it.Redrive(t.Context(), "other", nil)); n != 0 {
			t.Fatalf("%d redriven in another queue", n)
		}
		o := must[[]rouse.Lease](t)(s.it.Receive(t.Context(), "other", 5, time.Minute))
		if len(o) != 1 || o[0].ID != other[0] {
			t.Fatalf("other queue %+v", o)
		}
	},
	"what was done outlives the store": func(t *testing.T, s *subject[Queue]) {
		send(t, s, "deleted", "leased", "extended", "waiting")
		l := receive(t, s, 3, time.Minute)
		wantDeleted(t, s, []rouse.Receipt{l[0].Receipt}, true)
		fresh := must[rouse.Receipt](t)(s.it.Extend(t.Context(), q, l[2].Receipt, time.Hour))
		s.reopen(t)
		wantStats(t, s, rouse.QueueStats{Visible: 1, Leased: 2, Next: time.Minute})
		wantDeleted(t, s, []rouse.Receipt{l[2].Receipt, fresh}, false, true)
		s.clock.advance(time.Minute)
		again := receive(t, s, 4, time.Minute)
		wantBodies(t, again, "leased", "waiting")
		if again[0].Count != 2 || again[1].Count != 1 {
			t.Fatalf("counts %d and %d", again[0].Count, again[1].Count)
		}
		wantDeleted(t, s, []rouse.Receipt{l[1].Receipt}, false)
	},
	"each message goes to one of many": func(t *testing.T, s *subject[Queue]) {
		const senders, each = 8, 200
		var mu sync.Mutex
		got := map[string]int{}
		var wg sync.WaitGroup
		for w := range senders {
			wg.Go(func() {
				for i := range each {
					if _, err := s.it.Send(t.Context(), q, []rouse.Message{{Body: fmt.Appendf(nil, "%d-%d", w, i)}}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for range 4 {
			wg.Go(func() {
				for {
					l, err := s.it.Receive(t.Context(), q, 7, time.Hour)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, m := range l {
						got[string(m.Body)]++
					}
					all := len(got) == senders*each
					mu.Unlock()
					if all {
						return
					}
					var rs []rouse.Receipt
					for _, m := range l {
						rs = append(rs, m.Receipt)
					}
					d, err := s.it.Delete(t.Context(), q, rs)
					if err != nil || slices.Contains(d, false) {
						t.Error("delete", d, err)
						return
					}
				}
			})
		}
		wg.Wait()
		for body, n := range got {
			if n != 1 {
				t.Errorf("%s was received %d times", body, n)
			}
		}
	},
	"a context that has ended does nothing": func(t *testing.T, s *subject[Queue]) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.it.Send(ctx, q, []rouse.Message{{}}); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v, want context.Canceled", err)
		}
		wantStats(t, s, rouse.QueueStats{Next: -1})
	},
}

func send(t *testing.T, s *subject[Queue], bodies ...string) []int64 {
	t.Helper()
	var ms []rouse.Message
	for _, b := range bodies {
		ms = append(ms, rouse.Message{Body: []byte(b)})
	}
	ids := must[[]int64](t)(s.it.Send(t.Context(), q, ms))
	if len(ids) != len(ms) {
		t.Fatalf("%d ids of %d messages", len(ids), len(ms))
	}
	return ids
}

func receive(t *testing.T, s *subject[Queue], n int, d time.Duration) []rouse.Lease {
	t.Helper()
	return must[[]rouse.Lease](t)(s.it.Receive(t.Context(), q, n, d))
}

func wantBodies(t *testing.T, ls []rouse.Lease, want ...string) {
	t.Helper()
	var got []string
	for _, l := range ls {
		got = append(got, string(l.Body))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("received %.100q, want %.100q", got, want)
	}
}

func wantDeleted(t *testing.T, s *subject[Queue], rs []rouse.Receipt, want ...bool) {
	t.Helper()
	if got := must[[]bool](t)(s.it.Delete(t.Context(), q, rs)); !slices.Equal(got, want) {
		t.Fatalf("deleted %v, want %v", got, want)
	}
}

func wantDead(t *testing.T, s *subject[Queue], after int64, limit int, want ...string) {
	t.Helper()
	var got []string
	for _, d := range must[[]rouse.DeadLetter](t)(s.it.Dead(t.Context(), q, after, limit)) {
		got = append(got, string(d.Body))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("dead letters %q, want %q", got, want)
	}
}

func wantStats(t *testing.T, s *subject[Queue], want rouse.QueueStats) {
	t.Helper()
	all := must[map[string]rouse.QueueStats](t)(s.it.Stats(t.Context(), q))
	got, ok := all[q]
	if !ok {
		got.Next = -1 // a queue that holds nothing is not counted
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("stats (-want +got):\n%s", diff)
	}
}
