package route

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/rouse-run/rouse"
)

// A pattern is one that net/http takes, and what it does not tell of it.
type pattern struct {
	text    string
	literal []string // its pieces before the first that has a value, decoded
	names   []string // of its values
}

func bad(text, format string, args ...any) (pattern, error) {
	return pattern{}, rouse.Errorf(rouse.Invalid, "read pattern", text, format, args...)
}

// parse reads a pattern. Errors: Invalid.
func parse(text string) (pattern, error) {
	if len(text) > maxPattern {
		return bad(text[:20]+"...", "a pattern has at most %d bytes", maxPattern)
	}
	method, path, ok := strings.Cut(text, " ")
	if !ok {
		method, path = "", text
	}
	switch {
	case method != strings.ToUpper(method):
		return bad(text, "the method %q is not in capitals", method)
	case ok && method == "":
		return bad(text, "it begins with a space")
	case !strings.HasPrefix(path, "/"):
		return bad(text, "its path does not begin with a slash, as in \"GET /items/{id}\"; it names no host")
	case strings.ContainsAny(path, " \t?#"):
		return bad(text, "its path has a space or the begin of a query in it; write it as in \"GET /items/{id}\"")
	}
	p := pattern{text: text}
	literal := true
	pieces := strings.Split(path[1:], "/")
	for i, piece := range pieces {
		name, isValue := strings.CutPrefix(piece, "{")
		if isValue {
			literal = false
			name = strings.TrimSuffix(strings.TrimSuffix(name, "}"), "...")
			if strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
				return bad(text, "the name {%s} has other letters than a to z: a function finds it in a header", name)
			}
			if name != "$" {
				p.names = append(p.names, name)
			}
		}
		if !literal || piece == "" && i == len(pieces)-1 {
			continue
		}
		decoded, err := url.PathUnescape(piece)
		if err != nil {
			return bad(text, "its path can't be decoded: %w", err)
		}
		p.literal = append(p.literal, decoded)
	}
	if fault := p.register(http.NewServeMux(), nil); fault != "" {
		return bad(text, "%s", fault)
	}
	return p, nil
}

// register adds a pattern to a mux and says why that can't be. net/http panics
// instead: it expects patterns from programs alone.
func (p pattern) register(m *http.ServeMux, h http.Handler) (fault string) {
	defer func() {
		if v := recover(); v != nil {
			fault = strings.TrimPrefix(fmt.Sprint(v), fmt.Sprintf("parsing %q: ", p.text))
		}
	}()
	if h == nil {
		h = http.NotFoundHandler()
	}
	m.Handle(p.text, h)
	return ""
}

// conflict returns the pattern of another of entries that matches requests that
// p matches as well, where neither is the more special; "" is none.
func (p pattern) conflict(entries map[string]*entry) string {
	for other, e := range entries {
		if other == p.text {
			continue
		}
		m := http.NewServeMux()
		if e.pattern.register(m, nil) == "" && p.register(m, nil) != "" {
			return other
		}
	}
	return ""
}

// A mux finds the entry for a request.
type mux struct{ *http.ServeMux }

func newMux(entries map[string]*entry) *mux {
	m := &mux{http.NewServeMux()}
	for _, e := range entries {
		_ = e.pattern.register(m.ServeMux, e) // none conflicts: each was checked
	}
	return m
}

// A probe is what a mux answers to. It keeps the entry found, or why there is
// none.
type probe struct {
	entry  *entry
	header http.Header
	status int
}

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }
func (p *probe) WriteHeader(status int)      { p.status = status }

// ServeHTTP implements http.Handler for a mux that is only asked.
func (e *entry) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if p, ok := w.(*probe); ok {
		p.entry = e
	}
}

func (m *mux) match(method, path string) (out rouse.Match, ok bool) {
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return out, false
	}
	r := &http.Request{Method: method, URL: &url.URL{Path: decoded, RawPath: path}}
	p := probe{header: http.Header{}}
	m.ServeHTTP(&p, r)
	switch {
	case p.entry != nil:
		return p.entry.found(r, path), true
	case p.status == http.StatusMethodNotAllowed:
		out.Allowed = strings.Split(p.header.Get("Allow"), ", ")
	case p.status/100 == 3:
		out.Redirect = p.header.Get("Location")
	}
	return out, false
}

// found says where a request goes that e's pattern matches.
func (e *entry) found(r *http.Request, path string) rouse.Match {
	m := rouse.Match{Route: e.Route}
	for _, name := range e.pattern.names {
		if m.Values == nil {
			m.Values = map[string]string{}
		}
		m.Values[name] = r.PathValue(name)
	}
	rest := strings.TrimPrefix(path, "/")
	for range e.pattern.literal {
		_, rest, _ = strings.Cut(rest, "/")
	}
	if decoded, err := url.PathUnescape(rest); err == nil { // the whole path could be
		rest = decoded
	}
	m.Path = "/" + rest
	return m
}
