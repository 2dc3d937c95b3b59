// Package native is the platform's own API: HTTP and JSON under /v1, the
// functions' own routes under /fn, those of triggers under /on, and, at all other
// paths, what rouse.Routes lead to functions.
package native

import (
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

// Config bounds what the API takes and says what it shows beside /v1. The zero
// value is fit for use.
type Config struct {
	Log        *slog.Logger    // nil discards
	MaxPayload int64           // bytes of one event; 0 is 6 MiB
	MaxBatch   int64           // bytes of one batch; 0 is 64 MiB
	MaxCode    int64           // bytes of a packed bundle; 0 is 250 MiB
	Ready      func() error    // why the node can't take work; nil is always ready
	Metrics    func(io.Writer) // writes the Prometheus text format; nil writes nothing
}

// Services are all that the API stands on. Those that are left out must not be
// asked for.
type Services struct {
	rouse.Services
	Data     data.Services
	Rules    event.Rules
	Control  event.Control
	Routes   rouse.Routes // nil is none
	Subjects rouse.Subjects

	// Servers returns what serves requests to triggers of a kind; nil where they
	// are not asked by HTTP.
	Servers func(kind string) event.Server
}

type server struct {
	Services
	Config
	mux   *http.ServeMux
	tails []*tailRoute
	turns turns
	route http.HandlerFunc
}

// New returns the API over s. Concurrent calls are safe. A followed log lasts
// until its client goes or the request's context ends: give the http.Server a
// BaseContext that ends when it shuts down.
func New(s Services, c Config) http.Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = 6 << 20
	}
	if c.MaxBatch == 0 {
		c.MaxBatch = 64 << 20
	}
	if c.MaxCode == 0 {
		c.MaxCode = 250 << 20
	}
	srv := &server{Services: s, Config: c, mux: http.NewServeMux()}
	methods := map[string][]string{}
	for _, op := range operations() {
		h := srv.handler(op)
		switch {
		case op.Path == routePath:
			srv.route = h
			continue
		case op.Path == otherPath:
			srv.mux.HandleFunc("/", h)
			continue
		case strings.HasSuffix(op.Path, "...}"):
			srv.addTail(op, h)
			continue
		}
		srv.mux.HandleFunc(op.Method+" "+op.Path, h)
		methods[op.Path] = append(methods[op.Path], op.Method)
	}
	for path, allowed := range methods {
		srv.mux.HandleFunc(path, srv.refuseMethod(allowed))
	}
	for _, t := range srv.tails {
		t.refuse = srv.refuseMethod(slices.Collect(maps.Keys(t.handlers)))
	}
	return srv
}

// Paths returns the paths that are the API's own, such as "/v1", with all below.
func Paths() []string {
	var all []string
	for _, op := range operations() {
		first, _, _ := strings.Cut(op.Path[1:], "/")
		if op.Path != otherPath && !slices.Contains(all, "/"+first) {
			all = append(all, "/"+first)
		}
	}
	return all
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The mux would redirect paths with "//" or ".." in them, which are a
	// function's own to understand.
	if strings.HasPrefix(r.URL.Path, routePrefix) {
		s.route(w, r)
		return
	}
	if h := s.tailOf(r); h != nil {
		h(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// handler admits a call to op, runs it and reports its error.
func (s *server) handler(op operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{w: w, r: r}
		err := s.admit(c, &op)
		if err == nil {
			err = op.handle(s, c)
		}
		if err != nil {
			s.fail(c, err)
		}
	}
}

func (s *server) admit(c *call, op *operation) error {
	if !op.Open {
		if err := s.authenticate(c); err != nil {
			return err
		}
	}
	if op.Method == anyMethod {
		return nil // the query is the function's
	}
	return c.readQuery(op.Query)
}

func (s *server) authenticate(c *call) error {
	token, ok := bearer(c.r)
	if !ok {
		return errNoToken
	}
	_, err := s.Authenticator.Token(c.r.Context(), token)
	return err
}

var errNoToken = rouse.Errorf(rouse.Unauthenticated, "authenticate", "", "the request wants a header \"Authorization: Bearer <token>\"")

// headerOf returns the first of a header whose name is in canonical form, without
// making sure that it is: each call asks for some.
func headerOf(r *http.Request, name string) string {
	if all := r.Header[name]; len(all) > 0 {
		return all[0]
	}
	return ""
}

func bearer(r *http.Request) (string, bool) {
	const scheme = "bearer "
	h := headerOf(r, "Authorization")
	if len(h) < len(scheme) || !strings.EqualFold(h[:len(scheme)], scheme) {
		return "", false
	}
	return h[len(scheme):], true
}
