package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func deleteMessages(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Receipts
	if err := readJSONUpTo(c.r.Body, s.MaxBatch, &in); err != nil {
		return err
	}
	deleted, err := s.Data.Queues.Delete(c.r.Context(), ref, in.Receipts)
	if err != nil && (deleted == nil || rouse.KindOf(err) != rouse.Conflict) { // deleted says which were not good
		return err
	}
	return c.answer(http.StatusOK, wire.DeletedMessages{Deleted: filled(deleted)})
}
