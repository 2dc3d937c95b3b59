package native

import (
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func updateItem(s *server, c *call) error {
	var in wire.Update
	if err := readJSON(c.r.Body, &in); err != nil {
		return err
	}
	return s.write(c, data.Write{Op: data.WriteUpdate, Key: in.Key, Edits: in.Edits, If: in.If}, in.Return)
}
