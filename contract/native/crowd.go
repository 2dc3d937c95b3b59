package native

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/frame"
)

// crowd is an instance that answers several events at once: one goroutine
// reads the frames and hands each to the event that it belongs to.
type crowd struct {
	*worker
	reading sync.WaitGroup

	mu       sync.Mutex
	sequence uint32               // guarded by mu
	waiting  map[uint32]*attendee // guarded by mu; nil once the worker is gone
	end      rouse.Answer         // guarded by mu; how it went
	closed   bool                 // guarded by mu; it did not end by itself
}

// An attendee is one event on its way.
type attendee struct {
	done chan error // nil once answered

	mu        sync.Mutex
	collector      // guarded by mu until done
	left      bool // guarded by mu; nobody waits for it any more
}

func newCrowd(w *worker) *crowd {
	c := &crowd{worker: w, waiting: map[uint32]*attendee{}}
	c.reading.Go(c.read)
	return c
}

// Answer implements rouse.Instance.
func (c *crowd) Answer(ctx context.Context, in rouse.Invocation) (rouse.Answer, error) {
	a := &attendee{collector: collector{in: in, limit: c.function.Limits.Answer}, done: make(chan error, 1)}
	c.mu.Lock()
	if c.waiting == nil {
		defer c.mu.Unlock()
		return c.end, nil
	}
	c.sequence++
	sequence := c.sequence
	c.waiting[sequence] = a
	// Under the lock, for frames must not mingle. The worker reads at once.
	_, err := c.send(ctx, sequence, &in)
	c.mu.Unlock()
	if err != nil {
		_ = c.sandbox.Close() // the reader sees the end, and tells all
	}
	select {
	case err := <-a.done:
		return a.answer, err
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.waiting, sequence)
		c.mu.Unlock()
		a.mu.Lock() // the Reply is not to be touched once we are gone
		a.left = true
		a.mu.Unlock()
		return rouse.Answer{}, ctx.Err()
	}
}

// read hands out frames until the worker is gone.
func (c *crowd) read() {
	var err error
	for err == nil {
		var f frame.Frame
		if f, err = c.frames.Read(); err == nil {
			err = c.hand(f)
		}
	}
	end := c.broken(err)
	c.mu.Lock()
	if c.closed {
		end = rouse.Answer{Status: rouse.StatusCrashed, Failure: &rouse.Failure{Type: "Crashed",
			Message: "its instance was ended with another call in it, which ran out of time or whose caller left: calls that answer at once (concurrency) share their end"}}
	}
	waiting := c.waiting
	c.waiting, c.end = nil, end
	c.mu.Unlock()
	for _, a := range waiting {
		a.answer = end
		a.done <- nil
	}
}

func (c *crowd) hand(f frame.Frame) error {
	c.mu.Lock()
	a := c.waiting[f.Sequence]
	c.mu.Unlock()
	if a == nil {
		return nil // of an event that nobody waits for any more
	}
	if f.Type == frame.Log {
		if len(f.Body) == 0 || f.Body[0] != 1 && f.Body[0] != 2 {
			return errors.New("a log line of no stream")
		}
		c.log(rouse.Line{Activation: a.in.ID, Time: time.Now(), Stream: rouse.Stream(f.Body[0]), Text: string(f.Body[1:])})
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.left {
		return nil
	}
	done, err := a.take(f)
	var gone *hangup
	if errors.As(err, &gone) {
		done, err = true, nil
		a.answer = rouse.Answer{}
		defer func() { a.done <- context.Canceled }()
	} else if done {
		defer func() { a.done <- nil }()
	}
	if done {
		c.mu.Lock()
		delete(c.waiting, f.Sequence)
		c.mu.Unlock()
	}
	return err
}

// Close implements rouse.Instance.
func (c *crowd) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	err := c.sandbox.Close()
	c.reading.Wait()
	return err
}
