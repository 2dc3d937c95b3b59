package queue

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
)

// slow is a map that calls after once a change is durable, before it says so.
type slow struct {
	rouse.Keys
	after func()
}

func (s *slow) Update(ctx context.Context, f func(rouse.KeyWriter) error) error {
	err := s.Keys.Update(ctx, f)
	if s.after != nil {
		s.after()
	}
	return err
}

// What is leased for somebody who has gone meanwhile is not kept from others
// until the lease is over.
func TestAReceiverThatHasGone(t *testing.T) {
	w := open(t)
	w.create(jobs, nil)
	keys := &slow{Keys: w.Keys}
	q := New(Config{Keys: keys, Now: w.now})
	defer func() { w.ok(q.Close()) }()
	for name, c := range map[string]struct {
		send, receive func(context.Context) (int, error)
	}{
		"plain": {
			func(ctx context.Context) (int, error) {
				_, err := q.Plain().Send(ctx, "q", []rouse.Message{{}, {}})
				return 0, err
			},
			func(ctx context.Context) (int, error) {
				ls, err := q.Plain().Receive(ctx, "q", 5, time.Hour)
				return len(ls), err
			}},
		"data": {
			func(ctx context.Context) (int, error) {
				_, err := q.Send(ctx, jobs, []data.Message{{Body: []byte("a")}, {Body: []byte("b")}})
				return 0, err
			},
			func(ctx context.Context) (int, error) {
				ds, err := q.Receive(ctx, data.Receive{Queue: jobs, Max: 5})
				return len(ds), err
			}},
	} {
		if _, err := c.send(t.Context()); err != nil {
			t.Fatal(name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan struct{})
		keys.after = func() {
			keys.after = nil
			cancel()
			<-left
		}
		if n, err := c.receive(ctx); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %d messages, %v", name, n, err)
		}
		close(left)
		if n, err := c.receive(t.Context()); n != 2 || err != nil {
			t.Errorf("%s: %d messages, %v; want both", name, n, err)
		}
	}
}
