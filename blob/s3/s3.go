// Package s3 keeps blobs as objects of a bucket that speaks the S3 protocol,
// each named by the digest of its bytes. Several nodes may share one.
package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/rouse-run/rouse"
)

// Config says where a bucket is, and as whom to use it.
type Config struct {
	Endpoint string // host and port
	Plain    bool   // by http, not https
	Region   string // "" asks the server
	Bucket   string
	Prefix   string // before each name, without a slash at its end
	Key      string // of the access key; with Secret "" it is public
	Secret   string
	Temp     string // folder for what is on its way; "" is the system's
}

// Parse reads a URL such as
//
//	s3://bucket/prefix?endpoint=https://storage.example.com&region=eu-1
//
// Credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, as env finds
// them. Errors: Invalid.
func Parse(s string, env func(string) string) (Config, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "s3" || u.Host == "" {
		return Config{}, invalid("%q is not of the form s3://bucket/prefix?endpoint=https://host", s)
	}
	c := Config{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/"), Key: env("AWS_ACCESS_KEY_ID"), Secret: env("AWS_SECRET_ACCESS_KEY")}
	for k, v := range u.Query() {
		switch k {
		case "endpoint":
			e, err := url.Parse(v[0])
			if err != nil || e.Host == "" || e.Scheme != "http" && e.Scheme != "https" {
				return Config{}, invalid("endpoint %q is no http or https URL", v[0])
			}
			c.Endpoint, c.Plain = e.Host, e.Scheme == "http"
		case "region":
			c.Region = v[0]
		default:
			return Config{}, invalid("%q is unknown; there are endpoint and region", k)
		}
	}
	if c.Endpoint == "" {
		return Config{}, invalid("endpoint is missing: s3://%s?endpoint=https://host", c.Bucket)
	}
	return c, nil
}

func invalid(format string, args ...any) error {
	return rouse.Errorf(rouse.Invalid, "open blobs", "s3", format, args...)
}

// Blobs implements rouse.Blobs.
type Blobs struct {
	Config
	client *minio.Client
}

// Open returns the blobs in a bucket, which must exist. Errors: Invalid,
// NotFound, Denied, Unavailable.
func Open(ctx context.Context, c Config) (*Blobs, error) {
	o := &minio.Options{Secure: !c.Plain, Region: c.Region, Creds: credentials.NewStaticV4(c.Key, c.Secret, "")}
	client, err := minio.New(c.Endpoint, o)
	if err != nil {
		return nil, invalid("%w", err)
	}
	b := &Blobs{c, client}
	ok, err := client.BucketExists(ctx, c.Bucket)
	if err != nil {
		return nil, explain("open blobs", c.Bucket, err)
	}
	if !ok {
		return nil, rouse.Errorf(rouse.NotFound, "open blobs", c.Bucket, "there is no such bucket at %s: make it first", c.Endpoint)
	}
	return b, nil
}

// name returns the name of a blob's object; false for what is no digest.
func (b *Blobs) name(d rouse.Digest) (string, bool) {
	if len(d) != 2*sha256.Size || strings.Trim(string(d), "0123456789abcdef") != "" {
		return "", false
	}
	return path.Join(b.Prefix, string(d[:2]), string(d[2:])), true
}

func missing(op string, d rouse.Digest) error {
	return rouse.Errorf(rouse.NotFound, op, string(d), "there is no such blob")
}

// explain makes err an Error of the right Kind.
func explain(op, on string, err error) error {
	if err == nil {
		return nil
	}
	if _, ours := errors.AsType[*rouse.Error](err); ours {
		return err
	}
	kind := rouse.Unavailable
	switch r := minio.ToErrorResponse(err); {
	case r.StatusCode == http.StatusNotFound:
		kind = rouse.NotFound
	case r.StatusCode == http.StatusForbidden || r.StatusCode == http.StatusUnauthorized:
		kind = rouse.Denied
	}
	return rouse.Errorf(kind, op, on, "%w", err)
}

// Put writes to a file first: an object's name is known only when all of its
// bytes are.
func (b *Blobs) Put(ctx context.Context, r io.Reader) (d rouse.Digest, n int64, err error) {
	tmp, err := os.CreateTemp(b.Temp, "rouse-blob-") // mode 0600
	if err != nil {
		return "", 0, explain("put blob", b.Bucket, err)
	}
	defer func() {
		if e := errors.Join(tmp.Close(), os.Remove(tmp.Name())); err == nil {
			err = explain("put blob", b.Bucket, e)
		}
	}()
	sum, own := sha256.New(), &source{ctx: ctx, r: r}
	n, err = io.Copy(io.MultiWriter(tmp, sum), own)
	switch {
	case own.err != nil:
		return "", 0, own.err // the caller's, as it is
	case err != nil:
		return "", 0, explain("put blob", b.Bucket, err)
	}
	d = rouse.Digest(hex.EncodeToString(sum.Sum(nil)))
	if have, err := b.Stat(ctx, d); err == nil && have == n {
		return d, n, nil
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return "", 0, explain("put blob", b.Bucket, err)
	}
	name, _ := b.name(d)
	_, err = b.client.PutObject(ctx, b.Bucket, name, tmp, n, minio.PutObjectOptions{ContentType: "application/octet-stream"})
	if err != nil {
		if ctx.Err() != nil {
			return "", 0, ctx.Err()
		}
		return "", 0, explain("put blob", string(d), err)
	}
	return d, n, nil
}

// A source reads for Put and remembers the reader's own error.
type source struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		s.err = err
		return 0, err
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Open implements rouse.Blobs.
func (b *Blobs) Open(ctx context.Context, d rouse.Digest) (io.ReadCloser, error) {
	name, ok := b.name(d)
	if !ok {
		return nil, missing("open blob", d)
	}
	o, err := b.client.GetObject(ctx, b.Bucket, name, minio.GetObjectOptions{})
	if err == nil {
		_, err = o.Stat() // asks the server, which GetObject does not yet
	}
	if err != nil {
		if o != nil {
			_ = o.Close() // the first error is the one to tell
		}
		if e := explain("open blob", string(d), err); rouse.KindOf(e) != rouse.NotFound {
			return nil, e
		}
		return nil, missing("open blob", d)
	}
	return &checked{ReadCloser: o, want: d, sum: sha256.New()}, nil
}

// checked fails at the end where the bytes are not those that were stored.
type checked struct {
	io.ReadCloser
	want rouse.Digest
	sum  hash.Hash
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.sum.Write(p[:n])
	switch {
	case err == io.EOF && hex.EncodeToString(c.sum.Sum(nil)) != string(c.want):
		err = rouse.Errorf(rouse.Internal, "read blob", string(c.want), "its bytes are not those that were stored: restore it from a backup")
	case err != nil && err != io.EOF:
		err = explain("read blob", string(c.want), err)
	}
	return n, err
}

// Stat implements rouse.Blobs.
func (b *Blobs) Stat(ctx context.Context, d rouse.Digest) (int64, error) {
	name, ok := b.name(d)
	if !ok {
		return 0, missing("find blob", d)
	}
	info, err := b.client.StatObject(ctx, b.Bucket, name, minio.StatObjectOptions{})
	if err != nil {
		if e := explain("find blob", string(d), err); rouse.KindOf(e) != rouse.NotFound {
			return 0, e
		}
		return 0, missing("find blob", d)
	}
	return info.Size, nil
}

// Delete implements rouse.Blobs.
func (b *Blobs) Delete(ctx context.Context, d rouse.Digest) error {
	name, ok := b.name(d)
	if !ok {
		return nil
	}
	err := explain("delete blob", string(d), b.client.RemoveObject(ctx, b.Bucket, name, minio.RemoveObjectOptions{}))
	if rouse.KindOf(err) == rouse.NotFound {
		return nil
	}
	return err
}

// List implements rouse.Blobs.
func (b *Blobs) List(ctx context.Context, f func(rouse.Digest, int64) bool) error {
	ctx, cancel := context.WithCancel(ctx) // ends the client's own goroutine
	defer cancel()
	prefix := b.Prefix
	if prefix != "" {
		prefix += "/"
	}
	for o := range b.client.ListObjects(ctx, b.Bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if o.Err != nil {
			return explain("list blobs", b.Bucket, o.Err)
		}
		d := rouse.Digest(strings.ReplaceAll(strings.TrimPrefix(o.Key, prefix), "/", ""))
		if name, ok := b.name(d); ok && name == o.Key && !f(d, o.Size) {
			return nil
		}
	}
	return ctx.Err()
}
