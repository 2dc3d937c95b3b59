package native

import "net/http"

func getBucket(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	b, err := s.Data.Buckets.Bucket(c.r.Context(), ref)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, b)
}
