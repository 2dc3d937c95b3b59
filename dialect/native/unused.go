package native

import (
	"context"

	"github.com/rouse-run/rouse"
)

// removeUnused removes a thing of a kind, such as "queue", that no rule listens to
// or delivers to.
func (s *server) removeUnused(c *call, kind string, ref rouse.Ref, remove func(context.Context, rouse.Ref) error) error {
	if s.Control == nil {
		return remove(c.r.Context(), ref)
	}
	return s.Control.RemoveUnused(c.r.Context(), kind, ref, func(ctx context.Context) error { return remove(ctx, ref) })
}
