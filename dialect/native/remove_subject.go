package native

func removeSubject(s *server, c *call) error {
	if err := s.Subjects.RemoveSubject(c.r.Context(), c.subject()); err != nil {
		return err
	}
	return c.done()
}
