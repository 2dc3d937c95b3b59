package native

import (
	"context"
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

func setQueue(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var o wire.QueueOptions
	if err := c.readOptional(&o); err != nil {
		return err
	}
	q, err := queueOf(ref, o)
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	if err := s.deadLetter(ctx, q, event.Prospect{}); err != nil {
		return err
	}
	made, err := s.Data.Queues.Create(ctx, q)
	if rouse.KindOf(err) == rouse.Conflict {
		var old data.Queue
		if old, err = s.Data.Queues.Queue(ctx, ref); err != nil {
			return err
		}
		if old.Fifo != q.Fifo {
			return rouse.Errorf(rouse.Conflict, "set queue", ref.String(), "fifo can't be changed: make another queue")
		}
		q.Notes = old.Notes
		made, err = s.Data.Queues.Update(ctx, q)
	}
	if err != nil {
		return err
	}
	w, err := s.counted(c, made)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, w)
}

// deadLetter refuses a queue whose dead letters have nowhere to go: they would be
// received for ever.
func (s *server) deadLetter(ctx context.Context, q data.Queue, soon event.Prospect) error {
	if q.DeadLetter.Name == "" || q.DeadLetter == q.Ref || soon.Has("queue", q.DeadLetter.Name, "") {
		return nil
	}
	_, err := s.Data.Queues.Queue(ctx, q.DeadLetter)
	if rouse.KindOf(err) == rouse.NotFound {
		return rouse.Errorf(rouse.NotFound, "set queue", q.Ref.String(), "deadLetter: there is no queue %s: make it first", q.DeadLetter.Name)
	}
	return err
}

func queueOf(ref rouse.Ref, o wire.QueueOptions) (data.Queue, error) {
	q := data.DefaultQueue(ref)
	if o.Visibility != nil {
		q.Visibility = *o.Visibility
	}
	if o.Keep != nil {
		q.Keep = *o.Keep
	}
	q.Delay, q.MaxReceives, q.Fifo, q.DedupByBody = o.Delay, o.MaxReceives, o.Fifo, o.DedupByBody
	if o.DeadLetter != "" {
		if err := rouse.CheckName(o.DeadLetter); err != nil {
			return q, err
		}
		q.DeadLetter = rouse.Ref{Namespace: ref.Namespace, Name: o.DeadLetter}
	}
	return q, nil
}
