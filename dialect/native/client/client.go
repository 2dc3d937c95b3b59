// Package client speaks the native API. Errors of the platform come back as
// *rouse.Error with the Kind the server gave them.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// DefaultServer is where a platform listens until told otherwise.
const DefaultServer = "http://127.0.0.1:8700"

// Client calls one server. Concurrent calls are safe.
type Client struct {
	Namespace rouse.Namespace // of all calls; "" is the default one

	base  *url.URL
	token string
	http  *http.Client
}

// New returns a client of server, a URL whose scheme may be left out; "" is
// DefaultServer. A nil h is http.DefaultClient. Errors: Invalid.
func New(server, token string, h *http.Client) (*Client, error) {
	if server == "" {
		server = DefaultServer
	}
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	base, err := url.Parse(server)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, rouse.Errorf(rouse.Invalid, "read server", server, "it must be an address such as 127.0.0.1:8700 or https://rouse.example.com")
	}
	base.Path, base.RawPath, base.RawQuery, base.Fragment = strings.TrimRight(base.Path, "/"), "", "", ""
	if h == nil {
		h = http.DefaultClient
	}
	return &Client{base: base, token: token, http: h}, nil
}

// Server returns the server's URL.
func (c *Client) Server() string { return c.base.String() }

// Unreachable reports whether err says that no server answered at all.
func Unreachable(err error) bool {
	_, ok := errors.AsType[*unreachable](err)
	return ok
}

type unreachable struct{ error }

func (e *unreachable) Unwrap() error { return e.error }

// request is one call of the API.
type request struct {
	method      string
	path        []string // below /v1; escaped here
	query       url.Values
	body        io.Reader
	contentType string
	size        int64       // of a body that says nothing of its size; 0 is unknown
	header      http.Header // besides those that are made here
	expect      bool        // ask before a long body is sent: a refusal then costs nothing
}

// send returns an answer of status 2xx, whose body the caller closes, or the
// error that another one stands for.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	resp, err := c.roundTrip(ctx, r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, readError(resp).err
	}
	return resp, nil
}

func (c *Client) roundTrip(ctx context.Context, r request) (*http.Response, error) {
	u := *c.base
	path := "/v1"
	for _, p := range r.path {
		if p == "." || p == ".." || p == "" { // a URL has no such parts, whatever is escaped
			return nil, rouse.Errorf(rouse.Invalid, "check name", p, "nothing has this name")
		}
		path += "/" + url.PathEscape(p)
	}
	u.RawPath = u.EscapedPath() + path
	if p, err := url.PathUnescape(u.RawPath); err == nil {
		u.Path = p
	}
	if c.Namespace != "" && c.Namespace != rouse.DefaultNamespace {
		if r.query == nil {
			r.query = url.Values{}
		}
		r.query.Set("namespace", string(c.Namespace))
	}
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), r.body)
	if err != nil {
		return nil, rouse.Errorf(rouse.Invalid, "make request", u.String(), "%w", err)
	}
	if r.header != nil {
		req.Header = r.header
	}
	if r.size > 0 {
		req.ContentLength = r.size
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	if r.expect {
		req.Header.Set("Expect", "100-continue")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if e, ours := errors.AsType[*rouse.Error](err); ours { // of a body that could not be read
			return nil, e
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			return nil, rouse.Errorf(rouse.Unavailable, "read answer", c.Server(), "the server went away before it had answered (%w); it may have done what was asked for all the same", short(err))
		}
		return nil, rouse.Errorf(rouse.Unavailable, "reach server", c.Server(), "%w", &unreachable{short(err)})
	}
	return resp, nil
}

// short leaves out the method and URL that an url.Error repeats.
func short(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// refusal is an answer other than the one asked for.
type refusal struct {
	body wire.ErrorBody
	err  *rouse.Error
}

func readError(resp *http.Response) refusal {
	var f refusal
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(b, &f.body)
	}
	if err != nil || f.body.Error.Kind == "" {
		f.err = rouse.Errorf(rouse.Unavailable, "ask server", resp.Request.URL.Host,
			"it answered %s, and not as a Rouse server does; is the address right?", resp.Status)
		return f
	}
	f.err = f.body.Error.Err()
	switch {
	case resp.StatusCode == http.StatusPreconditionFailed:
		f.err.Err = data.ErrCondition
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		f.err.Err = data.ErrRange
	case f.body.Refused != nil:
		r := &data.Refused{}
		for _, w := range f.body.Refused {
			r.Writes = append(r.Writes, data.RefusedWrite(w))
		}
		f.err.Err = r
	}
	return f
}

// call sends in as JSON, where it is not nil, and reads the answer into out.
func (c *Client) call(ctx context.Context, r request, in, out any) error {
	if in != nil {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false) // bodies within are to stay as they are
		if err := e.Encode(in); err != nil {
			if m, ok := errors.AsType[*json.MarshalerError](err); ok {
				err = m.Err // not which type of ours refused it
			}
			return rouse.Errorf(rouse.Invalid, "write request", "", "%w", err)
		}
		r.body, r.contentType = &b, wire.JSON
	}
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return c.garbled(err)
	}
	return nil
}

// garbled says that an answer broke off or is not one.
func (c *Client) garbled(err error) error {
	return rouse.Errorf(rouse.Unavailable, "read answer", c.Server(), "it broke off or is damaged: %w", err)
}

// Do calls any operation below /v1: in and out are JSON, nil is none. Names in
// path are escaped.
func (c *Client) Do(ctx context.Context, method string, path []string, query url.Values, in, out any) error {
	return c.call(ctx, request{method: method, path: path, query: query}, in, out)
}

// Node says what the server is. It makes a good first call: it needs the token.
func (c *Client) Node(ctx context.Context) (n rouse.Node, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"node"}}, nil, &n)
	return n, err
}
