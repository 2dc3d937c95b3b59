package queue

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
)

func TestGroups(t *testing.T) {
	w := open(t)
	w.create(jobs, func(c *data.Queue) { c.Fifo = true })
	w.put("a1", "b1", "a2", "a3", "b2", "c1")
	first := w.receive(jobs, 2, &minute)
	w.wantBodies(first, "a1 a2")
	second := w.receive(jobs, 1, &minute)
	w.wantBodies(second, "b1")
	w.wantBodies(w.receive(jobs, 5, &minute), "c1")
	w.wantBodies(w.receive(jobs, 5, &minute), "")
	w.put("a4")
	w.delete(first[1])
	w.wantBodies(w.receive(jobs, 5, &minute), "") // a1 is leased still
	_, err := w.Extend(t.Context(), jobs, first[0].Receipt, 0, nil)
	w.ok(err)
	again := w.receive(jobs, 5, &minute)
	w.wantBodies(again, "a1 a3 a4")
	w.delete(second...)
	ds := w.receive(jobs, 5, &minute)
	w.wantBodies(ds, "b2")
	w.delete(ds...)
	w.delete(again...)
	w.advance(time.Minute)
	ds = w.receive(jobs, 5, &minute)
	w.wantBodies(ds, "c1")
	w.delete(ds...)
	w.wantEmpty()
	_, err = w.Send(t.Context(), jobs, []data.Message{{Group: "a"}, {}})
	w.is(err, rouse.Invalid, "messages[1].group")
	_, err = w.Send(t.Context(), jobs, []data.Message{{Group: "a", Delay: 1}})
	w.is(err, rouse.Invalid, "messages[0].delay")
}

// Who wants few messages of each group, or of few groups, gets no more.
func TestFewOfEachGroup(t *testing.T) {
	w := open(t)
	w.create(jobs, func(c *data.Queue) { c.Fifo = true })
	w.put("a1", "b1", "a2", "a3", "b2", "c1", "a4")
	few := func(groups, each int, want string) []data.Delivery {
		t.Helper()
		ds, err := w.Receive(t.Context(), data.Receive{Queue: jobs, Max: 10, Visibility: &minute, Groups: groups, PerGroup: each})
		w.ok(err)
		w.wantBodies(ds, want)
		for _, d := range ds {
			if !d.Fifo {
				t.Errorf("%+v", d)
			}
		}
		return ds
	}
	ds := few(2, 2, "a1 a2 b1 b2")
	w.delete(append(few(0, 1, "c1"), ds...)...)
	w.delete(few(1, 0, "a3 a4")...)
	w.wantEmpty()
}

// A receipt stays good when its lease is over, and must not break the group.
func TestGroupsAfterTheirLeases(t *testing.T) {
	w := open(t)
	w.create(jobs, func(c *data.Queue) { c.Fifo = true })
	w.put("a1", "a2", "a3")
	w.receive(jobs, 2, &minute)
	w.advance(time.Minute)
	w.wantBodies(w.receive(jobs, 5, &none), "a1 a2 a3")
	ds := w.receive(jobs, 2, &minute)
	w.advance(time.Minute)
	w.ok(w.Expire(t.Context())) // they wait again
	longer, err := w.Extend(t.Context(), jobs, ds[1].Receipt, time.Hour, nil)
	w.ok(err)
	w.wantBodies(w.receive(jobs, 5, &minute), "") // a2 is leased
	w.delete(ds[0])
	w.wantBodies(w.receive(jobs, 5, &minute), "")
	_, err = w.Delete(t.Context(), jobs, []string{longer})
	w.ok(err)
	ds = w.receive(jobs, 5, &minute)
	w.wantBodies(ds, "a3")
	w.delete(ds...)
	w.wantEmpty()
}

func TestGroupsUnderLoad(t *testing.T) {
	w := open(t)
	w.create(jobs, func(c *data.Queue) { c.Fifo = true })
	const groups, each = 10, 30
	var wg sync.WaitGroup
	for g := range groups {
		wg.Go(func() {
			for i := range each {
				if _, err := w.Send(t.Context(), jobs, []data.Message{{Body: fmt.Append(nil, i), Group: fmt.Sprint(g)}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var mu sync.Mutex
	next, busy, done := map[string]int{}, map[string]bool{}, 0
	for range 4 {
		wg.Go(func() {
			for {
				ds, err := w.Receive(t.Context(), data.Receive{Queue: jobs, Max: 3, Visibility: &minute, Wait: time.Millisecond})
				if err != nil {
					t.Error(err)
					return
				}
				mine := map[string]bool{}
				mu.Lock()
				if done == groups*each {
					mu.Unlock()
					return
				}
				for _, d := range ds {
					if busy[d.Group] && !mine[d.Group] {
						t.Errorf("%s is in two hands", d.Group)
					}
					if got := string(d.Body); got != fmt.Sprint(next[d.Group]) {
						t.Errorf("%s of %s comes where %d should", got, d.Group, next[d.Group])
					}
					next[d.Group]++
					busy[d.Group], mine[d.Group] = true, true
				}
				done += len(ds)
				for g := range mine {
					busy[g] = false // before they are deleted
				}
				mu.Unlock()
				w.delete(ds...)
			}
		})
	}
	wg.Wait()
	w.wantEmpty()
}
