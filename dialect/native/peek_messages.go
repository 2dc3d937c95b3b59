package native

import (
	"net/http"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

func peekMessages(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	limit, err := c.limit(10, 1000)
	if err != nil {
		return err
	}
	ds, err := s.Data.Queues.Peek(c.r.Context(), ref, limit)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.DeliveriesOf(ds))
}
