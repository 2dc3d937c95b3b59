package native

import (
	"encoding/json"
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/event"
)

func setTrigger(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	body, err := c.readBody(maxDocument)
	if err != nil {
		return err
	}
	t, err := readTrigger(ref, body)
	if err != nil {
		return err
	}
	if old, err := s.Rules.Trigger(c.r.Context(), ref); err == nil {
		t.Notes = old.Notes
	}
	t, err = s.Rules.SetTrigger(c.r.Context(), t)
	if err != nil {
		return err
	}
	w, err := s.shown(c, t, false, true)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, w)
}

// readTrigger reads what a trigger is to be.
func readTrigger(ref rouse.Ref, set []byte) (event.Trigger, error) {
	var o wire.TriggerOptions
	if err := readSet(set, &o); err != nil {
		return event.Trigger{}, err
	}
	if o.Kind == "" {
		return event.Trigger{}, invalid("kind is missing; it says what makes the trigger's events, such as schedule")
	}
	if len(o.Config) == 0 {
		o.Config = json.RawMessage("{}")
	}
	return event.Trigger{Ref: ref, Kind: o.Kind, Config: o.Config}, nil
}

// shown is a trigger as people may see it, and how it does; with next, when it
// fires next, which takes a look into the store.
func (s *server) shown(c *call, t event.Trigger, digests, next bool) (wire.Trigger, error) {
	w := wire.Trigger{Trigger: s.Control.Show(t, digests)}
	h, err := s.Control.Health(c.r.Context(), t.Ref)
	if rouse.KindOf(err) == rouse.NotFound { // it was removed meanwhile
		return w, nil
	}
	w.Status = &h
	if next && err == nil && h.State != event.Stopped {
		h.Next, _, err = s.Control.Next(c.r.Context(), t)
	}
	return w, err
}
