package native

import (
	"bytes"
	"context"
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func redrive(s *server, c *call) error { return s.redrive(c, s.Acceptor.Redrive) }

func redriveEvents(s *server, c *call) error { return s.redrive(c, s.Control.Redrive) }

func (s *server) redrive(c *call, again func(context.Context, rouse.Ref, []int64) (int, error)) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	body, err := c.readBody(maxDocument)
	if err != nil {
		return err
	}
	var pick wire.Redrive
	if len(body) > 0 {
		if err := readJSON(bytes.NewReader(body), &pick); err != nil {
			return err
		}
		// [] means none, and none is not all.
		if pick.IDs != nil && len(pick.IDs) == 0 {
			return invalid("ids is empty; leave it out to run all dead letters again")
		}
	}
	n, err := again(c.r.Context(), ref, pick.IDs)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.Redriven{Redriven: n})
}
