// Package frame is how the platform and a worker inside a sandbox speak over a
// pair of pipes. A frame is, little-endian: length of what follows (4 bytes),
// Type (1), sequence number (4), body.
package frame

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
)

// A Type says what a frame's body is.
type Type byte

// The Types. From the platform: Start is JSON that says what a worker is to
// become; Event is made by AppendEvent. From the worker: Ready says that it can
// answer; Waiting that it can be started; Answer is one byte of Kind and the
// bytes; Head is JSON {status, headers}, followed by Chunks and an End; Failure
// is JSON {type, message, stack}; Log is one byte, 1 for standard output and 2
// for standard error, and a line.
const (
	Start   Type = 'S'
	Event   Type = 'E'
	Waiting Type = 'W'
	Ready   Type = 'R'
	Answer  Type = 'A'
	Head    Type = 'H'
	Chunk   Type = 'C'
	End     Type = 'Z'
	Failure Type = 'F'
	Log     Type = 'L'
)

// Kinds of Answer.
const (
	JSON byte = iota
	Text
	Bytes
)

// HeaderSize is the number of bytes before a body.
const HeaderSize = 9

// A Frame is one message. Its body is valid until the next Read.
type Frame struct {
	Type     Type
	Sequence uint32
	Body     []byte
}

// AppendHeader appends the header of a frame whose body has size bytes.
func AppendHeader(b []byte, t Type, sequence uint32, size int) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(size+5))
	b = append(b, byte(t))
	return binary.LittleEndian.AppendUint32(b, sequence)
}

// AppendEvent appends a whole Event frame: the deadline in milliseconds since
// 1970, the id (at most 255 bytes) of the activation, the HTTP part of an HTTP
// request as JSON (nil for other events) and the payload.
func AppendEvent(b []byte, sequence uint32, deadline float64, id string, http, payload []byte) []byte {
	b = AppendHeader(b, Event, sequence, 8+1+len(id)+4+len(http)+len(payload))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(deadline))
	b = append(b, byte(len(id)))
	b = append(b, id...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(http)))
	b = append(b, http...)
	return append(b, payload...)
}

// WriteJSON writes one frame with v as its body.
func WriteJSON(w io.Writer, t Type, sequence uint32, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(AppendHeader(nil, t, sequence, len(body)), body...))
	return err
}

// A Reader reads frames. Bytes past a frame stay buffered, so nobody else may
// read the pipe.
type Reader struct {
	r          io.Reader
	buf        []byte
	start, end int
	max        int
}

// NewReader reads frames with bodies of at most max bytes; a larger one is an
// *Oversize.
func NewReader(r io.Reader, max int) *Reader {
	return &Reader{r: r, buf: make([]byte, 4<<10), max: max}
}

// Oversize is the error of a frame that is larger than its reader takes.
type Oversize struct {
	Type Type
	Size int
}

func (o *Oversize) Error() string { return fmt.Sprintf("a frame of %d bytes", o.Size) }

// Read returns the next frame; io.EOF only between frames.
func (r *Reader) Read() (Frame, error) {
	if err := r.fill(HeaderSize); err != nil {
		return Frame{}, err
	}
	h := r.buf[r.start:]
	size := int(binary.LittleEndian.Uint32(h)) - 5
	f := Frame{Type: Type(h[4]), Sequence: binary.LittleEndian.Uint32(h[5:])}
	if size < 0 {
		return Frame{}, fmt.Errorf("a frame that ends before it begins")
	}
	if size > r.max {
		return f, &Oversize{f.Type, size}
	}
	if err := r.fill(HeaderSize + size); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return f, err
	}
	f.Body = r.buf[r.start+HeaderSize : r.start+HeaderSize+size : r.start+HeaderSize+size]
	r.start += HeaderSize + size
	return f, nil
}

// fill sees to it that n bytes are buffered. A large buffer is let go once it
// is empty, so that one large answer does not weigh on an idle instance.
func (r *Reader) fill(n int) error {
	if r.start == r.end {
		r.start, r.end = 0, 0
		if len(r.buf) > 64<<10 {
			r.buf = make([]byte, 4<<10)
		}
	}
	if have := r.end - r.start; len(r.buf)-r.start < n {
		buf := r.buf
		if len(buf) < n {
			buf = make([]byte, max(n, min(2*len(r.buf), 64<<10)))
		}
		copy(buf, r.buf[r.start:r.end])
		r.buf, r.start, r.end = buf, 0, have
	}
	for r.end-r.start < n {
		m, err := r.r.Read(r.buf[r.end:])
		r.end += m
		if err != nil && r.end-r.start < n {
			if err == io.EOF && r.end > r.start {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
