package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func copyObject(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Copy
	if err := readJSON(c.r.Body, &in); err != nil {
		return err
	}
	from := ref
	if in.From.Bucket != "" {
		from.Name = in.From.Bucket
		if err := rouse.CheckName(from.Name); err != nil {
			return err
		}
	}
	o, err := s.Data.Buckets.CopyObject(c.r.Context(), data.ObjectCopy{
		From: data.ObjectGet{Bucket: from, Key: in.From.Key, Version: in.From.Version},
		To:   data.ObjectPut{Bucket: ref, Key: in.To},
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, o)
}
