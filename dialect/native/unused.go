package native

import (
	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// unused refuses to remove a thing of a kind, such as "queue", that a rule listens
// to or delivers to.
func (s *server) unused(c *call, kind string, ref rouse.Ref) error {
	if s.Rules == nil {
		return nil
	}
	rules, err := s.Rules.Rules(c.r.Context(), ref.Namespace, "", 0)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if listens(r.On, kind, ref.Name) {
			return rouse.Errorf(rouse.Conflict, "remove "+kind, ref.String(), "rule %s listens to it: remove that first", r.Name)
		}
		for _, t := range []*event.Target{&r.To, r.DeadLetter, r.Success, r.Failure} {
			if t != nil && leads(*t, kind, ref.Name) {
				return rouse.Errorf(rouse.Conflict, "remove "+kind, ref.String(), "rule %s delivers to it: remove that first", r.Name)
			}
		}
	}
	return nil
}
