package native

import (
	"encoding/json"
	"errors"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/frame"
)

func isBrokenPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }

// appendString writes s as a JSON string; what is plain is copied.
func appendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(s) // a string always can be
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendLower is appendString of s in lower case. What JSON escapes it escapes
// in lower case as well.
func appendLower(b []byte, s string) []byte {
	at := len(b)
	b = appendString(b, s)
	for i := at; i < len(b); i++ {
		switch c := b[i]; {
		case c >= utf8.RuneSelf:
			return appendString(b[:at], strings.ToLower(s))
		case 'A' <= c && c <= 'Z':
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

// appendQuery writes the parsed query: the last value of each name wins; the
// raw form has them all.
func appendQuery(b []byte, raw string) []byte {
	b = append(b, '{')
	if raw != "" {
		values, _ := url.ParseQuery(raw) // what can't be parsed is left out
		first := true
		for k, v := range values {
			if !first {
				b = append(b, ',')
			}
			first = false
			b = appendString(b, k)
			b = append(b, ':')
			b = appendString(b, v[len(v)-1])
		}
	}
	return append(b, '}')
}

func appendHeaders(b []byte, header map[string][]string) []byte {
	b = append(b, '{')
	first := true
	for k, v := range header {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendLower(b, k)
		b = append(b, ':')
		if len(v) == 1 {
			b = appendString(b, v[0])
		} else {
			b = appendString(b, strings.Join(v, ", "))
		}
	}
	return append(b, '}')
}

// head is the beginning of a streamed answer.
type head struct {
	Status  int            `json:"status"`
	Headers map[string]any `json:"headers"`
}

// parseHead reads a Head frame. A header may have one value or a list.
func parseHead(body []byte) (int, map[string][]string, error) {
	var h head
	if err := json.Unmarshal(body, &h); err != nil {
		return 0, nil, err
	}
	if h.Status < 200 || h.Status > 999 {
		return 0, nil, errors.New("an HTTP status is a number from 200 to 999")
	}
	header := make(map[string][]string, len(h.Headers))
	for k, v := range h.Headers {
		k = textproto.CanonicalMIMEHeaderKey(k)
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				header[k] = append(header[k], word(one))
			}
		default:
			header[k] = []string{word(v)}
		}
	}
	return h.Status, header, nil
}

func word(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	b, _ := json.Marshal(v) // came from JSON
	return string(b)
}

// contentTypes are those of an Answer frame's kinds.
var contentTypes = map[byte]string{frame.JSON: "", frame.Text: "text/plain; charset=utf-8", frame.Bytes: "application/octet-stream"}

// A collector makes an Answer of frames.
type collector struct {
	in      rouse.Invocation
	limit   int64
	header  map[string][]string // of a whole answer, to be used again; may be nil
	answer  rouse.Answer
	started bool // a streamed answer has begun
}

// take adds a frame and says whether it was the last. An error is of a worker
// that speaks garbage.
func (c *collector) take(f frame.Frame) (done bool, err error) {
	switch f.Type {
	case frame.Answer:
		if c.started || len(f.Body) == 0 || f.Body[0] > frame.Bytes {
			return false, errors.New("an answer out of place")
		}
		c.whole(contentTypes[f.Body[0]], f.Body[1:])
		return true, nil
	case frame.Failure:
		var said struct {
			rouse.Failure
			Last bool `json:"last"`
		}
		if err := json.Unmarshal(f.Body, &said); err != nil {
			return false, err
		}
		c.answer.Status, c.answer.Failure, c.answer.Last = rouse.StatusFailed, &said.Failure, said.Last
		return true, nil
	case frame.Head:
		status, header, err := parseHead(f.Body)
		if err != nil || c.started {
			return false, errors.Join(errors.New("a head out of place"), err)
		}
		c.started = true
		c.begin(status, header)
		return false, nil
	case frame.Chunk:
		if !c.started {
			return false, errors.New("a chunk before its head")
		}
		return c.more(f.Body)
	case frame.End:
		if !c.started {
			return false, errors.New("an end before its head")
		}
		c.answer.Status = rouse.StatusAnswered
		return true, nil
	}
	return false, errors.New("a frame of no known type")
}

func (c *collector) whole(contentType string, body []byte) {
	c.answer.Status, c.answer.ContentType, c.answer.Size = rouse.StatusAnswered, contentType, int64(len(body))
	if c.in.Reply == nil {
		c.answer.Result = append(make([]byte, 0, len(body)), body...)
		return
	}
	if contentType == "" {
		contentType = "application/json"
	}
	if c.header == nil {
		c.header = make(map[string][]string, 2)
	}
	values := []string{contentType, strconv.Itoa(len(body))}
	c.header["Content-Type"], c.header["Content-Length"] = values[:1:1], values[1:]
	c.in.Reply.Start(200, c.header)
	_, _ = c.in.Reply.Write(body) // the caller who went away sees no answer
}

func (c *collector) begin(status int, header map[string][]string) {
	if c.in.Reply != nil {
		c.in.Reply.Start(status, header)
		return
	}
	c.answer.ContentType = "application/octet-stream"
	for k, v := range header {
		if k == "Content-Type" && len(v) > 0 {
			c.answer.ContentType = v[0]
		}
	}
}

func (c *collector) more(chunk []byte) (bool, error) {
	c.answer.Size += int64(len(chunk))
	if c.in.Reply != nil {
		_, err := c.in.Reply.Write(chunk)
		if err != nil {
			return false, &hangup{err}
		}
		return false, nil
	}
	if c.answer.Size > c.limit {
		return false, &frame.Oversize{Type: frame.Chunk, Size: int(c.answer.Size)}
	}
	c.answer.Result = append(c.answer.Result, chunk...)
	return false, nil
}

// hangup is the error of a caller who went away while the answer came.
type hangup struct{ error }
