package native

import "net/http"

func getSubject(s *server, c *call) error {
	subject, err := s.Subjects.Subject(c.r.Context(), c.subject())
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, subject)
}
