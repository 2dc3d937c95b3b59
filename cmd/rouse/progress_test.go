package main

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slow gives a byte a tenth of a second.
type slow struct{ left int }

func (s *slow) Read(b []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(100 * time.Millisecond)
	s.left--
	return copy(b[:1], "x"), nil
}

func TestAnUploadShowsABarOnceItTakesLongerThanASecond(t *testing.T) {
	for _, c := range []struct {
		bytes int
		shown bool
	}{{9, false}, {50, true}} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			p := newProgress(&out, true)
			if _, err := io.Copy(io.Discard, p.reader(&slow{left: c.bytes}, int64(c.bytes))); err != nil {
				t.Fatal(err)
			}
			p.close()
			if got := strings.Contains(out.String(), "uploading"); got != c.shown {
				t.Errorf("%d bytes: %q", c.bytes, out.String())
			}
		})
	}
}

func TestAStepTurnsAWheelOnceItTakesLongerThanASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newProgress(&out, true)
		p.next("resolving")
		time.Sleep(500 * time.Millisecond)
		p.next("installing")
		time.Sleep(5 * time.Second)
		p.close()
		if strings.Contains(out.String(), "resolving") || !strings.Contains(out.String(), "installing") {
			t.Errorf("%q", out.String())
		}
	})
}

func TestWithoutATerminalEachStepIsALine(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, false)
	p.next("resolving")
	p.next("installing")
	p.close()
	if out.String() != "resolving\ninstalling\n" {
		t.Errorf("%q", out.String())
	}
}

// Files that are copied at once move one bar, which is full when all are done.
func TestFilesCopiedAtOnceShareABar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newProgress(&out, true)
		p.expect("downloading", 60)
		var copies sync.WaitGroup
		for range 3 {
			copies.Go(func() {
				if _, err := io.Copy(io.Discard, p.counting(&slow{left: 20})); err != nil {
					t.Error(err)
				}
			})
		}
		copies.Wait()
		p.close()
		if p.read != 60 || !strings.Contains(out.String(), "downloading") || !strings.Contains(out.String(), "98%") || strings.Contains(out.String(), "101%") {
			t.Errorf("%d bytes: %q", p.read, out.String())
		}
	})
}
