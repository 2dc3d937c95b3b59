package native

import (
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func deleteItem(s *server, c *call) error {
	var in wire.DeleteItem
	if err := readJSON(c.r.Body, &in); err != nil {
		return err
	}
	return s.write(c, data.Write{Op: data.WriteDelete, Key: in.Key, If: in.If}, in.Return)
}
