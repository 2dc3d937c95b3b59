package native

import (
	"net/http"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

func listSubjects(s *server, c *call) error {
	all, err := s.Subjects.Subjects(c.r.Context())
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.Subjects{Subjects: filled(all)})
}
