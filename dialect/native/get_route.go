package native

import "net/http"

func getRoute(s *server, c *call) error {
	ref, err := c.pattern()
	if err != nil {
		return err
	}
	r, err := s.Routes.Route(c.r.Context(), ref)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, r)
}
