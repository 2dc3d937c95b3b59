package native

import (
	"context"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// removeUnused removes a thing of a kind, such as "queue", that no rule listens to
// or delivers to.
func (s *server) removeUnused(c *call, kind string, ref rouse.Ref, remove func(context.Context, rouse.Ref) error) error {
	if s.Control == nil {
		return remove(c.r.Context(), ref)
	}
	return s.Control.RemoveUnused(c.r.Context(), kind, ref, func(ctx context.Context) error { return remove(ctx, ref) })
}

// mute refuses to keep no changes of a thing that a rule listens to: it would hear
// of none, and nobody would know.
func (s *server) mute(c *call, kind string, ref rouse.Ref) error {
	if s.Rules == nil {
		return nil
	}
	all, err := s.Rules.Rules(c.r.Context(), ref.Namespace, "", 0)
	for i := range all {
		if listens(all[i].On, kind, ref.Name) {
			return muted(&all[i], kind, ref)
		}
	}
	return err
}

func muted(r *event.Rule, kind string, ref rouse.Ref) error {
	return rouse.Errorf(rouse.Conflict, "set "+kind, ref.String(), "changes: rule %s listens to them: say how long they are kept, such as 24h, or remove that rule", r.Name)
}
