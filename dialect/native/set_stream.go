package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// setStream leaves the shards of a stream that is there as they are, unless
// their number is given: they may have been split by hand.
func setStream(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var o wire.StreamOptions
	if err := c.readOptional(&o); err != nil {
		return err
	}
	if o.Shards < 0 {
		return invalid("shards is %d; it must be 1 or more", o.Shards)
	}
	ctx := c.r.Context()
	made, err := s.Data.Streams.Create(ctx, data.Stream{Ref: ref, Shards: o.Shards, Keep: o.Keep})
	if rouse.KindOf(err) == rouse.Conflict {
		made, err = s.changeStream(c, ref, o)
	}
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, made)
}

func (s *server) changeStream(c *call, ref rouse.Ref, o wire.StreamOptions) (data.Stream, error) {
	ctx := c.r.Context()
	old, err := s.Data.Streams.Stream(ctx, ref)
	if err != nil {
		return old, err
	}
	changed, err := s.Data.Streams.Update(ctx, data.Stream{Ref: ref, Keep: o.Keep, Notes: old.Notes})
	if err != nil || o.Shards == 0 || o.Shards == old.Shards {
		return changed, err
	}
	if err := s.Data.Streams.Scale(ctx, ref, o.Shards); err != nil {
		return changed, err
	}
	return s.Data.Streams.Stream(ctx, ref)
}
