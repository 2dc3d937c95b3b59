package native

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/rouse-run/rouse/data"
)

func getObject(s *server, c *call) error {
	g, err := c.objectGet()
	if err != nil {
		return err
	}
	if g.Range = byteRange(c.r.Header.Get("Range")); g.Range != nil && c.r.Header.Get("If-Range") != "" {
		o, err := s.Data.Buckets.StatObject(c.r.Context(), data.ObjectGet{Bucket: g.Bucket, Key: g.Key, Version: g.Version})
		if err != nil {
			return err
		}
		if !sameObject(c.r.Header.Get("If-Range"), &o) {
			g.Range = nil
		}
	}
	o, body, err := s.Data.Buckets.GetObject(c.r.Context(), g)
	if err != nil {
		return s.refuseObject(c, g, err)
	}
	defer body.Close()
	c.describeObject(&o)
	from, length := extent(g.Range, o.Size)
	h := c.w.Header()
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	status := http.StatusOK
	if g.Range != nil {
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+length-1, o.Size))
		status = http.StatusPartialContent
	}
	c.w.WriteHeader(status)
	if _, err := io.Copy(c.w, body); err != nil {
		// The client must not take a part for the whole.
		s.Log.Debug("object broken off", "bucket", g.Bucket.String(), "err", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// refuseObject answers for an object that was not sent.
func (s *server) refuseObject(c *call, g data.ObjectGet, err error) error {
	if !errors.Is(err, data.ErrUnchanged) {
		return err
	}
	o, err := s.Data.Buckets.StatObject(c.r.Context(), data.ObjectGet{Bucket: g.Bucket, Key: g.Key, Version: g.Version})
	if err != nil {
		return err
	}
	c.identify(&o)
	c.w.WriteHeader(http.StatusNotModified)
	return nil
}
