package node

import (
	"net/http"
	"strings"
)

// doors are all that a request may be for. The native one is asked most.
type doors struct {
	native http.Handler
	whisk  http.Handler
	hops   hopKey
}

// ServeHTTP implements http.Handler.
func (d doors) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = d.hops.admit(r)
	if path := r.URL.Path; path == "/" || strings.HasPrefix(path, "/api/") || path == "/ping" || path == "/invokers" || strings.HasPrefix(path, "/invokers/") {
		d.whisk.ServeHTTP(w, r)
		return
	}
	d.native.ServeHTTP(w, r)
}
