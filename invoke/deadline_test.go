package invoke

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestADeadlineEndsAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, waits := range []bool{false, true} {
			parent, cancel := context.WithCancel(context.WithValue(t.Context(), t, "value"))
			d := newDeadline(parent, time.Now().Add(time.Second))
			cancel() // of no account
			at, ok := d.Deadline()
			if !ok || time.Until(at) != time.Second || d.Err() != nil || d.Value(t) != "value" {
				t.Errorf("%v %v %v %v", at, ok, d.Err(), d.Value(t))
			}
			if waits {
				<-d.Done()
				if time.Now() != at {
					t.Errorf("ended at %v, not %v", time.Now(), at)
				}
			} else {
				time.Sleep(time.Second + 1)
			}
			if !errors.Is(d.Err(), context.DeadlineExceeded) {
				t.Errorf("%v", d.Err())
			}
			d.close()
		}
	})
}
