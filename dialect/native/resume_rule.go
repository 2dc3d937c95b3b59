package native

func resumeRule(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	if err := s.Control.Resume(c.r.Context(), ref); err != nil {
		return err
	}
	return s.answerRule(c, ref)
}
