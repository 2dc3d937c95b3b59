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
