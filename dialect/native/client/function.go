package client

import (
	"context"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// Deploy sends code, a zip archive, as the next version of a function; nil is
// the code that o names. Steps that the server reports go to progress, which may be nil.
func (c *Client) Deploy(ctx context.Context, name string, o wire.Options, code io.Reader, progress func(step string)) (rouse.Function, error) {
	pr, pw := io.Pipe()
	form := multipart.NewWriter(pw)
	done := make(chan struct{})
	go func() {
		defer close(done)
		pw.CloseWithError(writeForm(form, o, code)) // nil is the end
	}()
	defer func() {
		pr.Close() // ends the writer where the server did not read to the end
		<-done
	}()
	resp, err := c.send(ctx, request{method: http.MethodPut, path: []string{"functions", name}, body: pr, contentType: form.FormDataContentType(),
		header: http.Header{"Accept": {wire.NDJSON}}, expect: true})
	if err != nil {
		return rouse.Function{}, err
	}
	defer resp.Body.Close()
	for events := json.NewDecoder(resp.Body); ; {
		var e wire.DeployEvent
		if err := events.Decode(&e); err != nil {
			return rouse.Function{}, c.garbled(err)
		}
		switch {
		case e.Error != nil:
			return rouse.Function{}, e.Error.Err()
		case e.Function != nil:
			return *e.Function, nil
		case progress != nil:
			progress(e.Step)
		}
	}
}

func writeForm(form *multipart.Writer, o wire.Options, code io.Reader) error {
	w, err := form.CreateFormField("options")
	if err != nil {
		return err
	}
	if err := json.NewEncoder(w).Encode(o); err != nil {
		return err
	}
	if code == nil {
		return form.Close()
	}
	if w, err = form.CreateFormFile("code", "code.zip"); err != nil {
		return err
	}
	if _, err := io.Copy(w, code); err != nil {
		return err
	}
	return form.Close()
}

// Function returns the version that qualifier, a number or an alias, stands
// for; "" is the newest. Errors: NotFound.
func (c *Client) Function(ctx context.Context, name, qualifier string) (f rouse.Function, err error) {
	q := url.Values{}
	if qualifier != "" {
		q.Set("qualifier", qualifier)
	}
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"functions", name}, query: q}, nil, &f)
	return f, err
}

// Functions returns a page of the newest versions, by name, from the first name
// after "after".
func (c *Client) Functions(ctx context.Context, after string, limit int) (page wire.Functions, err error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if after != "" {
		q.Set("after", after)
	}
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"functions"}, query: q}, nil, &page)
	return page, err
}

// Versions lists all versions of a function, oldest first. Errors: NotFound.
func (c *Client) Versions(ctx context.Context, name string) ([]rouse.Function, error) {
	var out wire.Versions
	err := c.call(ctx, request{method: http.MethodGet, path: []string{"functions", name, "versions"}}, nil, &out)
	return out.Versions, err
}

// Remove takes away a function with its versions and aliases. Errors: NotFound.
func (c *Client) Remove(ctx context.Context, name string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"functions", name}}, nil, nil)
}

// Aliases lists the aliases of a function. Errors: NotFound.
func (c *Client) Aliases(ctx context.Context, name string) ([]rouse.Alias, error) {
	var out wire.Aliases
	err := c.call(ctx, request{method: http.MethodGet, path: []string{"functions", name, "aliases"}}, nil, &out)
	return out.Aliases, err
}

// Alias returns one alias. Errors: NotFound.
func (c *Client) Alias(ctx context.Context, name, alias string) (a rouse.Alias, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"functions", name, "aliases", alias}}, nil, &a)
	return a, err
}

// SetAlias adds or replaces an alias. Errors: NotFound, Invalid.
func (c *Client) SetAlias(ctx context.Context, name, alias string, t wire.AliasTarget) (a rouse.Alias, err error) {
	err = c.call(ctx, request{method: http.MethodPut, path: []string{"functions", name, "aliases", alias}}, t, &a)
	return a, err
}

// RemoveAlias takes away an alias. Errors: NotFound.
func (c *Client) RemoveAlias(ctx context.Context, name, alias string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"functions", name, "aliases", alias}}, nil, nil)
}
