package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func listQueues(s *server, c *call) error {
	ns, after, limit, err := c.listing()
	if err != nil {
		return err
	}
	all, err := s.Data.Queues.List(c.r.Context(), ns, after, limit)
	if err != nil {
		return err
	}
	page := wire.Queues{Queues: []wire.Queue{}, Next: next(all, limit, func(x data.Queue) string { return x.Name })}
	for _, q := range all {
		w, err := s.counted(c, q)
		if rouse.KindOf(err) == rouse.NotFound {
			continue // it was removed meanwhile
		}
		if err != nil {
			return err
		}
		page.Queues = append(page.Queues, w)
	}
	return c.answer(http.StatusOK, page)
}

func (s *server) counted(c *call, q data.Queue) (wire.Queue, error) {
	n, err := s.Data.Queues.Counts(c.r.Context(), q.Ref)
	return wire.QueueOf(q, n), err
}
