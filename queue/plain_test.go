package queue

import (
	"errors"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/storetest"
)

// messages are those of a store.
type messages struct {
	rouse.Queue
	close func() error
}

func (m messages) Close() error { return m.close() }

func TestConformance(t *testing.T) {
	storetest.RunQueue(t, func(t *testing.T, now func() time.Time) func(*testing.T) storetest.Queue {
		site := drivers.Site(t)
		return func(t *testing.T) storetest.Queue {
			s := site.Open(t)
			keys, err := s.Keys(t.Context(), "queue")
			if err != nil {
				t.Fatal(err)
			}
			q := New(Config{Keys: keys, Now: now})
			return messages{q.Plain(), func() error { return errors.Join(q.Close(), s.Close()) }}
		}
	})
}

// Nothing of a plain queue is left after it was purged: not what waits, is leased,
// delayed or dead. What comes then is all there is.
func TestPurgePlain(t *testing.T) {
	site := drivers.Site(t)
	s := site.Open(t)
	keys, err := s.Keys(t.Context(), "queue")
	if err != nil {
		t.Fatal(err)
	}
	queues := New(Config{Keys: keys})
	q, ctx := queues.Plain(), t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	many := make([]rouse.Message, 700)
	for i := range many {
		many[i].Body = []byte("x")
	}
	many[0].Delay = time.Hour
	for _, name := range []string{"a", "ab"} {
		_, err = q.Send(ctx, name, many)
		must(err)
		leases, err := q.Receive(ctx, name, 2, time.Hour)
		must(err)
		must(q.Bury(ctx, name, leases[0].Receipt, "why"))
		if name == "a" {
			must(queues.PurgePlain(ctx, name))
			must(queues.PurgePlain(ctx, name))
			if ok, err := q.Delete(ctx, name, []rouse.Receipt{leases[1].Receipt}); err != nil || ok[0] {
				t.Errorf("%v %v", ok, err)
			}
		}
	}
	all, err := q.Stats(ctx, "")
	must(err)
	if _, there := all["a"]; there || all["ab"].Visible != 697 || all["ab"].Leased != 2 || all["ab"].Dead != 1 {
		t.Errorf("%+v", all)
	}
	dead, err := q.Dead(ctx, "a", 0, 10)
	must(err)
	_, err = q.Send(ctx, "a", many[1:2])
	must(err)
	leases, err := q.Receive(ctx, "a", 10, time.Hour)
	must(err)
	if len(dead) != 0 || len(leases) != 1 {
		t.Errorf("%d dead letters, %d messages", len(dead), len(leases))
	}
	must(errors.Join(queues.Close(), s.Close()))
}
