package native

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
	"github.com/rouse-run/rouse/internal/shape"
)

// maxDocument bounds a request's body where that is a JSON document.
const maxDocument = 1 << 20

// A call is one request on its way through an operation.
type call struct {
	w       http.ResponseWriter
	r       *http.Request
	query   url.Values // nil where there is none
	tell    bool       // items whose conditions did not hold are shown
	headers [6]string  // backs the values of an answer's headers, to spare allocations
}

// readQuery refuses what the operation does not understand: a misspelt filter
// must not turn into no filter.
func (c *call) readQuery(allowed []string) error {
	if c.r.URL.RawQuery == "" {
		return nil
	}
	q, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return invalid("the query can't be read: %v", err)
	}
	for k, v := range q {
		switch {
		case !slices.Contains(allowed, k) && len(allowed) == 0:
			return invalid("query value %q is unknown: this operation takes none", k)
		case !slices.Contains(allowed, k):
			return invalid("query value %q is unknown: this operation takes %s", k, strings.Join(allowed, ", "))
		case len(v) > 1:
			return invalid("query value %q is given twice", k)
		}
	}
	c.query = q
	return nil
}

func invalid(format string, args ...any) *rouse.Error {
	return rouse.Errorf(rouse.Invalid, "read request", "", format, args...)
}

func (c *call) namespace() (rouse.Namespace, error) {
	if !c.query.Has("namespace") {
		return rouse.DefaultNamespace, nil
	}
	ns := c.query.Get("namespace")
	return rouse.Namespace(ns), rouse.CheckName(ns)
}

// ref returns the Ref that the path and the query name.
func (c *call) ref() (rouse.Ref, error) {
	ns, err := c.namespace()
	if err != nil {
		return rouse.Ref{}, err
	}
	name := c.r.PathValue("name")
	check := rouse.CheckName
	// A dialect's names of rules and triggers have what those of functions may have.
	// Who makes one here gives it a plain name.
	made := c.r.Method == http.MethodPut
	for _, of := range []string{"/v1/functions/", "/v1/rules/", "/v1/triggers/"} {
		if strings.HasPrefix(c.r.URL.Path, of) && (!made || of == "/v1/functions/") {
			check = rouse.CheckFunction
		}
	}
	return rouse.Ref{Namespace: ns, Name: name}, check(name)
}

// limit returns the query's "limit", within 1 and most; without one it is def.
func (c *call) limit(def, most int) (int, error) {
	s := c.query.Get("limit")
	if s == "" {
		return def, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, invalid("limit is %q; it must be a number from 1 to %d", s, most)
	}
	return n, nil
}

func (c *call) flag(name string) (bool, error) {
	s := c.query.Get(name)
	if s == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, invalid("%s is %q; it must be true or false", name, s)
	}
	return b, nil
}

// moment reads a query value that is a time or how long ago that was.
func (c *call) moment(name string) (time.Time, error) {
	return momentOf(name, c.query.Get(name), time.Now())
}

func momentOf(name, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, invalid("%s is %q; it must be a time such as 2006-01-02T15:04:05Z, or how long ago, such as 90m", name, s)
	}
	return t, nil
}

func (c *call) span(name string, most time.Duration) (time.Duration, error) {
	s := c.query.Get(name)
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > most {
		return 0, invalid("%s is %q; it must be a duration from 0s to %v, such as 30s", name, s, most)
	}
	return d, nil
}

// readBody reads a body of at most limit bytes, once, into a buffer of its size.
func (c *call) readBody(limit int64) ([]byte, error) {
	n := c.r.ContentLength
	if n == 0 {
		return nil, nil
	}
	if n > limit {
		return nil, tooLarge(limit)
	}
	if n > 0 {
		b := make([]byte, n)
		if _, err := io.ReadFull(c.r.Body, b); err != nil {
			return nil, broken(err)
		}
		return b, nil
	}
	b, err := io.ReadAll(io.LimitReader(c.r.Body, limit+1))
	switch {
	case err != nil:
		return nil, broken(err)
	case int64(len(b)) > limit:
		return nil, tooLarge(limit)
	}
	return b, nil
}

func tooLarge(limit int64) error {
	return rouse.Errorf(rouse.TooLarge, "read request", "", "the body is larger than %d bytes, the most this operation takes", limit)
}

// broken says that a body ended in a way that is not our fault.
func broken(err error) error {
	if _, ours := errors.AsType[*rouse.Error](err); ours {
		return err
	}
	return invalid("the body can't be read to its end: %w", err)
}

// listing returns what every list of named things is asked for.
func (c *call) listing() (ns rouse.Namespace, after string, limit int, err error) {
	if ns, err = c.namespace(); err != nil {
		return "", "", 0, err
	}
	limit, err = c.limit(100, 1000)
	return ns, c.query.Get("after"), limit, err
}

// next returns where the page after a full one begins; "" where it is not full.
func next[T any](page []T, limit int, name func(T) string) string {
	if len(page) < limit {
		return ""
	}
	return name(page[limit-1])
}

// done answers that all went well and there is nothing to say of it.
func (c *call) done() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// readJSON reads one JSON document that has no fields but those of v.
func readJSON(r io.Reader, v any) error { return readJSONUpTo(r, maxDocument, v) }

// readOptional is readJSON, but leaves v as it is where the body is empty.
func (c *call) readOptional(v any) error {
	b, err := c.readBody(maxDocument)
	if err != nil || len(b) == 0 {
		return err
	}
	return readJSON(bytes.NewReader(b), v)
}

func readJSONUpTo(r io.Reader, limit int64, v any) error {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return broken(err)
	}
	if int64(len(b)) > limit {
		return tooLarge(limit)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return invalid("the JSON can't be used: %s", shape.Fault(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return invalid("the JSON can't be used: there is more after its end")
	}
	return nil
}

// answer sends v as the JSON body. Its length goes ahead, so that a client has
// all of it before the handler ends.
func (c *call) answer(status int, v any) error {
	var b bytes.Buffer
	if err := lines(&b).Encode(v); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	h := c.w.Header()
	h.Set("Content-Type", wire.JSON)
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b.Bytes()) // an error is the connection's, whose other end is gone
	return nil
}

// lines returns an encoder of one JSON value a line that leaves <, > and & as
// they are: no browser takes this for a page.
func lines(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}
