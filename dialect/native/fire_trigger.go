package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/internal/ident"
)

// maxEvents bounds the events of one request.
const maxEvents = 1000

func fireTrigger(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Events
	if err := readJSONUpTo(c.r.Body, s.MaxBatch, &in); err != nil {
		return err
	}
	if n := len(in.Events); n < 1 || n > maxEvents {
		return invalid("events has %d members; give from 1 to %d", n, maxEvents)
	}
	es := make([]rouse.Event, len(in.Events))
	out := wire.Fired{IDs: make([]string, len(es))}
	for i, w := range in.Events {
		if es[i], err = w.Unwrap(); err != nil {
			return err
		}
		if es[i].ID == "" {
			es[i].ID = ident.New()
		}
		out.IDs[i] = es[i].ID
	}
	if err := s.Control.Emit(c.r.Context(), ref, es, nil); err != nil {
		return err
	}
	return c.answer(http.StatusOK, out)
}
