package queue

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/store/pending"
)

// leaving is a store whose database goes away within a transaction: after so many
// reads.
type leaving struct {
	rouse.Keys
	after atomic.Int64 // below 0 is never
}

func (l *leaving) Update(ctx context.Context, f func(rouse.KeyWriter) error) error {
	return l.Keys.Update(ctx, func(w rouse.KeyWriter) error {
		if l.after.Load() < 0 {
			return f(w)
		}
		mine := pending.New(&away{w, l.after.Load()})
		if err := f(mine); err != nil {
			return err
		}
		return errAway // at the commit, if not before
	})
}

var errAway = rouse.Errorf(rouse.Unavailable, "read", "queue", "the database can't be reached")

// away reads so many times.
type away struct {
	rouse.KeyReader
	left int64
}

func (a *away) Get(keys ...[]byte) ([][]byte, error) {
	if a.left--; a.left < 0 {
		return nil, errAway
	}
	return a.KeyReader.Get(keys...)
}

func (a *away) Scan(s rouse.Span) ([]rouse.Pair, error) {
	if a.left--; a.left < 0 {
		return nil, errAway
	}
	return a.KeyReader.Scan(s)
}

// A database that can't be reached is not taken for one that is damaged, wherever
// in a transaction it goes away.
func TestADatabaseThatIsAwayIsNotDamaged(t *testing.T) {
	w := open(t)
	keys := &leaving{Keys: drivers.Site(t).Keys(t, "queue")}
	keys.after.Store(-1)
	var said bytes.Buffer
	all := New(Config{Keys: keys, Now: w.now, Log: slog.New(slog.NewTextHandler(&said, nil))})
	q := all.Plain()
	two := []rouse.Message{{Body: []byte("a")}, {Body: []byte("b")}}
	_, err := q.Send(t.Context(), "q", append(two, two...))
	w.ok(err)
	ls, err := q.Receive(t.Context(), "q", 1, time.Minute)
	w.ok(err)
	fifo := data.DefaultQueue(jobs)
	fifo.Fifo = true
	_, err = all.Create(t.Context(), fifo)
	w.ok(err)
	groups := []data.Message{{Group: "a", Dedup: "1"}, {Group: "b", Dedup: "2"}, {Group: "b", Dedup: "3"}}
	_, err = all.Send(t.Context(), jobs, groups)
	w.ok(err)
	for after := range int64(12) {
		keys.after.Store(after)
		for name, err := range map[string]error{
			"send":              func() error { _, err := q.Send(t.Context(), "q", two); return err }(),
			"receive":           func() error { _, err := q.Receive(t.Context(), "q", 2, time.Minute); return err }(),
			"delete":            func() error { _, err := q.Delete(t.Context(), "q", []rouse.Receipt{ls[0].Receipt}); return err }(),
			"bury":              q.Bury(t.Context(), "q", ls[0].Receipt, "no"),
			"send in groups":    func() error { _, err := all.Send(t.Context(), jobs, groups); return err }(),
			"receive of groups": func() error { _, err := all.Receive(t.Context(), data.Receive{Queue: jobs, Max: 3}); return err }(),
			"send all": func() error {
				_, err := all.SendAll(t.Context(), map[string][]rouse.Message{"q": two, "other": two}, nil, 0)
				return err
			}(),
		} {
			if rouse.KindOf(err) != rouse.Unavailable {
				t.Errorf("%s after %d reads: %v", name, after, err)
			}
		}
	}
	w.ok(all.Close())
	if strings.Contains(said.String(), "damaged") {
		t.Errorf("it said %s", said.String())
	}
}
