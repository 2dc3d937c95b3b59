package native

import (
	"net/http"

	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func listTables(s *server, c *call) error {
	ns, after, limit, err := c.listing()
	if err != nil {
		return err
	}
	all, err := s.Data.Tables.Tables(c.r.Context(), ns, after, limit)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.Tables{Tables: filled(all), Next: next(all, limit, func(x data.Table) string { return x.Name })})
}
