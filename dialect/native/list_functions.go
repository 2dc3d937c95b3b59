package native

import (
	"net/http"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

func listFunctions(s *server, c *call) error {
	ns, err := c.namespace()
	if err != nil {
		return err
	}
	limit, err := c.limit(100, 1000)
	if err != nil {
		return err
	}
	fs, err := s.Registry.Functions(c.r.Context(), ns, c.query.Get("after"), limit)
	if err != nil {
		return err
	}
	page := wire.Functions{Functions: filled(fs)}
	if len(fs) == limit {
		page.Next = fs[limit-1].Name
	}
	return c.answer(http.StatusOK, page)
}

// filled makes an empty list [] in JSON, not null.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
