package native

import "net/http"

func getStream(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	x, err := s.Data.Streams.Stream(c.r.Context(), ref)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, x)
}
