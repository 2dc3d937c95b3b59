package native

import (
	"net/http"

	"github.com/rouse-run/rouse"
)

func getRule(s *server, c *call) error {
	ref, err := c.ref()
	if err != nil {
		return err
	}
	return s.answerRule(c, ref)
}

func (s *server) answerRule(c *call, ref rouse.Ref) error {
	r, err := s.Rules.Rule(c.r.Context(), ref)
	if err != nil {
		return err
	}
	w, err := s.judged(c, r)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, w)
}
