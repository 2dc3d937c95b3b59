package native

import "net/http"

func removeAlias(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	if err := s.Registry.RemoveAlias(c.r.Context(), ref, c.r.PathValue("alias")); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
