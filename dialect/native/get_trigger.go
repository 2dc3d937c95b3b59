package native

import "net/http"

func getTrigger(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	t, err := s.Rules.Trigger(c.r.Context(), ref)
	if err != nil {
		return err
	}
	w, err := s.shown(c, t, true, true) // what is got can be put back, whatever happens meanwhile
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, w)
}
