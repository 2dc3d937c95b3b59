package native

import (
	"net/http"

	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func queryTable(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Query
	if err := readJSON(c.r.Body, &in); err != nil {
		return err
	}
	if in.Key.Type == data.NoType {
		return invalid("key is missing; give the value of the table's or index's key attribute")
	}
	p, err := s.Data.Tables.Query(c.r.Context(), data.Query{Table: ref, Index: in.Index, Key: in.Key, Sort: in.Sort, Reverse: in.Reverse, Select: in.Select})
	if err != nil {
		return err
	}
	p.Items = filled(p.Items)
	return c.answer(http.StatusOK, p)
}
