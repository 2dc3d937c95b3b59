package native

import (
	"net/http"
	"time"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

func extendMessage(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Extend
	if err := readJSON(c.r.Body, &in); err != nil {
		return err
	}
	if in.Visibility < 0 {
		return invalid("visibility is %v; it must not be negative", in.Visibility)
	}
	receipt, err := s.Data.Queues.Extend(c.r.Context(), ref, in.Receipt, time.Duration(in.Visibility), nil)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.Extended{Receipt: receipt})
}
