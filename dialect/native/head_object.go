package native

import (
	"net/http"
	"strconv"
)

func headObject(s *server, c *call) error {
	g, err := c.objectGet()
	if err != nil {
		return err
	}
	o, err := s.Data.Buckets.StatObject(c.r.Context(), g)
	if err != nil {
		return s.refuseObject(c, g, err)
	}
	c.describeObject(&o)
	c.w.Header().Set("Content-Length", strconv.FormatInt(o.Size, 10))
	c.w.WriteHeader(http.StatusOK)
	return nil
}
