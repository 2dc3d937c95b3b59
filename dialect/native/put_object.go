package native

import (
	"errors"
	"io"
	"net/http"

	"github.com/rouse-run/rouse"
)

// putObject streams the body through to the bucket.
func putObject(s *server, c *call) error {
	p, err := c.objectPut()
	if err != nil {
		return err
	}
	// A client that waits to be asked for its body is refused without it.
	if _, err := s.Data.Buckets.Bucket(c.r.Context(), p.Bucket); err != nil {
		return err
	}
	body := &body{ReadCloser: c.r.Body}
	c.r.Body = body
	o, err := s.Data.Buckets.PutObject(c.r.Context(), p, fromClient{body})
	switch {
	case err == nil:
		c.identify(&o)
		return c.answer(http.StatusOK, o)
	case !body.begun, rouse.KindOf(err) == rouse.Internal:
		return err
	}
	s.failEarly(c, err)
	return nil
}

// fromClient is a body whose errors are the client's.
type fromClient struct{ io.Reader }

func (f fromClient) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = broken(err)
	}
	return n, err
}
