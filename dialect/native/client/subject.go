package client

import (
	"context"
	"net/http"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// Subjects returns all by namespace.
func (c *Client) Subjects(ctx context.Context) (all []rouse.Subject, err error) {
	var page wire.Subjects
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"subjects"}}, nil, &page)
	return page.Subjects, err
}

// SetSubject adds or changes one. Errors: Invalid.
func (c *Client) SetSubject(ctx context.Context, ns rouse.Namespace, o wire.SubjectOptions) (s rouse.Subject, err error) {
	err = c.call(ctx, request{method: http.MethodPut, path: []string{"subjects", string(ns)}}, o, &s)
	return s, err
}

// Subject returns one, with its key. Errors: NotFound.
func (c *Client) Subject(ctx context.Context, ns rouse.Namespace) (s rouse.Subject, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"subjects", string(ns)}}, nil, &s)
	return s, err
}

// RemoveSubject takes its key away. Errors: NotFound, Invalid.
func (c *Client) RemoveSubject(ctx context.Context, ns string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"subjects", ns}}, nil, nil)
}
