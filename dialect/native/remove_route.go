package native

func removeRoute(s *server, c *call) error {
	ref, err := c.pattern()
	if err != nil {
		return err
	}
	if err := s.Routes.RemoveRoute(c.r.Context(), ref); err != nil {
		return err
	}
	return c.done()
}
