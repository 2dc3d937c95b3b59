package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func listRoutes(s *server, c *call) error {
	ns, after, limit, err := c.listing()
	if err != nil {
		return err
	}
	all, err := s.Routes.Routes(c.r.Context(), ns, after, limit)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.Routes{Routes: filled(all), Next: next(all, limit, func(x rouse.Route) string { return x.Name })})
}
