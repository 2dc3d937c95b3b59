package native

import "github.com/rouse-run/rouse/dialect/native/wire"

func mergeShards(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Merge
	if err := readJSON(c.r.Body, &in); err != nil {
		return err
	}
	if len(in.Shards) != 2 {
		return invalid("shards has %d names; give the two that are to be one", len(in.Shards))
	}
	if err := s.Data.Streams.Merge(c.r.Context(), ref, in.Shards[0], in.Shards[1]); err != nil {
		return err
	}
	return listShards(s, c)
}
