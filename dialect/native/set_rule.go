package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func setRule(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Rule
	if err := readJSON(c.r.Body, &in); err != nil {
		return err
	}
	// What GET answered can be put back.
	if in.Name != "" && in.Name != ref.Name || in.Namespace != "" && in.Namespace != ref.Namespace {
		return rouse.Errorf(rouse.Invalid, "set rule", ref.String(), "the body has the name %q and the namespace %q; leave them out, or send it there", in.Name, in.Namespace)
	}
	r := in.Rule
	r.Ref = ref
	if old, err := s.Rules.Rule(c.r.Context(), ref); err == nil && r.Notes == nil {
		r.Notes = old.Notes
	}
	if r, err = s.Rules.SetRule(c.r.Context(), r); err != nil {
		return err
	}
	return c.answer(http.StatusOK, wire.Rule{Rule: r})
}
