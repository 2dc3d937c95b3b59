package native

import (
	"net/http"
	"slices"

	"github.com/rouse-run/rouse"
)

func getAlias(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	as, err := s.Registry.Aliases(c.r.Context(), ref)
	if err != nil {
		return err
	}
	name := c.r.PathValue("alias")
	i := slices.IndexFunc(as, func(a rouse.Alias) bool { return a.Name == name })
	if i < 0 {
		return rouse.Errorf(rouse.NotFound, "get alias", ref.String()+":"+name, "there is no such alias")
	}
	return c.answer(http.StatusOK, as[i])
}
