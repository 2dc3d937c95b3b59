package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// Activations lists what q asks for, newest first. Where there are more, next
// is the q.Before of the next page. The client's Namespace stands for q's.
func (c *Client) Activations(ctx context.Context, q rouse.ActivationQuery) (as []rouse.Activation, next string, err error) {
	v := url.Values{}
	set := func(k, s string) {
		if s != "" {
			v.Set(k, s)
		}
	}
	var words []string
	for _, s := range q.Statuses {
		words = append(words, s.String())
	}
	set("function", q.Function)
	set("status", strings.Join(words, ","))
	set("since", moment(q.Since))
	set("until", moment(q.Until))
	set("before", q.Before)
	set("limit", number(q.Limit))
	var page wire.Activations
	if err := c.call(ctx, request{method: http.MethodGet, path: []string{"activations"}, query: v}, nil, &page); err != nil {
		return nil, "", err
	}
	as = make([]rouse.Activation, len(page.Activations))
	for i, w := range page.Activations {
		if as[i], err = w.Unwrap(); err != nil {
			return nil, "", c.garbled(err)
		}
	}
	return as, page.Next, nil
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func waitFor(d time.Duration) url.Values {
	if d == 0 {
		return nil
	}
	return url.Values{"wait": {d.String()}}
}

// Activation finds one, waiting up to wait for its end. Errors: NotFound.
func (c *Client) Activation(ctx context.Context, id string, wait time.Duration) (rouse.Activation, error) {
	var w wire.Activation
	if err := c.call(ctx, request{method: http.MethodGet, path: []string{"activations", id}, query: waitFor(wait)}, nil, &w); err != nil {
		return rouse.Activation{}, err
	}
	return w.Unwrap()
}

// ActivationLines returns what one Activation printed, waiting up to wait for
// its end. Errors: NotFound.
func (c *Client) ActivationLines(ctx context.Context, id string, wait time.Duration) ([]rouse.Line, error) {
	var out wire.Lines
	err := c.call(ctx, request{method: http.MethodGet, path: []string{"activations", id, "logs"}, query: waitFor(wait)}, nil, &out)
	return out.Lines, err
}

// A LogQuery picks lines of a function's log. A zero field asks for nothing.
type LogQuery struct {
	Activation string
	Since      time.Time
	Limit      int  // the newest so many stored lines; 0 is 1,000
	Follow     bool // go on with new lines until the context ends
}

// Logs calls f with lines of a function's log, oldest first, until they end or
// f returns false. A context that ends a followed log is no error; a server that
// does is Unavailable.
func (c *Client) Logs(ctx context.Context, function string, q LogQuery, f func(rouse.Line) bool) error {
	v := url.Values{}
	if q.Activation != "" {
		v.Set("activation", q.Activation)
	}
	if !q.Since.IsZero() {
		v.Set("since", moment(q.Since))
	}
	if q.Limit != 0 {
		v.Set("limit", number(q.Limit))
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	resp, err := c.send(ctx, request{method: http.MethodGet, path: []string{"functions", function, "logs"}, query: v})
	if err != nil {
		if q.Follow && ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer resp.Body.Close()
	for in := json.NewDecoder(resp.Body); ; {
		var l rouse.Line
		err := in.Decode(&l)
		switch {
		case err != nil && q.Follow && ctx.Err() != nil, errors.Is(err, io.EOF) && !q.Follow:
			return nil
		case err != nil && q.Follow: // there may be more, elsewhere or later
			return rouse.Errorf(rouse.Unavailable, "follow log", c.Server(), "the server has ended it (%w), as it does when it stops: follow again when it is back", err)
		case err != nil:
			return c.garbled(err)
		case !f(l):
			return nil
		}
	}
}

// DeadLetters lists invocations of a function that were given up, oldest first.
// Where there are more, next is the "after" of the next page.
func (c *Client) DeadLetters(ctx context.Context, function string, after int64, limit int) (ds []rouse.DeadLetter, next int64, err error) {
	return c.dead(ctx, []string{"functions", function, "dead"}, after, limit)
}

// DeadEvents lists events that a rule gave up, as DeadLetters does.
func (c *Client) DeadEvents(ctx context.Context, rule string, after int64, limit int) (ds []rouse.DeadLetter, next int64, err error) {
	return c.dead(ctx, []string{"rules", rule, "dead"}, after, limit)
}

func (c *Client) dead(ctx context.Context, path []string, after int64, limit int) (ds []rouse.DeadLetter, next int64, err error) {
	q := url.Values{"after": {strconv.FormatInt(after, 10)}, "limit": {strconv.Itoa(limit)}}
	var page wire.Dead
	if err := c.call(ctx, request{method: http.MethodGet, path: path, query: q}, nil, &page); err != nil {
		return nil, 0, err
	}
	ds = make([]rouse.DeadLetter, len(page.Dead))
	for i, w := range page.Dead {
		if ds[i], err = w.Unwrap(); err != nil {
			return nil, 0, c.garbled(err)
		}
	}
	return ds, page.Next, nil
}

// Redrive runs dead letters again, all where no ids are given, and says how many.
func (c *Client) Redrive(ctx context.Context, function string, ids ...int64) (int, error) {
	return c.redrive(ctx, []string{"functions", function, "redrive"}, ids)
}

// RedriveEvents has a rule deliver what it gave up again, as Redrive does.
func (c *Client) RedriveEvents(ctx context.Context, rule string, ids ...int64) (int, error) {
	return c.redrive(ctx, []string{"rules", rule, "redrive"}, ids)
}

func (c *Client) redrive(ctx context.Context, path []string, ids []int64) (int, error) {
	var out wire.Redriven
	err := c.call(ctx, request{method: http.MethodPost, path: path}, wire.Redrive{IDs: ids}, &out)
	return out.Redriven, err
}
