package native

import (
	"net/http"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

func listVersions(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	fs, err := s.Registry.Versions(c.r.Context(), ref)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.Versions{Versions: filled(fs)})
}
