package process

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rouse-run/rouse"
)

// maxLine bounds one line of log; a longer one is cut in pieces.
const maxLine = 16 << 10

// A tap reads what a room prints and hands it on line by line.
type tap struct {
	file   *os.File
	conn   syscall.RawConn
	fd     int32 // of file, valid until ended
	stream rouse.Stream

	mu    sync.Mutex
	log   func(rouse.Line) // guarded by mu
	rest  []byte           // guarded by mu; an unfinished line
	last  []string         // guarded by mu; lines printed before anyone listened
	buf   *[8 << 10]byte   // guarded by mu
	ended bool             // guarded by mu
}

func newTap(f *os.File, s rouse.Stream) *tap {
	conn, err := f.SyscallConn()
	if err != nil {
		panic(err) // an open file has one
	}
	t := &tap{file: f, conn: conn, stream: s}
	_ = conn.Control(func(fd uintptr) { t.fd = int32(fd) })
	return t
}

// listen sends all further lines to log.
func (t *tap) listen(log func(rouse.Line)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.log = log
	t.last = nil
}

// recent returns the lines printed before anyone listened.
func (t *tap) recent() string {
	t.drain()
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.last, "; ")
}

// run reads until all writers are gone.
func (t *tap) run() {
	for {
		err := t.conn.Read(func(fd uintptr) bool {
			t.mu.Lock()
			defer t.mu.Unlock()
			return t.read(int(fd)) != unix.EAGAIN
		})
		t.mu.Lock()
		if err != nil || t.ended {
			t.flush()
			t.ended = true
			t.letGo()
			t.mu.Unlock()
			_ = t.file.Close()
			return
		}
		t.mu.Unlock()
	}
}

// drain returns once all that was printed so far has been handed on.
func (t *tap) drain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.conn.Control(func(fd uintptr) {
		for !t.ended && t.read(int(fd)) == nil {
		}
	})
	t.flush()
}

// drain returns once all that was printed to either so far has been handed on.
// Mostly that is nothing, which one system call tells of both.
func drain(a, b *tap) {
	if !quiet(a, b) {
		a.drain()
		b.drain()
	}
}

// quiet says whether there is nothing to hand on.
func quiet(a, b *tap) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if a.ended || b.ended || len(a.rest)+len(b.rest) > 0 {
		return false
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: a.fd, Events: unix.POLLIN}, {Fd: b.fd, Events: unix.POLLIN}}, 0)
	return n == 0 && err == nil
}

// read takes what is there. The caller holds mu.
func (t *tap) read(fd int) error {
	if t.buf == nil {
		t.buf = chunks.Get().(*[8 << 10]byte)
	}
	n, err := unix.Read(fd, t.buf[:])
	if err == unix.EINTR {
		return nil
	}
	if err == unix.EAGAIN {
		t.letGo() // most rooms print nothing most of the time
		return err
	}
	if n <= 0 {
		t.ended = true
		return unix.EPIPE
	}
	data := t.buf[:n]
	now := time.Now()
	for {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			break
		}
		t.emit(now, append(t.rest, data[:i]...))
		t.rest, data = t.rest[:0], data[i+1:]
	}
	t.rest = append(t.rest, data...)
	for len(t.rest) > maxLine {
		t.emit(now, t.rest[:maxLine])
		t.rest = append(t.rest[:0], t.rest[maxLine:]...)
	}
	return nil
}

// chunks are buffers to read into.
var chunks = sync.Pool{New: func() any { return new([8 << 10]byte) }}

// letGo gives back the buffer. The caller holds mu.
func (t *tap) letGo() {
	if t.buf != nil {
		chunks.Put(t.buf)
		t.buf = nil
	}
}

// flush hands on a line without an end. The caller holds mu.
func (t *tap) flush() {
	if len(t.rest) > 0 {
		t.emit(time.Now(), t.rest)
		t.rest = t.rest[:0]
	}
}

func (t *tap) emit(at time.Time, line []byte) {
	text := strings.ToValidUTF8(string(bytes.TrimSuffix(line, []byte("\r"))), "\uFFFD")
	if t.log != nil {
		t.log(rouse.Line{Time: at, Stream: t.stream, Text: text})
	} else if len(t.last) < 20 {
		t.last = append(t.last, text)
	}
}
