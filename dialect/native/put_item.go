package native

import (
	"net/http"

	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func putItem(s *server, c *call) error {
	var in wire.Put
	if err := readJSON(c.r.Body, &in); err != nil {
		return err
	}
	return s.write(c, data.Write{Op: data.WritePut, Item: in.Item, If: in.If}, in.Return)
}

// write makes one change of the table that the path names.
func (s *server) write(c *call, w data.Write, ret wire.Return) (err error) {
	if w.Table, err = c.ref(); err != nil {
		return err
	}
	if err := c.telling(ret); err != nil {
		return err
	}
	done, err := s.Data.Tables.Write(c.r.Context(), w)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, asked(done, ret))
}

// telling reads what a write is to return.
func (c *call) telling(ret wire.Return) error {
	switch ret {
	case "", "old", "new", "both":
		c.tell = ret != ""
		return nil
	}
	return invalid("return is %q; it must be old, new or both, or left out", ret)
}

// asked leaves out what a write was not to return.
func asked(w data.Written, ret wire.Return) data.Written {
	if ret != "old" && ret != "both" {
		w.Old = nil
	}
	if ret != "new" && ret != "both" {
		w.New = nil
	}
	return w
}
