package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// Buckets returns a page of buckets by name from the first after "after"; limit
// 0 is 100.
func (c *Client) Buckets(ctx context.Context, after string, limit int) (page wire.Buckets, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"buckets"}, query: paging(after, limit)}, nil, &page)
	return page, err
}

// SetBucket makes a bucket or changes it. Errors: Invalid.
func (c *Client) SetBucket(ctx context.Context, name string, o wire.BucketOptions) (b data.Bucket, err error) {
	err = c.call(ctx, request{method: http.MethodPut, path: []string{"buckets", name}}, o, &b)
	return b, err
}

// Bucket returns one. Errors: NotFound.
func (c *Client) Bucket(ctx context.Context, name string) (b data.Bucket, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"buckets", name}}, nil, &b)
	return b, err
}

// RemoveBucket takes away an empty bucket. Errors: NotFound, Conflict.
func (c *Client) RemoveBucket(ctx context.Context, name string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"buckets", name}}, nil, nil)
}

// An ObjectQuery picks objects of a bucket. The zero value picks the first
// thousand.
type ObjectQuery struct {
	Prefix    string
	Delimiter string
	After     string // wire.Objects.Next
	Version   string // wire.Objects.Version
	Versions  bool   // all of them
	Limit     int    // 0 is 1,000
}

// Objects returns a page of objects by key. Errors: NotFound.
func (c *Client) Objects(ctx context.Context, bucket string, q ObjectQuery) (page wire.Objects, err error) {
	v := paging(q.After, q.Limit)
	for name, s := range map[string]string{"prefix": q.Prefix, "delimiter": q.Delimiter, "version": q.Version} {
		if s != "" {
			v.Set(name, s)
		}
	}
	if q.Versions {
		v.Set("versions", "true")
	}
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"buckets", bucket, "objects"}, query: v}, nil, &page)
	return page, err
}

// An ObjectPut says what is stored with an object, and when. The zero value is
// fit for use.
type ObjectPut struct {
	ContentType string
	Meta        map[string]string // names of letters, digits and dashes, in lower case
	Size        int64             // of the body, where it is known; 0 is unknown
	Match       string            // the ETag that must be there; "" is any
	Absent      bool              // nothing must be there
}

// PutObject stores all of body. Errors: NotFound for the bucket, Conflict where
// a condition does not hold, and those of body as they are.
func (c *Client) PutObject(ctx context.Context, bucket, key string, p ObjectPut, body io.Reader) (o data.Object, err error) {
	source := &failing{r: body}
	r := request{method: http.MethodPut, path: objectPath(bucket, key), body: source, contentType: p.ContentType, size: p.Size, expect: true, header: http.Header{}}
	for k, v := range p.Meta {
		r.header.Set(wire.HeaderMeta+k, v)
	}
	if p.Match != "" {
		r.header.Set("If-Match", `"`+p.Match+`"`)
	}
	if p.Absent {
		r.header.Set("If-None-Match", "*")
	}
	if err := c.call(ctx, r, nil, &o); err != nil {
		if source.err != nil {
			return o, source.err
		}
		return o, err
	}
	return o, nil
}

// failing remembers how a body failed: the transport says it in its own words.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

func objectPath(bucket, key string) []string { return []string{"buckets", bucket, "objects", key} }

// An ObjectGet says what of an object to fetch. The zero value is all of the
// newest version.
type ObjectGet struct {
	Version string
	Range   *data.ByteRange
	Match   string // the ETag it must have; "" is any
}

// GetObject opens an object; the caller closes the body, which fails where it
// breaks off. Of the Object, what the headers say is set. Errors: NotFound,
// Conflict, Invalid where the range is outside.
func (c *Client) GetObject(ctx context.Context, bucket, key string, g ObjectGet) (data.Object, io.ReadCloser, error) {
	resp, err := c.send(ctx, g.request(http.MethodGet, bucket, key))
	if err != nil {
		return data.Object{}, nil, err
	}
	o := objectOf(key, resp.Header)
	o.Size = resp.ContentLength
	if _, total, ok := strings.Cut(resp.Header.Get("Content-Range"), "/"); ok {
		if o.Size, err = strconv.ParseInt(total, 10, 64); err != nil {
			_ = resp.Body.Close()
			return o, nil, c.garbled(err)
		}
	}
	return o, resp.Body, nil
}

// StatObject is GetObject without the body.
func (c *Client) StatObject(ctx context.Context, bucket, key string, g ObjectGet) (data.Object, error) {
	resp, err := c.roundTrip(ctx, g.request(http.MethodHead, bucket, key))
	if err != nil {
		return data.Object{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 { // the answer to HEAD has no body to say more
		return data.Object{}, headError(resp.StatusCode, bucket+"/"+key)
	}
	o := objectOf(key, resp.Header)
	o.Size = resp.ContentLength
	return o, nil
}

// headError is the error that a status alone stands for.
func headError(status int, on string) error {
	kind, text := rouse.Internal, http.StatusText(status)
	switch status {
	case http.StatusBadRequest, http.StatusRequestedRangeNotSatisfiable:
		kind = rouse.Invalid
	case http.StatusUnauthorized:
		kind = rouse.Unauthenticated
	case http.StatusForbidden:
		kind = rouse.Denied
	case http.StatusNotFound:
		kind, text = rouse.NotFound, "there is no such object"
	case http.StatusConflict, http.StatusPreconditionFailed:
		kind, text = rouse.Conflict, data.ErrCondition.Error()
	case http.StatusServiceUnavailable:
		kind = rouse.Unavailable
	}
	return rouse.Errorf(kind, "stat object", on, "%s", strings.ToLower(text))
}

func (g ObjectGet) request(method, bucket, key string) request {
	// What was stored encoded is to come as it was stored.
	r := request{method: method, path: objectPath(bucket, key), query: url.Values{}, header: http.Header{"Accept-Encoding": {"identity"}}}
	if g.Version != "" {
		r.query.Set("version", g.Version)
	}
	if g.Match != "" {
		r.header.Set("If-Match", `"`+g.Match+`"`)
	}
	if g.Range != nil && method == http.MethodGet {
		switch from, n := g.Range.From, g.Range.Length; {
		case from < 0:
			r.header.Set("Range", fmt.Sprintf("bytes=%d", from))
		case n <= 0:
			r.header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		default:
			r.header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, from+n-1))
		}
	}
	return r
}

func objectOf(key string, h http.Header) data.Object {
	o := data.Object{Key: key, Version: h.Get(wire.HeaderVersion), ETag: strings.Trim(h.Get("ETag"), `"`), Header: map[string]string{"Content-Type": h.Get("Content-Type")}}
	o.Modified, _ = time.Parse(http.TimeFormat, h.Get("Last-Modified")) // zero where the server says none
	for k := range h {
		if name, ok := strings.CutPrefix(k, wire.HeaderMeta); ok {
			if o.Meta == nil {
				o.Meta = map[string]string{}
			}
			o.Meta[strings.ToLower(name)] = h.Get(k)
		}
	}
	return o
}

// DeleteObject removes an object, or one version of it; one that is not there is
// no error.
func (c *Client) DeleteObject(ctx context.Context, bucket, key, version string) (d wire.DeletedObject, err error) {
	err = c.call(ctx, ObjectGet{Version: version}.request(http.MethodDelete, bucket, key), nil, &d)
	return d, err
}

// CopyObject makes the object "to" of a bucket of the bytes of another. Errors:
// NotFound.
func (c *Client) CopyObject(ctx context.Context, bucket, to string, from wire.CopyFrom) (o data.Object, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"buckets", bucket, "copy"}}, wire.Copy{From: from, To: to}, &o)
	return o, err
}
