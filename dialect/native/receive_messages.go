package native

import (
	"net/http"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func receiveMessages(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Receive
	if err := c.readOptional(&in); err != nil {
		return err
	}
	switch {
	case in.Max < 0 || in.Max > 1000:
		return invalid("max is %d; it must be from 1 to 1000", in.Max)
	case in.Wait < 0 || in.Wait > rouse.Duration(maxPoll):
		return invalid("wait is %v; it must be from 0s to %v", in.Wait, maxPoll)
	case in.Visibility != nil && *in.Visibility < 0:
		return invalid("visibility is %v; it must not be negative", *in.Visibility)
	}
	ds, err := s.Data.Queues.Receive(c.r.Context(), data.Receive{Queue: ref, Max: in.Max, Visibility: (*time.Duration)(in.Visibility), Wait: time.Duration(in.Wait)})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.DeliveriesOf(ds))
}
