package pool

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
)

// Code that takes long to load, or never ends to, keeps no other from it.
func TestSlowBootsHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{answer: takes(time.Millisecond), open: func(s rouse.Spec) {
			if s.Function.Name != "quick" {
				time.Sleep(time.Hour)
			}
		}}
		p := newLab(t, l, Config{})
		var slow sync.WaitGroup
		for i := range 3 * p.Boots {
			slow.Go(func() {
				if _, err := call(p, function(fmt.Sprint("slow", i), rouse.Limits{})); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		if _, err := call(p, function("quick", rouse.Limits{})); err != nil || time.Since(began) > 4*bootTurn {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		slow.Wait()
	})
}

// Who waits for an instance that is being booted hears what becomes of that,
// however long it takes.
func TestWhoWaitsForABootHearsOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, limits := range []rouse.Limits{{}, {Max: 1}, {Max: 2}} {
			l := &lab{boot: 5 * time.Minute, answer: takes(time.Millisecond)}
			p := newLab(t, l, Config{})
			if failed := calls(p, function("f", limits), 5); failed > 0 {
				t.Errorf("at most %d: %d of 5 failed", limits.Max, failed)
			}
		}
		l := &lab{boot: 5 * time.Minute, fail: &rouse.BootError{Status: rouse.StatusTimedOut}}
		p := newLab(t, l, Config{})
		began := time.Now()
		if _, err := call(p, function("f", rouse.Limits{})); !errors.As(err, new(*rouse.BootError)) || time.Since(began) != 5*time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// Where instances are there, and busy, a wait has its end, whatever boots beside.
func TestABootBesideIsNoReasonToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick := true
		l := &lab{answer: takes(time.Hour), open: func(rouse.Spec) {
			if !quick {
				time.Sleep(time.Hour)
			}
		}}
		p := newLab(t, l, Config{})
		f := function("f", rouse.Limits{Max: 2})
		held, err := p.Lease(t.Context(), f, "")
		if err != nil {
			t.Fatal(err)
		}
		quick = false
		var first sync.WaitGroup
		first.Go(func() { // it is what the other is booted for
			if lease, err := p.Lease(t.Context(), f, ""); err != nil {
				t.Error(err)
			} else {
				lease.Release(false)
			}
		})
		time.Sleep(time.Second)
		began := time.Now()
		if _, err := p.Lease(t.Context(), f, ""); rouse.KindOf(err) != rouse.Throttled || time.Since(began) < p.Wait || time.Since(began) > p.Wait+2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		first.Wait()
		held.Release(false)
	})
}
