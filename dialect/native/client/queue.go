package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// Queues returns a page of queues by name from the first after "after"; limit 0
// is 100.
func (c *Client) Queues(ctx context.Context, after string, limit int) (page wire.Queues, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"queues"}, query: paging(after, limit)}, nil, &page)
	return page, err
}

// SetQueue makes a queue or changes it. Errors: Invalid, Conflict.
func (c *Client) SetQueue(ctx context.Context, name string, o wire.QueueOptions) (q wire.Queue, err error) {
	err = c.call(ctx, request{method: http.MethodPut, path: []string{"queues", name}}, o, &q)
	return q, err
}

// Queue returns one with its counts. Errors: NotFound.
func (c *Client) Queue(ctx context.Context, name string) (q wire.Queue, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"queues", name}}, nil, &q)
	return q, err
}

// RemoveQueue takes away a queue with its messages. Errors: NotFound.
func (c *Client) RemoveQueue(ctx context.Context, name string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"queues", name}}, nil, nil)
}

// Send sends messages, all or none, and says what became of them, in their
// order. Errors: NotFound, TooLarge, Invalid.
func (c *Client) Send(ctx context.Context, queue string, ms ...wire.Message) ([]wire.SentMessage, error) {
	var out wire.Sent
	err := c.call(ctx, request{method: http.MethodPost, path: []string{"queues", queue, "messages"}}, wire.Messages{Messages: ms}, &out)
	return out.Messages, err
}

// Peek returns visible messages without receiving them; limit 0 is 10.
func (c *Client) Peek(ctx context.Context, queue string, limit int) ([]wire.Delivery, error) {
	q := url.Values{}
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var out wire.Deliveries
	err := c.call(ctx, request{method: http.MethodGet, path: []string{"queues", queue, "messages"}, query: q}, nil, &out)
	return out.Messages, err
}

// Receive leases messages. Errors: NotFound, Invalid.
func (c *Client) Receive(ctx context.Context, queue string, r wire.Receive) ([]wire.Delivery, error) {
	var out wire.Deliveries
	err := c.call(ctx, request{method: http.MethodPost, path: []string{"queues", queue, "receive"}}, r, &out)
	return out.Messages, err
}

// DeleteMessages deletes those whose receipts are good and says which were.
func (c *Client) DeleteMessages(ctx context.Context, queue string, receipts ...string) ([]bool, error) {
	var out wire.DeletedMessages
	err := c.call(ctx, request{method: http.MethodPost, path: []string{"queues", queue, "delete"}}, wire.Receipts{Receipts: receipts}, &out)
	return out.Deleted, err
}

// Extend makes a received message visible after d, 0 at once, and returns its
// new receipt. Errors: Conflict for one that is not good.
func (c *Client) Extend(ctx context.Context, queue, receipt string, d time.Duration) (string, error) {
	var out wire.Extended
	err := c.call(ctx, request{method: http.MethodPost, path: []string{"queues", queue, "extend"}}, wire.Extend{Receipt: receipt, Visibility: rouse.Duration(d)}, &out)
	return out.Receipt, err
}

// Purge removes all messages of a queue. Errors: NotFound.
func (c *Client) Purge(ctx context.Context, queue string) error {
	return c.call(ctx, request{method: http.MethodPost, path: []string{"queues", queue, "purge"}}, nil, nil)
}

// RedriveQueue sends up to limit messages, 0 is all, to another queue or, where
// it is "", back to where each came from, and says how many. Errors: NotFound.
func (c *Client) RedriveQueue(ctx context.Context, queue, to string, limit int) (int, error) {
	var out wire.Redriven
	err := c.call(ctx, request{method: http.MethodPost, path: []string{"queues", queue, "redrive"}}, wire.RedriveQueue{To: to, Limit: limit}, &out)
	return out.Redriven, err
}
