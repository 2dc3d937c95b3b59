package client

import (
	"context"
	"net/http"

	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// Tables returns a page of tables by name from the first after "after"; limit 0
// is 100.
func (c *Client) Tables(ctx context.Context, after string, limit int) (page wire.Tables, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"tables"}, query: paging(after, limit)}, nil, &page)
	return page, err
}

// SetTable makes a table or changes it. Errors: Invalid, Conflict.
func (c *Client) SetTable(ctx context.Context, name string, o wire.TableOptions) (t data.Table, err error) {
	err = c.call(ctx, request{method: http.MethodPut, path: []string{"tables", name}}, o, &t)
	return t, err
}

// Table returns one. Errors: NotFound.
func (c *Client) Table(ctx context.Context, name string) (t data.Table, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"tables", name}}, nil, &t)
	return t, err
}

// RemoveTable takes away a table with its items. Errors: NotFound.
func (c *Client) RemoveTable(ctx context.Context, name string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"tables", name}}, nil, nil)
}

// GetItem returns the item of a key, nil where there is none.
func (c *Client) GetItem(ctx context.Context, table string, key data.Item) (data.Item, error) {
	var out wire.Got
	err := c.call(ctx, request{method: http.MethodPost, path: []string{"tables", table, "get"}}, wire.Get{Key: key}, &out)
	return out.Item, err
}

// GetItems returns the items of keys, in order, nil where there is none.
func (c *Client) GetItems(ctx context.Context, table string, keys ...data.Item) ([]data.Item, error) {
	var out wire.GotMany
	err := c.call(ctx, request{method: http.MethodPost, path: []string{"tables", table, "get"}}, wire.Get{Keys: keys}, &out)
	return out.Items, err
}

// PutItem stores an item. Errors: Conflict that wraps a *data.Refused where its
// condition does not hold; so do UpdateItem, DeleteItem and Transact.
func (c *Client) PutItem(ctx context.Context, table string, p wire.Put) (w data.Written, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"tables", table, "put"}}, p, &w)
	return w, err
}

// UpdateItem changes an item.
func (c *Client) UpdateItem(ctx context.Context, table string, u wire.Update) (w data.Written, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"tables", table, "update"}}, u, &w)
	return w, err
}

// DeleteItem removes an item.
func (c *Client) DeleteItem(ctx context.Context, table string, d wire.DeleteItem) (w data.Written, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"tables", table, "delete"}}, d, &w)
	return w, err
}

// Query returns items of one partition.
func (c *Client) Query(ctx context.Context, table string, q wire.Query) (p data.Page, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"tables", table, "query"}}, q, &p)
	return p, err
}

// Scan returns items of a table.
func (c *Client) Scan(ctx context.Context, table string, s wire.Scan) (p data.Page, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"tables", table, "scan"}}, s, &p)
	return p, err
}

// Transact makes writes of any tables, all or none.
func (c *Client) Transact(ctx context.Context, t wire.Transact) ([]data.Written, error) {
	var out wire.Transacted
	err := c.call(ctx, request{method: http.MethodPost, path: []string{"transact"}}, t, &out)
	return out.Writes, err
}
