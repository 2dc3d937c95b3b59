package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func transact(s *server, c *call) error {
	ns, err := c.namespace()
	if err != nil {
		return err
	}
	var in wire.Transact
	if err := readJSONUpTo(c.r.Body, s.MaxBatch, &in); err != nil {
		return err
	}
	if len(in.Writes) == 0 {
		return invalid("writes is empty; give one or more")
	}
	if err := c.telling(in.Return); err != nil {
		return err
	}
	ws := make([]data.Write, len(in.Writes))
	for i, w := range in.Writes {
		if err := rouse.CheckName(w.Table); err != nil {
			return invalid("writes[%d].table: %v", i, err)
		}
		ws[i] = data.Write{Op: w.Op, Table: rouse.Ref{Namespace: ns, Name: w.Table}, Key: w.Key, Item: w.Item, Edits: w.Edits, If: w.If}
	}
	done, err := s.Data.Tables.Transact(c.r.Context(), ws)
	if err != nil {
		return err
	}
	for i := range done {
		done[i] = asked(done[i], in.Return)
	}
	return c.answer(http.StatusOK, wire.Transacted{Writes: done})
}
