package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func redriveQueue(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.RedriveQueue
	if err := c.readOptional(&in); err != nil {
		return err
	}
	if in.Limit < 0 {
		return invalid("limit is %d; it must be 1 or more, or left out for all", in.Limit)
	}
	var to rouse.Ref
	if in.To != "" {
		if err := rouse.CheckName(in.To); err != nil {
			return err
		}
		to = rouse.Ref{Namespace: ref.Namespace, Name: in.To}
	}
	n, err := s.Data.Queues.Redrive(c.r.Context(), ref, to, in.Limit)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.Redriven{Redriven: n})
}
