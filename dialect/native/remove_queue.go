package native

func removeQueue(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	if err := s.unused(c, "queue", ref); err != nil {
		return err
	}
	if err := s.Data.Queues.Remove(c.r.Context(), ref); err != nil {
		return err
	}
	return c.done()
}
