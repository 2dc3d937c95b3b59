package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
)

// A lab is a driver and a contract whose instances do what a test says: the
// pool's decisions are about time and number, which real code would blur.
type lab struct {
	boot    time.Duration
	fail    error
	open    func(rouse.Spec) // may be nil
	answer  func(ctx context.Context) error
	opened  atomic.Int32
	closed  atomic.Int32
	current atomic.Int32 // answering now
	most    atomic.Int32 // answering at once at most
}

func (l *lab) Runtimes() []rouse.Runtime { return []rouse.Runtime{{Name: "lab"}} }

func (l *lab) Prepare(context.Context, rouse.Spec) error { return nil }

func (l *lab) Open(_ context.Context, s rouse.Spec) (rouse.Sandbox, error) {
	time.Sleep(l.boot)
	if l.open != nil {
		l.open(s)
	}
	if l.fail != nil {
		return nil, l.fail
	}
	l.opened.Add(1)
	return &cell{lab: l, done: make(chan struct{})}, nil
}

func (l *lab) Close() error { return nil }

func (l *lab) Program(rouse.Function) rouse.Program { return rouse.Program{} }

func (l *lab) Boot(_ context.Context, _ rouse.Function, s rouse.Sandbox, _ func(rouse.Line)) (rouse.Instance, error) {
	return s.(*cell), nil
}

// A cell is both sandbox and instance.
type cell struct {
	lab  *lab
	done chan struct{}
	once sync.Once
}

func (c *cell) Conn() io.ReadWriteCloser                                 { return nil }
func (c *cell) Dial(context.Context, int) (net.Conn, error)              { return nil, nil }
func (c *cell) Run(context.Context, rouse.Input, io.Writer) (int, error) { return 0, nil }
func (c *cell) Drain()                                                   {}
func (c *cell) Done() <-chan struct{}                                    { return c.done }
func (c *cell) Exit() rouse.Exit                                         { return rouse.Exit{} }
func (c *cell) Usage() rouse.Usage                                       { return rouse.Usage{Memory: 1 << 20, Peak: 1 << 20} }

func (c *cell) Answer(ctx context.Context, _ rouse.Invocation) (rouse.Answer, error) {
	now := c.lab.current.Add(1)
	defer c.lab.current.Add(-1)
	for {
		most := c.lab.most.Load()
		if now <= most || c.lab.most.CompareAndSwap(most, now) {
			break
		}
	}
	return rouse.Answer{Status: rouse.StatusAnswered}, c.lab.answer(ctx)
}

func (c *cell) Close() error {
	c.once.Do(func() {
		close(c.done)
		c.lab.closed.Add(1)
	})
	return nil
}

func takes(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func newLab(t *testing.T, l *lab, c Config) *Pool {
	t.Helper()
	c.Drivers, c.Contracts = []rouse.Driver{l}, map[string]rouse.Contract{"lab": l}
	c.Code = func(context.Context, rouse.Function) (Code, error) { return Code{}, nil }
	c.Log = func(rouse.Line) {}
	c.Logger = slog.New(slog.DiscardHandler)
	if c.Memory == 0 {
		c.Memory = 1 << 40
	}
	p := New(c)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if o, c := l.opened.Load(), l.closed.Load(); o != c {
			t.Errorf("%d instances were opened and %d closed", o, c)
		}
		if n, bytes := p.Usage(); n != 0 || bytes != 0 {
			t.Errorf("%d instances and %d bytes are left", n, bytes)
		}
	})
	return p
}

func function(name string, l rouse.Limits) rouse.Function {
	l.Memory, l.Concurrency = max(l.Memory, 1<<20), max(l.Concurrency, 1)
	if l.Queue == 0 {
		l.Queue = 1000
	}
	return rouse.Function{Ref: rouse.Ref{Namespace: "default", Name: name}, Version: 1, Runtime: "lab", Contract: "lab", Limits: l}
}

// call runs one call to its end.
func call(p *Pool, f rouse.Function) (*Lease, error) {
	l, err := p.Lease(context.Background(), f, "")
	if err != nil {
		return nil, err
	}
	_, err = l.Answer(context.Background(), rouse.Invocation{}, time.Now())
	l.Release(err != nil)
	return l, err
}

// calls runs n calls at once and returns how many failed.
func calls(p *Pool, f rouse.Function, n int) (failed int) {
	var wg sync.WaitGroup
	var bad atomic.Int32
	for range n {
		wg.Go(func() {
			if _, err := call(p, f); err != nil {
				bad.Add(1)
			}
		})
	}
	wg.Wait()
	return int(bad.Load())
}

func TestTheSecondCallIsWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{boot: 3 * time.Millisecond, answer: takes(time.Millisecond)}
		p := newLab(t, l, Config{})
		first, err := call(p, function("f", rouse.Limits{}))
		if err != nil || !first.Cold || first.Init != 3*time.Millisecond {
			t.Errorf("%+v %v", first, err)
		}
		second, err := call(p, function("f", rouse.Limits{}))
		if err != nil || second.Cold || second.Queued != 0 {
			t.Errorf("%+v %v", second, err)
		}
	})
}

func TestShortCallsShareFewInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{boot: 3 * time.Millisecond, answer: takes(50 * time.Microsecond)}
		p := newLab(t, l, Config{})
		f := function("f", rouse.Limits{})
		for range 100 {
			calls(p, f, 16)
		}
		if n := l.opened.Load(); n > 4 {
			t.Errorf("%d instances for calls that are over sooner than a boot", n)
		}
	})
}

func TestLongCallsGetInstancesOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{boot: 3 * time.Millisecond, answer: takes(time.Second)}
		p := newLab(t, l, Config{})
		began := time.Now()
		if failed := calls(p, function("f", rouse.Limits{}), 100); failed > 0 {
			t.Errorf("%d calls failed", failed)
		}
		if took := time.Since(began); took > 1500*time.Millisecond || l.most.Load() < 90 {
			t.Errorf("100 calls of a second took %v, %d at once", took, l.most.Load())
		}
	})
}

func TestBusyProcessorsGetAsManyInstancesAsTheyCanRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{boot: 3 * time.Millisecond, answer: takes(10 * time.Millisecond)}
		p := newLab(t, l, Config{Busy: func() bool { return true }})
		f := function("f", rouse.Limits{})
		enough := int32(perProcessor * runtime.GOMAXPROCS(0))
		calls(p, f, 8*int(enough))
		if n := int32(l.opened.Load()); n != enough {
			t.Errorf("%d instances on processors that are busy, which run %d", n, enough)
		}
		// Calls that wait for one another must still come through.
		l.answer = takes(time.Second)
		calls(p, f, 2*int(enough))
		if n := int32(l.most.Load()); n <= enough {
			t.Errorf("%d at once, however long they wait", n)
		}
	})
}

func TestShortWaitsBringAnInstanceOnceTheyAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{boot: 50 * time.Millisecond, answer: takes(time.Millisecond)}
		p := newLab(t, l, Config{Busy: func() bool { return true }})
		f := function("f", rouse.Limits{})
		pairs := func(n int) {
			for range n {
				calls(p, f, 2) // of two that come at once one waits for a millisecond
			}
			time.Sleep(time.Second) // what boots then is there
		}
		pairs(3)
		if n := l.opened.Load(); n != 1 {
			t.Errorf("%d instances for waits that were short", n)
		}
		pairs(200)
		if n := l.opened.Load(); n != 2 {
			t.Errorf("%d instances for calls of which one always waited", n)
		}
	})
}

func TestMaxBoundsInstancesAndQueueThrottles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{answer: takes(time.Second)}
		p := newLab(t, l, Config{})
		f := function("f", rouse.Limits{Max: 2, Queue: 3})
		var wg sync.WaitGroup
		var throttled atomic.Int32
		for range 10 {
			wg.Go(func() {
				if _, err := call(p, f); rouse.KindOf(err) == rouse.Throttled {
					throttled.Add(1)
				}
			})
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		if l.most.Load() != 2 || throttled.Load() != 5 {
			t.Errorf("%d at once, %d throttled", l.most.Load(), throttled.Load())
		}
	})
}

func TestAWaitHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{answer: takes(time.Hour)}
		p := newLab(t, l, Config{Wait: 5 * time.Second})
		f := function("f", rouse.Limits{Max: 1})
		held, err := p.Lease(t.Context(), f, "")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = p.Lease(t.Context(), f, "")
		if rouse.KindOf(err) != rouse.Throttled || time.Since(began) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = p.Lease(ctx, f, ""); rouse.KindOf(err) != rouse.Throttled {
			t.Errorf("%v", err)
		}
		held.Release(false)
	})
}

func TestConcurrencyFillsOneInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{boot: time.Millisecond, answer: takes(3 * time.Millisecond)}
		p := newLab(t, l, Config{})
		calls(p, function("f", rouse.Limits{Concurrency: 20}), 20)
		if l.opened.Load() != 1 || l.most.Load() != 20 {
			t.Errorf("%d instances, %d at once", l.opened.Load(), l.most.Load())
		}
	})
}

func TestIdleInstancesAreClosedButForMin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{answer: takes(time.Second)}
		p := newLab(t, l, Config{Idle: time.Minute})
		f := function("f", rouse.Limits{Min: 2})
		p.Keep(f)
		synctest.Wait()
		if n, _ := p.Usage(); n != 2 {
			t.Errorf("%d instances are kept", n)
		}
		calls(p, f, 10)
		time.Sleep(5 * time.Minute)
		if n, _ := p.Usage(); n != 2 {
			t.Errorf("%d instances after the idle time", n)
		}
		p.Forget(f.Ref)
		synctest.Wait()
		if n, _ := p.Usage(); n != 0 {
			t.Errorf("%d instances of a function that was removed", n)
		}
	})
}

func TestMemoryEvictsTheLeastRecentlyUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{answer: takes(time.Millisecond)}
		p := newLab(t, l, Config{Memory: 2 << 20})
		for _, name := range []string{"a", "b", "a", "c"} {
			if _, err := call(p, function(name, rouse.Limits{Memory: 1 << 20})); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		again, err := call(p, function("a", rouse.Limits{Memory: 1 << 20}))
		if err != nil || again.Cold {
			t.Errorf("the one used last was evicted: %v", err)
		}
		if n, bytes := p.Usage(); n > 2 || bytes > 2<<20 {
			t.Errorf("%d instances hold %d bytes", n, bytes)
		}
	})
}

func TestManyIdleInstancesFitWhereFewThatWorkWould(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{answer: takes(time.Millisecond)}
		p := newLab(t, l, Config{Memory: 25 << 20}) // each may hold 10 MB, and holds 1
		for range 2 {
			for n := range 10 {
				if _, err := call(p, function(fmt.Sprint("f", n), rouse.Limits{Memory: 10 << 20})); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
		}
		if n, _ := p.Usage(); n != 10 || l.opened.Load() != 10 {
			t.Errorf("%d instances live, %d were booted", n, l.opened.Load())
		}
	})
}

func TestWhoWaitsForMemoryGetsWhatIsFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{answer: takes(time.Second)}
		p := newLab(t, l, Config{Memory: 2 << 20})
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
			wg.Go(func() {
				if _, err := call(p, function(name, rouse.Limits{Memory: 1 << 20})); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if l.most.Load() != 2 {
			t.Errorf("%d ran at once in memory for two", l.most.Load())
		}
	})
}

func TestABrokenInstanceIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{answer: func(context.Context) error { return context.DeadlineExceeded }}
		p := newLab(t, l, Config{})
		for range 3 {
			if _, err := call(p, function("f", rouse.Limits{})); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		synctest.Wait()
		if l.opened.Load() != 3 || l.closed.Load() != 3 {
			t.Errorf("%d opened, %d closed", l.opened.Load(), l.closed.Load())
		}
	})
}

func TestAnInstanceThatEndedIsNotCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{boot: time.Millisecond, answer: func(context.Context) error { return nil }}
		p := newLab(t, l, Config{})
		f := function("f", rouse.Limits{})
		lease, err := call(p, f)
		if err != nil {
			t.Fatal(err)
		}
		first := lease.instance
		_ = first.sandbox.Close() // its code ends while nobody calls
		if lease, err = call(p, f); err != nil || lease.instance == first || !lease.Cold {
			t.Errorf("%v %+v", err, lease)
		}
		synctest.Wait()
		if n, _ := p.Usage(); n != 1 || l.opened.Load() != 2 {
			t.Errorf("%d instances are left of %d", n, l.opened.Load())
		}
	})
}

func TestABootErrorReachesWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{fail: &rouse.BootError{Status: rouse.StatusFailed, Failure: rouse.Failure{Type: "SyntaxError"}}}
		p := newLab(t, l, Config{})
		if failed := calls(p, function("f", rouse.Limits{}), 10); failed != 10 {
			t.Errorf("%d of 10 failed", failed)
		}
		var boot *rouse.BootError
		if _, err := call(p, function("f", rouse.Limits{})); !errors.As(err, &boot) {
			t.Error(err)
		}
	})
}

func TestANewVersionLetsTheOldOneFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{answer: takes(time.Second)}
		p := newLab(t, l, Config{})
		f := function("f", rouse.Limits{Min: 1})
		p.Keep(f)
		done := make(chan error)
		go func() { _, err := call(p, f); done <- err }()
		synctest.Wait()
		g := f
		g.Version = 2
		p.Keep(g)
		if err := <-done; err != nil {
			t.Errorf("a call of the old version: %v", err)
		}
	})
}

func TestStoppingTurnsAwayWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{answer: takes(time.Hour)}
		p := newLab(t, l, Config{})
		f := function("f", rouse.Limits{Max: 1})
		held, err := p.Lease(t.Context(), f, "")
		if err != nil {
			t.Fatal(err)
		}
		turned := make(chan error)
		go func() { _, err := p.Lease(context.Background(), f, ""); turned <- err }()
		synctest.Wait()
		p.close()
		if err := <-turned; rouse.KindOf(err) != rouse.Unavailable {
			t.Error(err)
		}
		held.Release(true)
		if _, err := p.Lease(t.Context(), f, ""); rouse.KindOf(err) != rouse.Unavailable {
			t.Error(err)
		}
	})
}

// Each instance has an access of its own, which knows what the instance does.
func TestEachInstanceHasItsAccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		given := map[*rouse.Access]func() (string, int){}
		var opened []*rouse.Access
		l := &lab{boot: time.Millisecond, answer: takes(time.Second), open: func(s rouse.Spec) {
			mu.Lock()
			defer mu.Unlock()
			opened = append(opened, s.Access)
		}}
		p := newLab(t, l, Config{Access: func(f rouse.Function, running func() (string, int)) (*rouse.Access, error) {
			switch f.Name {
			case "none":
				return nil, nil
			case "broken":
				return nil, errors.New("broken")
			}
			mu.Lock()
			defer mu.Unlock()
			a := &rouse.Access{}
			given[a] = running
			return a, nil
		}})
		f := function("f", rouse.Limits{})
		var wg sync.WaitGroup
		ids := map[string]int{"one": 1, "two": 2}
		for id, hops := range ids {
			wg.Go(func() {
				lease, err := p.Lease(t.Context(), f, "")
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := lease.Answer(t.Context(), rouse.Invocation{ID: id, Hops: hops}, time.Now()); err != nil {
					t.Error(err)
				}
				lease.Release(false)
			})
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if len(opened) != 2 || len(given) != 2 {
			t.Fatalf("%d instances, %d accesses", len(opened), len(given))
		}
		for _, a := range opened {
			id, hops := given[a]()
			if ids[id] != hops || hops == 0 {
				t.Errorf("%q with %d hops runs", id, hops)
			}
			delete(ids, id)
		}
		wg.Wait()
		for _, running := range given {
			if id, hops := running(); id != "" || hops != 0 {
				t.Errorf("%q with %d hops runs after the end", id, hops)
			}
		}
		opened = nil
		if _, err := call(p, function("none", rouse.Limits{})); err != nil || len(opened) != 1 || opened[0] != nil {
			t.Errorf("%v %v", opened, err)
		}
		if _, err := call(p, function("broken", rouse.Limits{})); err == nil || err.Error() != "broken" {
			t.Errorf("%v", err)
		}
	})
}

// What code prints while it is loaded is of the activation that it is loaded for,
// also where it comes to nothing; loaded ahead, of none.
func TestLinesOfABoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{boot: time.Second, answer: takes(time.Second)}
		p := newLab(t, l, Config{})
		var mu sync.Mutex
		var of []string // guarded by mu; the activations of the lines
		p.Log = func(l rouse.Line) {
			mu.Lock()
			defer mu.Unlock()
			of = append(of, l.Text+l.Activation)
		}
		l.open = func(s rouse.Spec) { s.Log(rouse.Line{Text: "loads "}) }
		f := function("f", rouse.Limits{Log: 1 << 10})
		var work sync.WaitGroup
		for _, id := range []string{"one", "two"} {
			work.Go(func() {
				lease, err := p.Lease(t.Context(), f, id)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = lease.Answer(t.Context(), rouse.Invocation{ID: id}, time.Now())
				lease.Release(err != nil)
			})
			synctest.Wait()
		}
		work.Wait()
		bad := function("bad", rouse.Limits{Log: 1 << 10})
		l.fail = &rouse.BootError{Status: rouse.StatusFailed}
		if _, err := p.Lease(t.Context(), bad, "three"); err == nil {
			t.Error("it is loaded")
		}
		l.fail = nil
		p.Keep(function("ahead", rouse.Limits{Min: 1, Log: 1 << 10}))
		synctest.Wait()
		time.Sleep(2 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(of)
		if want := []string{"loads ", "loads one", "loads three", "loads two"}; !slices.Equal(of, want) {
			t.Errorf("%q, want %q", of, want)
		}
	})
}
