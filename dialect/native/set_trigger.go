package native

import (
	"encoding/json"
	"net/http"

	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

func setTrigger(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var o wire.TriggerOptions
	if err := readJSON(c.r.Body, &o); err != nil {
		return err
	}
	if o.Kind == "" {
		return invalid("kind is missing; it says what makes the trigger's events, such as schedule")
	}
	if len(o.Config) == 0 {
		o.Config = json.RawMessage("{}")
	}
	t := event.Trigger{Ref: ref, Kind: o.Kind, Config: o.Config}
	if old, err := s.Rules.Trigger(c.r.Context(), ref); err == nil {
		t.Notes = old.Notes
	}
	t, err = s.Rules.SetTrigger(c.r.Context(), t)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, s.Control.Show(t, false))
}
