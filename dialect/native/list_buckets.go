package native

import (
	"net/http"

	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func listBuckets(s *server, c *call) error {
	ns, after, limit, err := c.listing()
	if err != nil {
		return err
	}
	all, err := s.Data.Buckets.Buckets(c.r.Context(), ns, after, limit)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.Buckets{Buckets: filled(all), Next: next(all, limit, func(x data.Bucket) string { return x.Name })})
}
