package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
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
