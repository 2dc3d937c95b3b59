package native

import "net/http"

func getFunction(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	qualifier := c.query.Get("qualifier")
	if v := c.query.Get("version"); v != "" {
		if qualifier != "" {
			return invalid("give a version or a qualifier, not both")
		}
		qualifier = v
	}
	f, err := s.Registry.Function(c.r.Context(), ref, qualifier)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, f)
}
