package native

import (
	"net/http"

	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func getItems(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Get
	if err := readJSONUpTo(c.r.Body, s.MaxBatch, &in); err != nil {
		return err
	}
	keys := in.Keys
	switch {
	case in.Key != nil && in.Keys != nil:
		return invalid("key and keys are both given; one is enough")
	case in.Key != nil:
		keys = []data.Item{in.Key}
	case len(in.Keys) == 0:
		return invalid("key is missing; give the attributes of the table's key, or several of these as keys")
	}
	all := make([]data.ItemKey, len(keys))
	for i, k := range keys {
		all[i] = data.ItemKey{Table: ref, Key: k}
	}
	items, err := s.Data.Tables.GetItems(c.r.Context(), all)
	if err != nil {
		return err
	}
	if in.Key != nil {
		return c.answer(http.StatusOK, wire.Got{Item: items[0]})
	}
	return c.answer(http.StatusOK, wire.GotMany{Items: items})
}
