package native

func removeQueue(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	if err := s.removeUnused(c, "queue", ref, s.Data.Queues.Remove); err != nil {
		return err
	}
	return c.done()
}
