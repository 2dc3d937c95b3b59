package native

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/frame"
)

// inside is the Sandbox of a worker that is not a process but a function here.
type inside struct {
	rouse.Sandbox
	conn net.Conn
	done chan struct{}
}

func (s *inside) Conn() io.ReadWriteCloser { return s.conn }
func (s *inside) Done() <-chan struct{}    { return s.done }
func (s *inside) Close() error             { return s.conn.Close() }

// timed is a context that ends at its deadline and by nothing else.
type timed struct{ context.Context }

func (timed) Timed() {}

// A deadline that was set for one event is there while the next is answered.
func TestEachEventHasItsOwnDeadline(t *testing.T) {
	for name, wrap := range map[string]func(context.Context) context.Context{
		"timed":      func(ctx context.Context) context.Context { return timed{ctx} },
		"cancelable": func(ctx context.Context) context.Context { return ctx },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				takes := make(chan time.Duration, 1)
				var worker sync.WaitGroup
				defer worker.Wait()
				worker.Go(func() {
					_, _ = theirs.Write(frame.AppendHeader(nil, frame.Ready, 0, 0))
					events := frame.NewReader(theirs, 1<<20)
					for {
						f, err := events.Read()
						if err != nil {
							return
						}
						time.Sleep(<-takes)
						b := append(frame.AppendHeader(nil, frame.Answer, f.Sequence, 3), frame.JSON, '4', '2')
						_, _ = theirs.Write(b[:5]) // a deadline may be met in the middle of a frame
						time.Sleep(time.Second)
						_, _ = theirs.Write(b[5:])
					}
				})
				f := rouse.Function{Limits: rouse.Limits{Answer: 100, Concurrency: 1}}
				i, err := Contract{}.Boot(t.Context(), f, &inside{conn: ours, done: make(chan struct{})}, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer i.Close()
				const limit = 30 * time.Second
				for _, c := range []struct {
					idle, takes time.Duration
					late        bool
				}{
					{0, 0, false},
					{20 * time.Second, 25 * time.Second, false},      // over the end of the first
					{time.Hour, 10 * time.Second, false},             // long after the end of any
					{28 * time.Second, limit - 2*time.Second, false}, // just in time
					{0, limit, true}, // a second late
				} {
					time.Sleep(c.idle)
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					takes <- c.takes
					began := time.Now()
					a, err := i.Answer(wrap(ctx), rouse.Invocation{})
					took := time.Since(began)
					cancel()
					switch {
					case !c.late && (err != nil || string(a.Result) != "42" || took != c.takes+time.Second):
						t.Errorf("after %v, taking %v: %q, %v, in %v", c.idle, c.takes, a.Result, err, took)
					case c.late && (!errors.Is(err, context.DeadlineExceeded) || took != limit):
						t.Errorf("taking %v: %v after %v", c.takes, err, took)
					}
				}
				_ = theirs.Close()
			})
		})
	}
}
