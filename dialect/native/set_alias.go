package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func setAlias(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	name := c.r.PathValue("alias")
	if err := rouse.CheckName(name); err != nil {
		return err
	}
	var t wire.AliasTarget
	if err := readJSON(c.r.Body, &t); err != nil {
		return err
	}
	a := rouse.Alias{Function: ref, Name: name, Version: t.Version, Other: t.Other, Weight: t.Weight}
	if err := s.Registry.SetAlias(c.r.Context(), a); err != nil {
		return err
	}
	return c.answer(http.StatusOK, a)
}
