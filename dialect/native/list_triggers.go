package native

import (
	"net/http"

	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

func listTriggers(s *server, c *call) error {
	ns, after, limit, err := c.listing()
	if err != nil {
		return err
	}
	all, err := s.Rules.Triggers(c.r.Context(), ns, after, limit)
	if err != nil {
		return err
	}
	for i := range all {
		all[i] = s.Control.Show(all[i], false)
	}
	return c.answer(http.StatusOK, wire.Triggers{Triggers: filled(all), Next: next(all, limit, func(x event.Trigger) string { return x.Name })})
}
