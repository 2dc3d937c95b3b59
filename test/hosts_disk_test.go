package test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/postgres/pgtest"
)

// A platform whose database has no room left says so, loses nothing that it
// acknowledged, and goes on by itself once there is room.
func TestTheDatabasesDiskIsFull(t *testing.T) {
	url, disk := pgtest.StartOnDisk(t)
	s := start(t, "", "--store", url)
	s.services()
	l := newLedger()
	full := 0
	for range 2 {
		disk.Fill(t, 512<<10)
		var mu sync.Mutex
		var said []error
		var g sync.WaitGroup
		for who := range 2 {
			for _, work := range []func(context.Context, *server, int) error{l.append, l.press, l.send, l.put} {
				g.Go(func() {
					var err error
					for err == nil {
						err = work(t.Context(), s, who)
					}
					mu.Lock()
					defer mu.Unlock()
					said = append(said, err)
				})
			}
		}
		g.Wait()
		for _, err := range said {
			if rouse.KindOf(err) != rouse.Unavailable {
				t.Errorf("error %v (%v), want one that is unavailable", err, rouse.KindOf(err))
			}
			if strings.Contains(err.Error(), "disk is full") {
				full++
			}
		}
		t.Logf("the first said: %v", said[0])
		if a := s.call("see", 1); a.Status != rouse.StatusAnswered { // for which nothing must be written
			t.Errorf("%+v", a)
		}
		disk.Free(t)
		eventually(t, "it goes on", func() bool { return l.put(t.Context(), s, 0) == nil })
		if a := s.call("see", 1); a.Status != rouse.StatusAnswered {
			t.Errorf("%+v", a)
		}
	}
	if full == 0 {
		t.Error("no error says that the disk is full")
	}
	t.Logf("acknowledged: %s", l)
	l.checkData(t, s)
	l.checkDeliveries(t, s)
}
