package native

func removeStream(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	if err := s.unused(c, "stream", ref); err != nil {
		return err
	}
	if err := s.Data.Streams.Remove(c.r.Context(), ref); err != nil {
		return err
	}
	return c.done()
}
