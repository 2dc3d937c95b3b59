package native

import (
	"net/http"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

func listShards(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	all, err := s.Data.Streams.Shards(c.r.Context(), ref)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.Shards{Shards: filled(all)})
}
