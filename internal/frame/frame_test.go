package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"testing"
	"testing/iotest"
)

func TestFramesArriveAsTheyWereSent(t *testing.T) {
	var b []byte
	sizes := []int{0, 1, 9, 4 << 10, 64 << 10, 1 << 20, 3, 0}
	for i, size := range sizes {
		b = AppendHeader(b, Chunk, uint32(i), size)
		b = append(b, bytes.Repeat([]byte{byte(i)}, size)...)
	}
	for name, r := range map[string]io.Reader{"at once": bytes.NewReader(b), "in halves": iotest.HalfReader(bytes.NewReader(b)), "bytewise": iotest.OneByteReader(bytes.NewReader(b))} {
		frames := NewReader(r, 1<<20)
		for i, size := range sizes {
			f, err := frames.Read()
			if err != nil || f.Type != Chunk || f.Sequence != uint32(i) || !bytes.Equal(f.Body, bytes.Repeat([]byte{byte(i)}, size)) {
				t.Fatalf("%s: frame %d: %v, type %c, %d bytes", name, i, err, f.Type, len(f.Body))
			}
		}
		if _, err := frames.Read(); err != io.EOF {
			t.Errorf("%s: the end is %v", name, err)
		}
	}
}

func TestAFrameCutShortIsNoEnd(t *testing.T) {
	whole := append(AppendHeader(nil, Answer, 1, 10), make([]byte, 10)...)
	for n := 1; n < len(whole); n++ {
		if _, err := NewReader(bytes.NewReader(whole[:n]), 100).Read(); err != io.ErrUnexpectedEOF {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

func TestALargeFrameIsRefusedBeforeItIsRead(t *testing.T) {
	_, err := NewReader(bytes.NewReader(AppendHeader(nil, Answer, 1, 1000)), 999).Read()
	var over *Oversize
	if !errors.As(err, &over) || over.Size != 1000 || over.Type != Answer {
		t.Errorf("%v", err)
	}
}

func TestALargeBufferIsLetGo(t *testing.T) {
	b := append(AppendHeader(nil, Answer, 1, 1<<20), make([]byte, 1<<20)...)
	b = append(b, AppendHeader(nil, Answer, 2, 0)...)
	r := NewReader(bytes.NewReader(b), 1<<20)
	for range 2 {
		if _, err := r.Read(); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = r.Read()
	if len(r.buf) > 64<<10 {
		t.Errorf("%d bytes are kept", len(r.buf))
	}
}

func TestAppendEvent(t *testing.T) {
	b := AppendEvent(nil, 7, 1.5, "id", []byte("http"), []byte("payload"))
	f, err := NewReader(bytes.NewReader(b), 1000).Read()
	if err != nil || f.Type != Event || f.Sequence != 7 {
		t.Fatalf("%+v %v", f, err)
	}
	body := f.Body
	if math.Float64frombits(binary.LittleEndian.Uint64(body)) != 1.5 || body[8] != 2 || string(body[9:11]) != "id" ||
		binary.LittleEndian.Uint32(body[11:]) != 4 || string(body[15:19]) != "http" || string(body[19:]) != "payload" {
		t.Errorf("%q", body)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendHeader(nil, Answer, 1, 0))
	f.Add(append(AppendHeader(nil, Chunk, 1, 3), "abc"...))
	f.Add([]byte{0, 0, 0, 0, 'A', 0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 'A', 0, 0, 0, 0, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 1 << 10
		r := NewReader(iotest.HalfReader(bytes.NewReader(b)), limit)
		total := 0
		for {
			frame, err := r.Read()
			if err != nil {
				break
			}
			if len(frame.Body) > limit {
				t.Fatalf("a body of %d bytes", len(frame.Body))
			}
			total += HeaderSize + len(frame.Body)
		}
		if total > len(b) || len(r.buf) > 64<<10 {
			t.Errorf("%d bytes of frames came from %d bytes, %d are kept", total, len(b), len(r.buf))
		}
	})
}
