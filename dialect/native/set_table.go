package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func setTable(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var o wire.TableOptions
	if err := readJSON(c.r.Body, &o); err != nil {
		return err
	}
	t := data.Table{Ref: ref, Key: o.Key, Sort: o.Sort, Indexes: o.Indexes, TTL: o.TTL, Changes: o.Changes}
	if t.Changes == 0 {
		if err := s.mute(c, "table", ref); err != nil {
			return err
		}
	}
	ctx := c.r.Context()
	made, err := s.Data.Tables.CreateTable(ctx, t)
	if rouse.KindOf(err) == rouse.Conflict {
		var old data.Table
		if old, err = s.Data.Tables.Table(ctx, ref); err != nil {
			return err
		}
		t.Notes = old.Notes
		made, err = s.Data.Tables.ChangeTable(ctx, t)
	}
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, made)
}
