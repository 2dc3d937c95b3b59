package native

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/internal/ident"
)

// A routed call is an HTTP request to a function, and the Reply to it.
type routed struct {
	*call
	event rouse.Request // the invocation's
	id    string        // the Activation's
	known bool          // the caller showed the platform's token
	led   bool          // a route leads here, and sets its headers
	began bool          // the header went out
	whole bool          // nothing is to be flushed before the end
	ended int           // the status sent
}

// route hands an HTTP request to a function as it is. It is on the hot path.
func route(s *server, plain *call) error {
	c := &routed{call: plain}
	in, path, err := c.address(s)
	if err != nil {
		return err
	}
	return c.run(s, in, path)
}

// run has the function of in answer the request.
func (c *routed) run(s *server, in rouse.Invocation, path string) error {
	if err := c.read(s, &in, path); err != nil {
		return err
	}
	a, err := s.Invoker.Invoke(c.r.Context(), in)
	switch {
	case c.began && err == nil && (a.Status == rouse.StatusAnswered || c.saidSo(&a)):
		return nil
	case c.began:
		// The client must not take a part for the whole.
		s.Log.Debug("answer broken off", "activation", c.id, "status", a.Status.String(), "err", err)
		panic(http.ErrAbortHandler)
	case err != nil:
		c.w.Header().Set(wire.HeaderActivation, c.id)
		return err
	case a.Status == rouse.StatusAnswered:
		c.answerActivation(&a)
		return nil
	}
	c.w.Header().Set(wire.HeaderActivation, c.id)
	body := failure(&a)
	if !c.known {
		body.Error.Stack = "" // it shows paths and code
	}
	c.fail(endStatus[a.Status], body)
	return nil
}

// saidSo reports whether the function failed by answering so, in full: that
// answer is the caller's to read.
func (c *routed) saidSo(a *rouse.Activation) bool {
	return a.Status == rouse.StatusFailed && c.ended >= http.StatusInternalServerError
}

// address finds the function that the path names and that the caller may run,
// and what of the path is that function's.
func (c *routed) address(s *server) (in rouse.Invocation, path string, err error) {
	name, path := splitRoute(c.r.URL.Path)
	name, in.Qualifier, _ = strings.Cut(name, ":")
	in.Function = rouse.Ref{Namespace: rouse.DefaultNamespace, Name: name}
	if err := rouse.CheckFunction(name); err != nil {
		return in, path, err
	}
	return in, path, c.permit(s, &in)
}

// read makes the request the event of in.
func (c *routed) read(s *server, in *rouse.Invocation, path string) (err error) {
	if in.Event.Data, err = c.readBody(s.MaxPayload); err != nil {
		return err
	}
	c.id = ident.New()
	in.ID = c.id
	in.Event.ContentType = headerOf(c.r, "Content-Type")
	c.event = rouse.Request{
		Method: c.r.Method, Path: path, Query: c.r.URL.RawQuery, Header: c.requestHeader(), Remote: c.r.RemoteAddr,
	}
	in.Event.HTTP = &c.event
	in.Reply = c
	return nil
}

// splitRoute takes "/fn/name/rest" apart into "name" and "/rest".
func splitRoute(path string) (name, rest string) {
	name, rest, _ = strings.Cut(path[len(routePrefix):], "/")
	return name, "/" + rest
}

// permit lets in who shows the platform's token, and anyone where the function
// is public. Unknown functions and private ones look the same from outside. So do
// versions that were replaced, unless an alias or a route leads there: what was
// public by mistake, or had one, must not stay open to who counts backwards.
func (c *routed) permit(s *server, in *rouse.Invocation) error {
	denied := s.authenticate(c.call)
	if denied == nil {
		c.known = true
		return nil
	}
	f, err := s.Registry.Function(c.r.Context(), in.Function, in.Qualifier)
	if rouse.KindOf(err) == rouse.NotFound || (err == nil && !f.Public) {
		return denied
	}
	if in.Qualifier != "" && err == nil && !c.led { // only then: an error of Atoi costs memory
		if _, no := strconv.Atoi(in.Qualifier); no == nil {
			newest, err := s.Registry.Function(c.r.Context(), in.Function, "")
			if err != nil || newest.Version != f.Version {
				return denied
			}
		}
	}
	// An alias may pick another version the next time, and that one may not be
	// public: run the one that was looked at.
	in.Qualifier = strconv.Itoa(f.Version)
	return err
}

// requestHeader returns the headers that are the function's to see: not those
// of this one connection, never the platform's token, and none that only a route
// sets. They are the request's
// own, which nobody reads any more.
func (c *routed) requestHeader() map[string][]string {
	h := c.r.Header
	for _, list := range h["Connection"] {
		for k := range strings.SplitSeq(list, ",") {
			if k = http.CanonicalHeaderKey(strings.TrimSpace(k)); !ours(k) {
				delete(h, k)
			}
		}
	}
	for k := range h {
		if hopByHop(k) || k == "Authorization" && c.known || ours(k) && !c.led {
			delete(h, k)
		}
	}
	h["Host"] = c.value(1, c.r.Host)
	return h
}

// ours reports whether a header in canonical form is one by which the platform
// tells functions, and callers, something; or looks so where "_" is a "-", as in
// the environment of a program.
func ours(k string) bool { return strings.HasPrefix(k, "Rouse-") || strings.HasPrefix(k, "Rouse_") }

// hopByHop reports whether a header in canonical form concerns one connection
// only (RFC 9110, section 7.6.1).
func hopByHop(k string) bool {
	switch k {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// Start implements rouse.Reply. A header with Content-Length promises that the
// answer is made already; without one each Write is flushed.
func (c *routed) Start(status int, header map[string][]string) {
	if c.began {
		return
	}
	if status < 200 || status > 999 {
		status = http.StatusBadGateway // net/http panics at what is no final status
	}
	c.began, c.ended = true, status
	h := c.w.Header()
	for k, v := range header {
		if !hopByHop(k) {
			h[k] = v
		}
	}
	_, c.whole = h["Content-Length"]
	h[wire.HeaderActivation] = c.value(0, c.id)
	c.w.WriteHeader(status)
}

// Write implements rouse.Reply.
func (c *routed) Write(p []byte) (int, error) {
	if !c.began {
		c.Start(http.StatusOK, nil)
	}
	n, err := c.w.Write(p)
	if errors.Is(err, http.ErrBodyNotAllowed) {
		return len(p), nil // the status has none, whatever the function says
	}
	if err == nil && !c.whole {
		err = http.NewResponseController(c.w).Flush()
	}
	return n, err
}
