package native

import "net/http"

func getTable(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	t, err := s.Data.Tables.Table(c.r.Context(), ref)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, t)
}
