package native

func removeTable(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	if err := s.removeUnused(c, "table", ref, s.Data.Tables.RemoveTable); err != nil {
		return err
	}
	return c.done()
}
