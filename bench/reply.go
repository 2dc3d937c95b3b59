package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// A reply is an HTTP answer.
type reply struct {
	status  int
	chunked bool
	body    []byte
}

var lineBreak = []byte("\r\n")

// parseAnswer reads an HTTP/1.1 answer whose body has a length or comes in
// chunks (RFC 9112), as those of the servers measured here do. The size is that
// of all its bytes, 0 where they have not all come. A body in chunks is
// appended to into; another is a part of b.
func parseAnswer(b, into []byte) (a reply, size int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return a, 0, nil
	}
	first, fields, _ := bytes.Cut(b[:end+2], lineBreak)
	if a.status, err = parseStatus(first); err != nil {
		return a, 0, err
	}
	length, err := a.parseFields(fields)
	rest := b[end+4:]
	switch {
	case err != nil:
		return a, 0, err
	case a.chunked:
		body, n, err := parseChunks(rest, into)
		if err != nil || n == 0 {
			return a, 0, err
		}
		a.body = body
		return a, end + 4 + n, nil
	case a.status == 204 || a.status == 304:
		length = 0
	case length < 0:
		return a, 0, errors.New("an answer without a length")
	}
	if len(rest) < length {
		return a, 0, nil
	}
	a.body = rest[:length]
	return a, end + 4 + length, nil
}

func parseStatus(line []byte) (int, error) {
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, fmt.Errorf("no HTTP answer: %q", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil || status < 200 {
		return 0, fmt.Errorf("no final HTTP status: %q", line)
	}
	return status, nil
}

// parseFields looks for what says where the body ends. The length is -1 where
// nothing says it.
func (a *reply) parseFields(fields []byte) (length int, err error) {
	length = -1
	for len(fields) > 0 {
		var field []byte
		field, fields, _ = bytes.Cut(fields, lineBreak)
		name, value, _ := bytes.Cut(field, []byte(":"))
		switch len(name) {
		case len("Content-Length"):
			if bytes.EqualFold(name, []byte("Content-Length")) {
				if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || length < 0 {
					return 0, fmt.Errorf("no length: %q", value)
				}
			}
		case len("Transfer-Encoding"):
			a.chunked = a.chunked || bytes.EqualFold(name, []byte("Transfer-Encoding"))
		}
	}
	return length, nil
}

// parseChunks appends the chunks at the beginning of b to into. The size is
// that of all of them, 0 where they have not all come.
func parseChunks(b, into []byte) (body []byte, size int, err error) {
	for at := 0; ; {
		end := bytes.Index(b[at:], lineBreak)
		if end < 0 {
			return into, 0, nil
		}
		n, err := strconv.ParseUint(string(bytes.TrimSpace(b[at:at+end])), 16, 31)
		if err != nil {
			return into, 0, fmt.Errorf("no chunk: %q", b[at:at+end])
		}
		at += end + 2
		if len(b)-at < int(n)+2 {
			return into, 0, nil
		}
		if !bytes.HasPrefix(b[at+int(n):], lineBreak) {
			return into, 0, fmt.Errorf("a chunk that does not end: %q", b[at:at+int(n)+2])
		}
		into = append(into, b[at:at+int(n)]...)
		at += int(n) + 2
		if n == 0 {
			return into, at, nil
		}
	}
}
