package native

import (
	"net/http"

	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func deleteObject(s *server, c *call) error {
	g, err := c.objectGet()
	if err != nil {
		return err
	}
	done, err := s.Data.Buckets.DeleteObjects(c.r.Context(), g.Bucket, []data.ObjectDelete{{Key: g.Key, Version: g.Version, If: g.If}})
	if err != nil {
		return err
	}
	if done[0].Err != nil {
		return done[0].Err
	}
	return c.answer(http.StatusOK, wire.DeletedObject{Version: done[0].Version, Marker: done[0].Marker})
}
