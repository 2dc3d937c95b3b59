package native

import (
	"net/http"
	"time"

	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

func replayRule(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Replay
	if err := readJSON(c.r.Body, &in); err != nil {
		return err
	}
	if in.Since == "" {
		return invalid("since is missing; it is a time, or how long ago, such as 2h")
	}
	p := event.Replay{Rule: ref, Function: in.Function, Version: in.Version, Rate: in.Rate}
	if p.Since, err = momentOf("since", in.Since, time.Now()); err != nil {
		return err
	}
	if p.Until, err = momentOf("until", in.Until, time.Now()); err != nil {
		return err
	}
	n, err := s.Control.Replay(c.r.Context(), p)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.Replayed{Queued: n})
}
