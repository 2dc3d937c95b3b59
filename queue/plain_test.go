package queue

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/sqlite"
	"github.com/rouse-run/rouse/store/storetest"
)

// A store is a driver's, with the queues of this package in the place of its
// own.
type store struct {
	*sqlite.Store
	queues *Queues
}

func (s store) Queue() rouse.Queue { return s.queues.Plain() }

func (s store) Close() error { return errors.Join(s.queues.Close(), s.Store.Close()) }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) func(t *testing.T) storetest.Store {
		if !strings.Contains(t.Name(), "/Queue/") {
			t.Skip("not of queues")
		}
		dir := filepath.Join(t.TempDir(), "data")
		return func(t *testing.T) storetest.Store {
			s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir, Now: now})
			if err != nil {
				t.Fatal(err)
			}
			keys, err := s.Keys(t.Context(), "queue")
			if err != nil {
				t.Fatal(err)
			}
			return store{s, New(Config{Keys: keys, Now: now})}
		}
	})
}
