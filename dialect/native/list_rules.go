package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

func listRules(s *server, c *call) error {
	ns, after, limit, err := c.listing()
	if err != nil {
		return err
	}
	status, err := c.flag("status")
	if err != nil {
		return err
	}
	all, err := s.Rules.Rules(c.r.Context(), ns, after, limit)
	if err != nil {
		return err
	}
	page := wire.Rules{Rules: []wire.Rule{}, Next: next(all, limit, func(x event.Rule) string { return x.Name })}
	for _, r := range all {
		w := wire.Rule{Rule: r}
		if status {
			w, err = s.judged(c, r)
			if rouse.KindOf(err) == rouse.NotFound {
				continue // it was removed meanwhile
			}
			if err != nil {
				return err
			}
		}
		page.Rules = append(page.Rules, w)
	}
	return c.answer(http.StatusOK, page)
}

// judged adds how a rule does.
func (s *server) judged(c *call, r event.Rule) (wire.Rule, error) {
	st, err := s.Control.Status(c.r.Context(), r.Ref)
	return wire.Rule{Rule: r, Status: &st}, err
}
