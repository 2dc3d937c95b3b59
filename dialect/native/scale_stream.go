package native

import (
	"net/http"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

func scaleStream(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Scale
	if err := readJSON(c.r.Body, &in); err != nil {
		return err
	}
	if err := s.Data.Streams.Scale(c.r.Context(), ref, in.Shards); err != nil {
		return err
	}
	x, err := s.Data.Streams.Stream(c.r.Context(), ref)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, x)
}
