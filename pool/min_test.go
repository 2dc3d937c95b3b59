package pool

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
)

// A lateLab can't load anything before a time.
type lateLab struct {
	*lab
	ready time.Time
	tries atomic.Int32
}

func (l *lateLab) Open(ctx context.Context, s rouse.Spec) (rouse.Sandbox, error) {
	l.tries.Add(1)
	if time.Now().Before(l.ready) {
		return nil, &rouse.BootError{Status: rouse.StatusFailed, Failure: rouse.Failure{Type: "NotYet"}}
	}
	return l.lab.Open(ctx, s)
}

func TestMinIsKeptAfterBootsThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lateLab{lab: &lab{answer: takes(time.Second)}, ready: time.Now().Add(time.Hour)}
		p := newLab(t, l.lab, Config{Idle: time.Minute})
		p.Drivers = []rouse.Driver{l}
		f := function("f", rouse.Limits{Min: 2})
		p.Keep(f)
		time.Sleep(30 * time.Minute)
		if _, err := call(p, f); err == nil {
			t.Error("it is loaded")
		}
		if n := l.tries.Load(); n < 5 || n > 50 {
			t.Errorf("it was tried %d times in half an hour", n)
		}
		time.Sleep(time.Hour)
		if n, _ := p.Usage(); n != 2 {
			t.Errorf("%d instances are kept", n)
		}
	})
}

// The pauses grow with each attempt at all that are kept, not with each of those.
func TestMinIsTriedAgainSoonHoweverManyItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lateLab{lab: &lab{answer: takes(time.Second)}, ready: time.Now().Add(2500 * time.Millisecond)}
		p := newLab(t, l.lab, Config{Idle: time.Minute})
		p.Drivers = []rouse.Driver{l}
		p.Keep(function("f", rouse.Limits{Min: 8}))
		time.Sleep(10 * time.Second)
		if n, _ := p.Usage(); n != 8 {
			t.Errorf("%d instances are kept after %d attempts", n, l.tries.Load())
		}
	})
}

func TestACallThatFoundAnEmptyGroupLeavesNoInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLab(t, &lab{answer: takes(time.Second)}, Config{Idle: time.Minute})
		g, err := p.group(function("f", rouse.Limits{}))
		if err != nil {
			t.Fatal(err)
		}
		p.tidy(time.Now())
		lease, err := g.lease(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		lease.Release(false)
		time.Sleep(time.Hour)
		if n, _ := p.Usage(); n != 0 {
			t.Errorf("%d instances are left, which nobody knows", n)
		}
	})
}
