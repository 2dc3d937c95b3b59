package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func setRoute(s *server, c *call) error {
	ref, err := c.pattern()
	if err != nil {
		return err
	}
	var o wire.RouteOptions
	if err := readJSON(c.r.Body, &o); err != nil {
		return err
	}
	r := rouse.Route{Ref: ref, To: o.To, Qualifier: o.Qualifier, Public: o.Public}
	if old, err := s.Routes.Route(c.r.Context(), ref); err == nil {
		r.Notes = old.Notes
	}
	if r, err = s.Routes.SetRoute(c.r.Context(), r); err != nil {
		return err
	}
	return c.answer(http.StatusOK, r)
}

// pattern returns the Ref of the route that the path and the query name.
func (c *call) pattern() (rouse.Ref, error) {
	ns, err := c.namespace()
	return rouse.Ref{Namespace: ns, Name: c.r.PathValue("pattern")}, err
}
