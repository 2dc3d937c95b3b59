package native

func removeBucket(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	if err := s.removeUnused(c, "bucket", ref, s.Data.Buckets.RemoveBucket); err != nil {
		return err
	}
	return c.done()
}
