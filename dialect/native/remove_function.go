package native

import "net/http"

func removeFunction(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	if err := s.unused(c, "function", ref); err != nil {
		return err
	}
	if err := s.Registry.Remove(c.r.Context(), ref); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
