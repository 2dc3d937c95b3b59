package queue

import (
	"fmt"
	"slices"
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
	w.ok(w.SendAll(t.Context(), all))
	if did := w.updates.Load() - before; did != 1 {
		t.Errorf("%d transactions", did)
	}
	other := New(Config{Keys: w.Keys, Now: w.now}) // which has no slot yet
	defer func() { w.ok(other.Close()) }()
	w.ok(other.SendAll(t.Context(), all))
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
	w.is(w.SendAll(t.Context(), all), rouse.TooLarge, "rule:large")
	w.ok(other.Close())
	w.is(other.SendAll(t.Context(), all), rouse.TooLarge, "rule:large")
	delete(all, "rule:large")
	w.is(other.SendAll(t.Context(), all), rouse.Unavailable, "closed")
	w.ok(w.SendAll(t.Context(), nil))
}

// Who waits for one of the queues is woken.
func TestSendAllWakes(t *testing.T) {
	w := open(t)
	woken, done := w.waiters.wait(plainSource("a"))
	defer done()
	w.ok(w.SendAll(t.Context(), map[string][]rouse.Message{"a": {{Body: []byte("x")}}, "b": {{}}}))
	select {
	case <-woken:
	default:
		t.Error("nobody was woken")
	}
}
