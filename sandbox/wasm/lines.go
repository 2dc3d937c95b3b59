package wasm

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
)

// maxLine is how many bytes a log line has at most; a longer one is broken.
const maxLine = 16 << 10

// A printer makes Lines of what code prints.
type printer struct {
	function rouse.Ref
	log      func(rouse.Line)

	mu   sync.Mutex
	part [rouse.Platform + 1][]byte // what came without an end, by stream; guarded by mu
}

// stream is a Writer whose lines are of s.
func (p *printer) stream(s rouse.Stream) io.Writer { return printerStream{p, s} }

type printerStream struct {
	p *printer
	s rouse.Stream
}

// Write implements io.Writer.
func (w printerStream) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	n := len(b)
	part := &w.p.part[w.s]
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		piece := b
		if i >= 0 {
			piece = b[:i]
		}
		room := maxLine - len(*part)
		if len(piece) > room {
			*part = append(*part, piece[:room]...)
			b = b[room:]
			w.p.flush(w.s)
			continue
		}
		*part = append(*part, piece...)
		if i < 0 {
			break
		}
		b = b[i+1:]
		w.p.say(w.s)
	}
	return n, nil
}

// flush says what came without an end, if anything. It is called with mu held.
func (p *printer) flush(s rouse.Stream) {
	if len(p.part[s]) > 0 {
		p.say(s)
	}
}

// say is called with mu held: that keeps Spec.Log to one goroutine at a time.
func (p *printer) say(s rouse.Stream) {
	text := strings.ToValidUTF8(string(p.part[s]), "\uFFFD")
	p.part[s] = p.part[s][:0]
	p.log(rouse.Line{Function: p.function, Time: time.Now(), Stream: s, Text: text})
}

// drain says all that came.
func (p *printer) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.part {
		p.flush(rouse.Stream(s))
	}
}
