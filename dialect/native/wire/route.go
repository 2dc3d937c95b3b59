package wire

import "github.com/rouse-run/rouse"

// RouteOptions are what a route is to be.
type RouteOptions struct {
	To        string `json:"to"` // a function
	Qualifier string `json:"qualifier,omitempty"`
	Public    bool   `json:"public,omitempty"` // callers show no token, whatever the function says
}

// Routes is a page of routes; Next, where not "", is the "after" of the next one.
type Routes struct {
	Routes []rouse.Route `json:"routes"`
	Next   string        `json:"next,omitempty"`
}
