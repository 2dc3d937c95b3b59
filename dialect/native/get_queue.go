package native

import "net/http"

func getQueue(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	q, err := s.Data.Queues.Queue(c.r.Context(), ref)
	if err != nil {
		return err
	}
	w, err := s.counted(c, q)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, w)
}
