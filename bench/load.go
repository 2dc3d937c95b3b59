package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A call is a request made ahead, and where it goes. The client is as small as
// can be, for it shares the processors with the server that is measured: one
// thread writes and reads plain sockets. With net/http, or a goroutine for each
// connection, the client would cost more than some of the servers, and the
// faster of two servers would wait for it the longer.
type call struct {
	addr    string // of the loopback, as IP and port
	request []byte
	want    string // the whole body that is to come; "" is any
	server  int    // pid of who answers
	ring    []call // in its place, where there are any: one after the other, and again
	awake   bool   // a crowd's client does not sleep until an answer comes, but asks again and again
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
	c    *call
	ring []call
	at   int // which of ring c is
	fd   int
	in   []byte // what came; its array is used again
	body []byte // of a chunked answer; likewise
	done int    // answers
}

func (c *call) dial() (*line, error) {
	addr, err := netip.ParseAddrPort(c.addr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // as every HTTP client sets it
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &line{c: c, fd: fd, in: make([]byte, 0, 4<<10)}, nil
}

// ask writes the request. The socket blocks: the server takes it all, for it
// owes us nothing else on this line.
func (l *line) ask() error {
	for rest := l.c.request; len(rest) > 0; {
		n, err := raw(unix.SYS_WRITE, l.fd, unsafe.Pointer(&rest[0]), len(rest), 0)
		if err != nil && err != unix.EINTR {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// take reads what has come, and says whether the answer is whole. It must be
// what the call wants.
func (l *line) take() (bool, error) {
	if len(l.in) == cap(l.in) {
		l.in = append(l.in, make([]byte, len(l.in))...)[:len(l.in)]
	}
	n, err := raw(unix.SYS_READ, l.fd, unsafe.Pointer(&l.in[:cap(l.in)][len(l.in)]), cap(l.in)-len(l.in), 0)
	switch {
	case err == unix.EINTR:
		return false, nil
	case err != nil:
		return false, err
	case n == 0:
		return false, io.ErrUnexpectedEOF
	}
	l.in = l.in[:len(l.in)+n]
	a, size, err := parseAnswer(l.in, l.body[:0])
	if err != nil || size == 0 {
		return false, err
	}
	if a.chunked {
		l.body = a.body
	}
	switch {
	case size < len(l.in):
		return false, fmt.Errorf("after the answer came %q", l.in[size:])
	case a.status/100 != 2:
		return false, fmt.Errorf("status %d: %s", a.status, a.body)
	case l.c.want != "" && string(a.body) != l.c.want:
		return false, fmt.Errorf("answered %q, not %q", a.body, l.c.want)
	}
	l.in = l.in[:0]
	l.done++
	l.turn(1)
	return true, nil
}

// turn goes n calls further in the ring.
func (l *line) turn(n int) {
	if len(l.ring) > 0 {
		l.at = (l.at + n) % len(l.ring)
		l.c = &l.ring[l.at]
	}
}

// load calls on so many connections for as long as more, which is asked before
// each call with the number of those that the connection has made, says so.
func (c call) load(ctx context.Context, connections int, more func(done int) bool) (calls int, took time.Duration, err error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return 0, 0, err
	}
	defer unix.Close(poll)
	lines := make([]*line, connections)
	for i := range lines {
		if lines[i], err = c.dial(); err != nil {
			return 0, 0, err
		}
		defer unix.Close(lines[i].fd)
		lines[i].ring = c.ring
		lines[i].turn(i * len(c.ring) / connections) // each begins elsewhere
		if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, lines[i].fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			return 0, 0, err
		}
	}
	patience := 100 // milliseconds, after which ctx is looked at
	if c.awake {
		patience = 0
	}
	began := time.Now()
	err = drive(ctx, poll, lines, patience, more)
	took = time.Since(began)
	for _, l := range lines {
		calls += l.done
	}
	return calls, took, err
}

// raw makes a system call that the runtime is not told of. It would take
// processors away from who waits and give them back, which costs the client the
// more the longer it waits, and with it the slower of two servers.
func raw(call uintptr, fd int, buffer unsafe.Pointer, size, patience int) (int, error) {
	n, _, e := unix.RawSyscall6(call, uintptr(fd), uintptr(buffer), uintptr(size), uintptr(patience), 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// drive makes the calls of load. Each line is asked again as soon as it has
// answered.
func drive(ctx context.Context, poll int, lines []*line, patience int, more func(done int) bool) error {
	open := 0 // answers that are to come
	for _, l := range lines {
		if !more(l.done) {
			continue
		}
		if err := l.ask(); err != nil {
			return err
		}
		open++
	}
	events := make([]unix.EpollEvent, len(lines))
	for open > 0 {
		n, err := raw(unix.SYS_EPOLL_PWAIT, poll, unsafe.Pointer(&events[0]), len(events), patience)
		if err != nil && err != unix.EINTR {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, e := range events[:n] {
			l := lines[e.Fd]
			whole, err := l.take()
			switch {
			case err != nil:
				return err
			case !whole:
				continue
			case !more(l.done):
				open--
				continue
			}
			if err := l.ask(); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// once calls c on a connection of its own; it is the first call that shows
// whether c works at all.
func (c call) once(ctx context.Context) error {
	_, err := c.first(ctx)
	return err
}

// first calls once, on a connection that is there already, and says how long it
// took.
func (c call) first(ctx context.Context) (time.Duration, error) {
	took, err := c.times(ctx, func(done int) bool { return done < 1 })
	if err != nil {
		return 0, err
	}
	return took[0], nil
}

// times calls on one connection for as long as more says so, and returns how
// long each call took.
func (c call) times(ctx context.Context, more func(done int) bool) ([]time.Duration, error) {
	var took []time.Duration
	var asked time.Time
	_, _, err := c.load(ctx, 1, func(done int) bool {
		now := time.Now()
		if done > 0 {
			took = append(took, now.Sub(asked))
		}
		asked = now
		return more(done)
	})
	return took, err
}

// throughput calls on so many connections for d and returns calls per second.
func (c call) throughput(ctx context.Context, connections int, d time.Duration) (float64, error) {
	end := time.Now().Add(d)
	n, took, err := c.load(ctx, connections, func(int) bool { return time.Now().Before(end) })
	return float64(n) / took.Seconds(), err
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
	end := time.Now().Add(d)
	took, err := c.times(ctx, func(int) bool { return time.Now().Before(end) })
	return ms(median(took)), err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
