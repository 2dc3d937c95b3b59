package native

import (
	"net/http"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

func getEvent(s *server, c *call) error {
	ns, err := c.namespace()
	if err != nil {
		return err
	}
	e, err := s.Control.Find(c.r.Context(), ns, c.r.PathValue("id"))
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.EventOf(e))
}
