package native

func removeTable(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	if err := s.unused(c, "table", ref); err != nil {
		return err
	}
	if err := s.Data.Tables.RemoveTable(c.r.Context(), ref); err != nil {
		return err
	}
	return c.done()
}
