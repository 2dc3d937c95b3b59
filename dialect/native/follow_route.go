package native

import (
	"net/http"
	"net/url"

	"github.com/rouse-run/rouse"
)

// The headers by which a function knows how a request came to it by a route: its
// pattern, and the values of the pattern's names, escaped as in the path.
const (
	headerRoute = "Rouse-Route"
	headerValue = "Rouse-Path-" // and a name
)

// followRoute hands a request to the function that a route leads it to.
func followRoute(s *server, plain *call) error {
	if s.Routes == nil {
		return refusePath(plain.r)
	}
	m, ok := s.Routes.Match(plain.r.Method, plain.r.URL.EscapedPath())
	switch {
	case ok:
	case m.Redirect != "":
		to := url.URL{RawQuery: plain.r.URL.RawQuery}
		http.Redirect(plain.w, plain.r, m.Redirect+to.String(), http.StatusTemporaryRedirect)
		return nil
	case len(m.Allowed) > 0:
		s.refuseMethod(m.Allowed)(plain.w, plain.r)
		return nil
	default:
		return refusePath(plain.r)
	}
	c := &routed{call: plain, led: true}
	in := rouse.Invocation{Function: rouse.Ref{Namespace: m.Route.Namespace, Name: m.Route.To}, Qualifier: m.Route.Qualifier}
	if m.Route.Public {
		c.known = s.authenticate(c.call) == nil
	} else if err := c.permit(s, &in); err != nil {
		return err
	}
	for k := range c.r.Header {
		if ours(k) {
			delete(c.r.Header, k)
		}
	}
	c.r.Header.Set(headerRoute, m.Route.Name)
	for k, v := range m.Values {
		c.r.Header.Set(headerValue+k, url.PathEscape(v))
	}
	return c.run(s, in, m.Path)
}
