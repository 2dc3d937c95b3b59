package invoke

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
)

// A memory keeps records, or refuses them.
type memory struct {
	rouse.Records
	mu    sync.Mutex
	as    []rouse.Activation
	ls    []rouse.Line
	err   error
	posts int
	block chan struct{}
}

func (m *memory) Post(_ context.Context, as []rouse.Activation, ls []rouse.Line) error {
	if m.block != nil {
		<-m.block
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.posts++
	if m.err != nil {
		return m.err
	}
	m.as, m.ls = append(m.as, as...), append(m.ls, ls...)
	return nil
}

func (m *memory) Activation(_ context.Context, id string) (rouse.Activation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.as {
		if a.ID == id {
			return a, nil
		}
	}
	return rouse.Activation{}, rouse.Errorf(rouse.NotFound, "find", id, "not there")
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

var errFull = rouse.Errorf(rouse.Unavailable, "post", "records", "the disk is full")

// What waits for a record is not done before, so that nothing is given up while
// there is hope.
func TestAFullStoreIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{err: errFull}
		r := NewRecorder(m, 0, slog.New(slog.DiscardHandler))
		told := 0
		var deaf atomic.Bool
		deaf.Store(true)
		r.Tell(func(_ context.Context, as []rouse.Activation) error {
			if deaf.Load() {
				return errFull
			}
			told += len(as)
			return nil
		}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		r.Add(rouse.Activation{ID: "a"})
		time.Sleep(time.Minute)
		began := time.Now()
		if _, err := r.Activation(t.Context(), "a"); rouse.KindOf(err) != rouse.NotFound || time.Since(began) > 0 {
			t.Errorf("a reader is told %v after %v", err, time.Since(began))
		}
		settled := make(chan struct{})
		go func() { r.Settle(t.Context()); close(settled) }()
		for _, still := range []string{"the store", "who is told"} {
			time.Sleep(10 * again)
			select {
			case <-settled:
				t.Errorf("it is settled while %s can't take it", still)
			default:
			}
			if still == "the store" {
				m.fail(nil)
			} else {
				deaf.Store(false)
			}
		}
		<-settled
		if len(m.as) != 1 || told != 1 || r.Dropped() != 0 || m.posts < 50 || m.posts > 100 {
			t.Errorf("%d stored, %d told, %d dropped, %d attempts", len(m.as), told, r.Dropped(), m.posts)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAStoreThatStaysFullStopsNobody(t *testing.T) {
	m := &memory{err: errFull}
	r := newRecorder(t, m, 0)
	for range 3 * maxActivations {
		r.Add(rouse.Activation{})
	}
	if n := r.Dropped(); n < maxActivations {
		t.Errorf("%d were dropped", n)
	}
	m.fail(nil)
	r.Add(rouse.Activation{ID: "last"})
	r.Settle(t.Context())
	if _, err := r.Activation(t.Context(), "last"); err != nil {
		t.Error(err)
	}
}

func newRecorder(t *testing.T, m *memory, pause time.Duration) *Recorder {
	t.Helper()
	r := NewRecorder(m, pause, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestWhoReadsSeesWhatWasAdded(t *testing.T) {
	m := &memory{}
	r := newRecorder(t, m, time.Hour) // nothing is stored without cause
	for i := range 1000 {
		id := fmt.Sprint(i)
		r.Add(rouse.Activation{ID: id})
		if i%100 == 0 {
			if _, err := r.Activation(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := r.Activation(t.Context(), "999"); err != nil || m.posts > 50 {
		t.Errorf("%v, %d transactions", err, m.posts)
	}
}

func TestALargeResultIsKeptAsItsDigest(t *testing.T) {
	m := &memory{}
	r := newRecorder(t, m, time.Millisecond)
	large := []byte(strings.Repeat("x", keptResult+1))
	r.Add(rouse.Activation{ID: "large", Result: large})
	a, err := r.Activation(t.Context(), "large")
	if err != nil || a.Result != nil || a.Digest != rouse.DigestOf(large) {
		t.Errorf("%v %d bytes, digest %q", err, len(a.Result), a.Digest)
	}
}

func TestABrokenStoreStopsNobody(t *testing.T) {
	m := &memory{err: errors.New("disk full")}
	r := newRecorder(t, m, time.Millisecond)
	r.Add(rouse.Activation{ID: "a"})
	r.Line(rouse.Line{Text: "b"})
	r.Settle(t.Context())
	if r.Dropped() != 2 {
		t.Errorf("%d dropped", r.Dropped())
	}
	m.mu.Lock()
	m.err = nil
	m.mu.Unlock()
	r.Add(rouse.Activation{ID: "c"})
	if _, err := r.Activation(t.Context(), "c"); err != nil {
		t.Error(err)
	}
}

func TestASlowStoreBoundsWhatWaits(t *testing.T) {
	m := &memory{block: make(chan struct{})}
	r := newRecorder(t, m, time.Millisecond)
	added := make(chan struct{})
	go func() {
		defer close(added)
		for range 3 * maxActivations {
			r.Add(rouse.Activation{})
		}
	}()
	m.block <- struct{}{} // the first post goes through, the second waits
	r.mu.Lock()
	waiting := len(r.as)
	r.mu.Unlock()
	if waiting > maxActivations {
		t.Errorf("%d wait", waiting)
	}
	close(m.block)
	<-added
	r.Settle(t.Context())
	if len(m.as) != 3*maxActivations {
		t.Errorf("%d were stored", len(m.as))
	}
}

func TestFollowersSeeLines(t *testing.T) {
	r := newRecorder(t, &memory{}, time.Millisecond)
	ref := rouse.Ref{Namespace: "default", Name: "f"}
	got := make(chan string, 100)
	done := make(chan error)
	go func() {
		done <- r.Follow(t.Context(), ref, func(l rouse.Line) bool { got <- l.Text; return l.Text != "last" })
	}()
	for r.tail.followers.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	r.Line(rouse.Line{Function: rouse.Ref{Namespace: "default", Name: "other"}, Text: "not ours"})
	r.Line(rouse.Line{Function: ref, Text: "first"})
	r.Line(rouse.Line{Function: ref, Text: "last"})
	if err := <-done; err != nil {
		t.Error(err)
	}
	if a, b := <-got, <-got; a != "first" || b != "last" || len(got) != 0 {
		t.Errorf("%s %s", a, b)
	}
}

func TestFollowersAreToldOfLinesThatTheyMiss(t *testing.T) {
	ref := rouse.Ref{Namespace: "default", Name: "f"}
	var of tail
	first, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error)
	var got, missed, gaps int
	go func() {
		done <- of.follow(t.Context(), ref, func(l rouse.Line) bool {
			if got++; got == 1 {
				close(first)
				<-goOn
			}
			if n := 0; l.Stream == rouse.Platform {
				if _, err := fmt.Sscanf(l.Text, "%d lines are missing", &n); err != nil {
					t.Error(l.Text)
				}
				got, missed, gaps = got-1, missed+n, gaps+1
			}
			return got+missed < 5001
		})
	}()
	for of.followers.Load() == 0 {
		runtime.Gosched()
	}
	of.publish(rouse.Line{Function: ref})
	<-first
	for range 5000 {
		of.publish(rouse.Line{Function: ref})
	}
	close(goOn)
	if err := <-done; err != nil || got < 1024 || gaps != 1 {
		t.Errorf("%v: %d lines and %d in %d gaps of 5001", err, got, missed, gaps)
	}
}

// What somebody waits for is not kept back with the rest.
func TestWhatIsWaitedForIsToldSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecorder(&memory{}, time.Minute, slog.New(slog.DiscardHandler))
		told := make(chan string, 10)
		r.Tell(func(_ context.Context, as []rouse.Activation) error {
			for _, a := range as {
				told <- a.ID
			}
			return nil
		}, func(f rouse.Ref) bool { return f.Name == "heard" })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		for _, c := range []struct {
			name  string
			after time.Duration
		}{{"other", time.Minute}, {"heard", 6 * time.Second}, {"other", time.Minute}} {
			began := time.Now()
			r.Add(rouse.Activation{ID: c.name, Function: rouse.Ref{Name: c.name}})
			if id := <-told; id != c.name || time.Since(began) != c.after {
				t.Errorf("%s: %s after %v", c.name, id, time.Since(began))
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
