package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func activationLogs(s *server, c *call) error {
	a, err := s.activation(c)
	if err != nil {
		return err
	}
	ls, err := s.Records.Lines(c.r.Context(), rouse.LineQuery{Function: a.Function, Activation: a.ID, Limit: maxLogLines})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.Lines{Lines: filled(ls)})
}
