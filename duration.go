package rouse

import (
	"encoding/json"
	"fmt"
	"time"
)

// A Duration is a span of time that programs read as a JSON number of
// milliseconds. In input a string such as "30s" is understood as well.
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes milliseconds, with a fraction where there is one.
func (d Duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(d) / float64(time.Millisecond))
}

// UnmarshalJSON reads milliseconds or a string that time.ParseDuration takes.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case float64:
		*d = Duration(v * float64(time.Millisecond))
	case string:
		p, err := time.ParseDuration(v)
		if err != nil {
			return err
		}
		*d = Duration(p)
	default:
		return fmt.Errorf("a duration is milliseconds or a string such as \"30s\", not %s", b)
	}
	return nil
}
