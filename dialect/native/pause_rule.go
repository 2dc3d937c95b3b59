package native

import "github.com/rouse-run/rouse/dialect/native/wire"

func pauseRule(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	var in wire.Pause
	if err := c.readOptional(&in); err != nil {
		return err
	}
	if err := s.Control.Pause(c.r.Context(), ref, in.Why); err != nil {
		return err
	}
	return s.answerRule(c, ref)
}
