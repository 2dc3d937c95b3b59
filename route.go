package rouse

import (
	"context"
	"time"
)

// A Route leads HTTP requests to a Function, which answers them.
type Route struct {
	// Ref's Name is the pattern of the requests, such as "GET /items/{id}", as Go's
	// net/http.ServeMux has them since Go 1.22: a method or none, which is any;
	// {name} is one piece of a path and {name...} the rest of it, and a slash at
	// the end stands for all below. It names no host.
	Ref
	To        string    `json:"to"` // the Function's name, in Ref's Namespace
	Qualifier string    `json:"qualifier,omitempty"`
	Public    bool      `json:"public,omitempty"` // callers show no token, whatever the Function says
	Created   time.Time `json:"created"`
	Notes     Notes     `json:"notes,omitempty"`
}

// A Match says where a request goes.
type Match struct {
	Route  Route
	Path   string            // below the part of the pattern that has no value in it, decoded, with a leading slash
	Values map[string]string // of the pattern's names, decoded

	// Where no Route is for the request: the methods there are for its path, and
	// the path that it should have instead; "" is none.
	Allowed  []string
	Redirect string
}

// Routes knows Routes. All methods may be called concurrently. The patterns of
// all namespaces share the paths of the server.
type Routes interface {
	// SetRoute adds r or replaces the one of its pattern. Errors: Invalid, which
	// says what is wrong with the pattern or which paths are the server's own;
	// NotFound where there is no such Function; Conflict, which names both, where
	// it is not clear which of two Routes a request would take.
	SetRoute(ctx context.Context, r Route) (Route, error)

	// CheckRoute says what SetRoute would of r, once those of soon are set, by
	// pattern, of which nil ones are removed, and changes nothing. It does not ask
	// whether the Function is there.
	CheckRoute(ctx context.Context, r Route, soon map[string]*Route) (Route, error)

	// Route returns one by its pattern. Errors: NotFound.
	Route(ctx context.Context, r Ref) (Route, error)

	// Routes lists those of a namespace by pattern, at most limit (0 is all) from
	// the first after "after".
	Routes(ctx context.Context, ns Namespace, after string, limit int) ([]Route, error)

	// RemoveRoute takes one away. Errors: NotFound.
	RemoveRoute(ctx context.Context, r Ref) error

	// Match finds where a request of a method and an escaped path goes, in memory.
	Match(method, path string) (Match, bool)
}
