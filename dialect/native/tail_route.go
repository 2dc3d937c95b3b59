package native

import (
	"net/http"
	"net/url"
	"strings"
)

// A tailRoute is a path whose last value goes on to the end, whatever it holds: the
// mux would redirect one with "//" or ".." in it, and an object's key may.
type tailRoute struct {
	path     string
	parts    []string                    // of the path, between slashes
	handlers map[string]http.HandlerFunc // by method
	refuse   http.HandlerFunc            // answers other methods
}

func (s *server) addTail(op operation, h http.HandlerFunc) {
	for _, t := range s.tails {
		if t.path == op.Path {
			t.handlers[op.Method] = h
			return
		}
	}
	s.tails = append(s.tails, &tailRoute{path: op.Path, parts: strings.Split(op.Path[1:], "/"), handlers: map[string]http.HandlerFunc{op.Method: h}})
}

// tailOf returns what handles a request whose path is a tailRoute's, and sets its
// values; nil where it is none.
func (s *server) tailOf(r *http.Request) http.HandlerFunc {
	path := r.URL.EscapedPath()
	for _, t := range s.tails {
		if !strings.HasPrefix(path[min(1, len(path)):], t.parts[0]+"/") {
			continue
		}
		values, ok := t.match(path)
		if !ok {
			continue
		}
		for k, v := range values {
			r.SetPathValue(k, v)
		}
		if h := t.handlers[anyMethod]; h != nil {
			return h
		}
		if h := t.handlers[r.Method]; h != nil {
			return h
		}
		return t.refuse
	}
	return nil
}

// match takes an escaped path apart. The last value of a path that any method
// goes to may be missing with its slash.
func (t *tailRoute) match(path string) (map[string]string, bool) {
	var values map[string]string // made late: most paths fit no route
	rest, more := strings.CutPrefix(path, "/")
	for i, part := range t.parts {
		last := i == len(t.parts)-1
		if !more {
			return values, last && t.handlers[anyMethod] != nil
		}
		piece := rest
		if !last {
			piece, rest, more = strings.Cut(rest, "/")
		}
		name, isValue := strings.CutPrefix(part, "{")
		if !isValue {
			if piece != part {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(piece)
		if err != nil {
			return nil, false
		}
		if values == nil {
			values = make(map[string]string, 2)
		}
		values[strings.TrimRight(name, ".}")] = value
	}
	return values, true
}
