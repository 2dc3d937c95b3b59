package native

func removeTrigger(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	if err := s.Rules.RemoveTrigger(c.r.Context(), ref); err != nil {
		return err
	}
	return c.done()
}
