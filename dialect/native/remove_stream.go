package native

func removeStream(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	if err := s.removeUnused(c, "stream", ref, s.Data.Streams.Remove); err != nil {
		return err
	}
	return c.done()
}
