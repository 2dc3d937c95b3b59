package native

import (
	"net/http"

	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func scanTable(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Scan
	if err := c.readOptional(&in); err != nil {
		return err
	}
	p, err := s.Data.Tables.Scan(c.r.Context(), data.Scan{Table: ref, Index: in.Index, Segment: in.Segment, Segments: in.Segments, Select: in.Select})
	if err != nil {
		return err
	}
	p.Items = filled(p.Items)
	return c.answer(http.StatusOK, p)
}
