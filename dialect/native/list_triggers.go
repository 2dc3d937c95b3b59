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
	page := wire.Triggers{Triggers: make([]wire.Trigger, len(all))}
	for i := range all {
		if page.Triggers[i], err = s.shown(c, all[i], false, false); err != nil {
			return err
		}
	}
	page.Next = next(all, limit, func(x event.Trigger) string { return x.Name })
	return c.answer(http.StatusOK, page)
}
