package native

import "net/http"

func removeFunction(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	if err := s.removeUnused(c, "function", ref, s.Registry.Remove); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
