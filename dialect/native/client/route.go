package client

import (
	"context"
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// Routes returns a page of routes by pattern from the first after "after"; limit
// 0 is 100.
func (c *Client) Routes(ctx context.Context, after string, limit int) (page wire.Routes, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"routes"}, query: paging(after, limit)}, nil, &page)
	return page, err
}

// SetRoute leads requests to a function. Errors: Invalid, NotFound, Conflict.
func (c *Client) SetRoute(ctx context.Context, pattern string, o wire.RouteOptions) (r rouse.Route, err error) {
	err = c.call(ctx, request{method: http.MethodPut, path: []string{"routes", pattern}}, o, &r)
	return r, err
}

// Route returns one. Errors: NotFound.
func (c *Client) Route(ctx context.Context, pattern string) (r rouse.Route, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"routes", pattern}}, nil, &r)
	return r, err
}

// RemoveRoute takes one away. Errors: NotFound.
func (c *Client) RemoveRoute(ctx context.Context, pattern string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"routes", pattern}}, nil, nil)
}
