package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func setBucket(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var o wire.BucketOptions
	if err := c.readOptional(&o); err != nil {
		return err
	}
	b := data.Bucket{Ref: ref, Versioned: o.Versioned, Changes: o.Changes}
	if b.Changes < 0 {
		if err := s.mute(c, "bucket", ref); err != nil {
			return err
		}
	}
	ctx := c.r.Context()
	made, err := s.Data.Buckets.CreateBucket(ctx, b)
	if rouse.KindOf(err) == rouse.Conflict {
		var old data.Bucket
		if old, err = s.Data.Buckets.Bucket(ctx, ref); err != nil {
			return err
		}
		b.Notes = old.Notes
		made, err = s.Data.Buckets.ChangeBucket(ctx, b)
	}
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, made)
}
