package node

import (
	"context"
	"net/http"
	"strings"

	"github.com/rouse-run/rouse"
)

// doors are all that a request may be for. The native one is asked most.
type doors struct {
	native http.Handler
	whisk  http.Handler
}

// ServeHTTP implements http.Handler.
func (d doors) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path := r.URL.Path; path == "/" || strings.HasPrefix(path, "/api/") || path == "/ping" || path == "/invokers" || strings.HasPrefix(path, "/invokers/") {
		d.whisk.ServeHTTP(w, r)
		return
	}
	d.native.ServeHTTP(w, r)
}

// namespacesOf are those that belong to somebody.
func namespacesOf(ctx context.Context, s rouse.Subjects) ([]rouse.Namespace, error) {
	all, err := s.Subjects(ctx)
	namespaces := make([]rouse.Namespace, len(all))
	for i, subject := range all {
		namespaces[i] = subject.Namespace
	}
	return namespaces, err
}
