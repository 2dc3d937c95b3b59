package native

import (
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func splitShard(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Split
	if err := readJSON(c.r.Body, &in); err != nil {
		return err
	}
	at := in.At
	if at == nil {
		shards, err := s.Data.Streams.Shards(c.r.Context(), ref)
		if err != nil {
			return err
		}
		one, err := oneShard(shards, recordQuery{stream: ref, shard: in.Shard})
		if err != nil {
			return err
		}
		middle := one[0].From + (one[0].To-one[0].From)/2 + 1
		at = &middle
	}
	if err := s.Data.Streams.Split(c.r.Context(), ref, in.Shard, *at); err != nil {
		return err
	}
	return listShards(s, c)
}
