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
	return c.answer(http.StatusOK, s.Control.Show(t, true)) // what is got can be put back, whatever happens meanwhile
}
