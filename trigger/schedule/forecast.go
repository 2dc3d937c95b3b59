package schedule

import (
	"encoding/json"
	"time"

	"github.com/rouse-run/rouse"
)

// Next implements event.Forecaster. It may be a time that has passed, where that
// is still to be fired for.
func (s *Source) Next(raw json.RawMessage, kept []byte) (time.Time, error) {
	t, err := read(raw)
	if err != nil {
		return time.Time{}, err
	}
	var st state
	if kept != nil {
		if err := json.Unmarshal(kept, &st); err != nil {
			return time.Time{}, rouse.Errorf(rouse.Internal, "read state", "", "it is not what was stored: %w", err)
		}
	}
	now := s.Now().UTC().Round(0)
	switch of := t.fingerprint(); {
	case st.Of != of: // it begins anew
		st = t.begin(now)
	case st.Last.After(now) && !t.Paused: // it was stored ahead, and comes then
		return st.Last, nil
	}
	return t.next(st.turned(t.Paused, now)), nil
}
