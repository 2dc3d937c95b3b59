package native

import (
	"context"
	"net/http"
	"strconv"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func listDead(s *server, c *call) error { return s.dead(c, s.Acceptor.DeadLetters) }

func listDeadEvents(s *server, c *call) error { return s.dead(c, s.Control.Dead) }

// dead answers with a page of the dead letters of what the path names.
func (s *server) dead(c *call, of func(context.Context, rouse.Ref, int64, int) ([]rouse.DeadLetter, error)) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	limit, err := c.limit(100, 1000)
	if err != nil {
		return err
	}
	var after int64
	if a := c.query.Get("after"); a != "" {
		if after, err = strconv.ParseInt(a, 10, 64); err != nil || after < 0 {
			return invalid("after is %q; it must be the id of a dead letter", a)
		}
	}
	ds, err := of(c.r.Context(), ref, after, limit)
	if err != nil {
		return err
	}
	page := wire.Dead{Dead: make([]wire.DeadLetter, len(ds))}
	for i, d := range ds {
		page.Dead[i] = wire.DeadLetterOf(d)
	}
	if len(ds) == limit {
		page.Next = ds[limit-1].ID
	}
	return c.answer(http.StatusOK, page)
}
