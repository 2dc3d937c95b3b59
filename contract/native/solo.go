package native

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/rouse-run/rouse"
)

// solo is an instance that answers one event at a time: whoever asks writes
// the event and reads the answer, without another goroutine between.
type solo struct {
	*worker
	sequence uint32
}

// Answer implements rouse.Instance.
func (s *solo) Answer(ctx context.Context, in rouse.Invocation) (rouse.Answer, error) {
	s.sequence++
	deadline, _ := ctx.Deadline()
	_ = s.conn.SetReadDeadline(deadline)
	if _, timed := ctx.(interface{ Timed() }); !timed && ctx.Done() != nil {
		// The deadline is the read's own; this is for a context that is canceled.
		stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
	}
	if err := s.send(ctx, s.sequence, &in); err != nil {
		return s.broken(err), nil
	}
	c := collector{in: in, limit: s.function.Limits.Answer}
	for {
		f, err := s.frames.Read()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				if ctx.Err() != nil {
					return rouse.Answer{}, ctx.Err()
				}
				return rouse.Answer{}, context.DeadlineExceeded
			}
			return s.broken(err), nil
		}
		if f.Sequence != s.sequence {
			return s.broken(errors.New("an answer to another event")), nil
		}
		done, err := c.take(f)
		var gone *hangup
		if errors.As(err, &gone) {
			return rouse.Answer{}, context.Canceled
		}
		if err != nil {
			return s.broken(err), nil
		}
		if done {
			return c.answer, nil
		}
	}
}

// broken is the answer of a worker that no longer speaks.
func (w *worker) broken(err error) rouse.Answer {
	status, failure := w.gone(err)
	return rouse.Answer{Status: status, Failure: failure}
}

// Close implements rouse.Instance.
func (w *worker) Close() error { return w.sandbox.Close() }
