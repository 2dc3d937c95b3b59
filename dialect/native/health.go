package native

import (
	"io"
	"net/http"

	"github.com/rouse-run/rouse"
)

func healthz(_ *server, c *call) error {
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(c.w, "ok\n")
	return nil
}

func readyz(s *server, c *call) error {
	if s.Ready != nil {
		if err := s.Ready(); err != nil {
			return rouse.Errorf(rouse.Unavailable, "check readiness", "", "%w", err)
		}
	}
	return healthz(s, c)
}

func metrics(s *server, c *call) error {
	c.w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	c.w.WriteHeader(http.StatusOK)
	if s.Metrics != nil {
		s.Metrics(c.w)
	}
	return nil
}
