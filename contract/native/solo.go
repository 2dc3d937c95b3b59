package native

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/rouse-run/rouse"
)

// solo is an instance that answers one event at a time: whoever asks writes
// the event and reads the answer, without another goroutine between.
type solo struct {
	*worker
	sequence uint32
	until    time.Time           // the deadline that reads of conn have; zero where that is unknown
	header   map[string][]string // of one answer after the other
}

// Answer implements rouse.Instance.
func (s *solo) Answer(ctx context.Context, in rouse.Invocation) (rouse.Answer, error) {
	s.sequence++
	if _, timed := ctx.(interface{ Timed() }); timed || ctx.Done() == nil {
		s.until = s.readUntil(ctx, s.until)
	} else {
		// The deadline is the read's own; this is for a context that is canceled.
		s.readUntil(ctx, time.Time{})
		s.until = time.Time{}
		stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
	}
	size, err := s.send(ctx, s.sequence, &in)
	if isBrokenPipe(err) {
		return rouse.Answer{}, rouse.ErrNotBegun // nobody has all of it
	}
	if err != nil {
		return s.broken(err), nil
	}
	c := collector{in: in, limit: s.function.Limits.Answer, header: s.header}
	for {
		f, err := s.frames.Read()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
			return rouse.Answer{}, ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.until = s.readUntil(ctx, time.Time{}) // it was that of an earlier event
			continue
		case errors.Is(err, io.EOF) && s.unread() >= size:
			return rouse.Answer{}, rouse.ErrNotBegun
		case err != nil:
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

// readUntil has reads end when ctx does, or before, and returns when: to set a
// deadline costs more than to find, now and then, that an earlier one was meant
// for another event. Was is the one that is set.
func (s *solo) readUntil(ctx context.Context, was time.Time) time.Time {
	deadline, _ := ctx.Deadline()
	if !was.IsZero() && (deadline.IsZero() || !was.After(deadline)) {
		return was
	}
	_ = s.conn.SetReadDeadline(deadline)
	return deadline
}

// broken is the answer of a worker that no longer speaks.
func (w *worker) broken(err error) rouse.Answer {
	status, failure := w.gone(err)
	return rouse.Answer{Status: status, Failure: failure}
}

// Close implements rouse.Instance.
func (w *worker) Close() error { return w.sandbox.Close() }
