package native

import (
	"net/http"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

func listAliases(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	as, err := s.Registry.Aliases(c.r.Context(), ref)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.Aliases{Aliases: filled(as)})
}
