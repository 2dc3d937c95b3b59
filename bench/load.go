package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A call is a request made ahead, and where it goes. The client is as small as
// can be, so that what is measured is the server: net/http's would cost more
// than some of the servers.
type call struct {
	addr    string
	request []byte
	want    string // the whole body that is to come; "" is any
	server  int    // pid of who answers
}

// post makes a call; token may be "".
func post(addr, path, token, body string) call {
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", path, addr, len(body))
	if token != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", token)
	}
	fmt.Fprintf(&b, "\r\n%s", body)
	return call{addr: addr, request: []byte(b.String())}
}

// wants returns c, whose answers must be body.
func (c call) wants(body string) call {
	c.want = body
	return c
}

// A line is a keep-alive connection on which c is called again and again.
type line struct {
	net.Conn
	c   call
	in  *bufio.Reader
	out bytes.Buffer
}

func (c call) dial(ctx context.Context) (*line, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return nil, err
	}
	return &line{Conn: conn, c: c, in: bufio.NewReaderSize(conn, 16<<10)}, nil
}

// do calls once.
func (l *line) do() error {
	if _, err := l.Write(l.c.request); err != nil {
		return err
	}
	l.out.Reset()
	status, err := readAnswer(l.in, &l.out)
	switch {
	case err != nil:
		return err
	case status/100 != 2:
		return fmt.Errorf("status %d: %s", status, l.out.Bytes())
	case l.c.want != "" && l.out.String() != l.c.want:
		return fmt.Errorf("answered %q, not %q", l.out.Bytes(), l.c.want)
	}
	return nil
}

// readAnswer reads one HTTP/1.1 answer whose body has a length or comes in
// chunks (RFC 9112), as those of the servers measured here do.
func readAnswer(in *bufio.Reader, body *bytes.Buffer) (status int, err error) {
	head, err := in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(head) < 13 || !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) {
		return 0, fmt.Errorf("no HTTP answer: %q", head)
	}
	if status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return 0, fmt.Errorf("no HTTP status: %q", head)
	}
	size, chunked := int64(0), false
	for {
		h, err := in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(h) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(h, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if size, err = strconv.ParseInt(string(value), 10, 64); err != nil || size < 0 {
				return 0, fmt.Errorf("no length: %q", value)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
	if !chunked {
		_, err = io.CopyN(body, in, size)
		return status, err
	}
	return status, readChunks(in, body)
}

func readChunks(in *bufio.Reader, body *bytes.Buffer) error {
	for {
		head, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(head)), 16, 64)
		if err != nil || size < 0 {
			return fmt.Errorf("no chunk: %q", head)
		}
		if _, err := io.CopyN(body, in, size); err != nil {
			return err
		}
		if _, err := in.Discard(2); err != nil { // the line break after a chunk, or at the end
			return err
		}
		if size == 0 {
			return nil
		}
	}
}

// throughput calls on so many connections for d and returns calls per second.
func (c call) throughput(ctx context.Context, connections int, d time.Duration) (float64, error) {
	end := time.Now().Add(d)
	n, took, err := c.load(ctx, connections, func(int) bool { return time.Now().Before(end) })
	return float64(n) / took.Seconds(), err
}

// load calls on so many connections for as long as more, which is asked before
// each call with the number of those that the connection has made, says so.
func (c call) load(ctx context.Context, connections int, more func(done int) bool) (calls int, took time.Duration, err error) {
	lines := make([]*line, connections)
	for i := range lines {
		if lines[i], err = c.dial(ctx); err != nil {
			return 0, 0, err
		}
		defer lines[i].Close()
	}
	counts, errs := make([]int, connections), make([]error, connections)
	began := time.Now()
	var working sync.WaitGroup
	for i, l := range lines {
		working.Go(func() {
			for more(counts[i]) && ctx.Err() == nil {
				if errs[i] = l.do(); errs[i] != nil {
					return
				}
				counts[i]++
			}
		})
	}
	working.Wait()
	took = time.Since(began)
	for _, n := range counts {
		calls += n
	}
	return calls, took, errors.Join(append(errs, ctx.Err())...)
}

// work calls on so many connections for d and returns the microseconds of CPU
// that the server and its children spend on a call. It says more than the time
// on a machine that others use as well.
func (c call) work(ctx context.Context, connections int, d time.Duration) (float64, error) {
	before, end := cpu(c.server), time.Now().Add(d)
	n, _, err := c.load(ctx, connections, func(int) bool { return time.Now().Before(end) })
	if n == 0 {
		return 0, err
	}
	return (cpu(c.server) - before).Seconds() * 1e6 / float64(n), err
}

// latency calls on one connection for d and returns the median time of a call
// in milliseconds.
func (c call) latency(ctx context.Context, d time.Duration) (float64, error) {
	l, err := c.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	var took []time.Duration
	for began := time.Now(); time.Since(began) < d && ctx.Err() == nil; {
		start := time.Now()
		if err := l.do(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	return ms(median(took)), ctx.Err()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
