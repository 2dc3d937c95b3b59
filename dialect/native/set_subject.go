package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func setSubject(s *server, c *call) error {
	var o wire.SubjectOptions
	if err := readJSON(c.r.Body, &o); err != nil {
		return err
	}
	subject, err := s.Subjects.SetSubject(c.r.Context(), rouse.Subject{Namespace: c.subject(), Quota: o.Quota, Blocked: o.Blocked}, o.Rotate)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, subject)
}

// subject is the namespace in the path.
func (c *call) subject() rouse.Namespace { return rouse.Namespace(c.r.PathValue("name")) }
