package native

func removeBucket(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	if err := s.unused(c, "bucket", ref); err != nil {
		return err
	}
	if err := s.Data.Buckets.RemoveBucket(c.r.Context(), ref); err != nil {
		return err
	}
	return c.done()
}
