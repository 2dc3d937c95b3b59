package stdio

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
)

// told is a Reply that counts.
type told struct{ starts, bytes int }

func (r *told) Start(int, map[string][]string) { r.starts++ }

func (r *told) Write(b []byte) (int, error) {
	r.bytes += len(b)
	return len(b), nil
}

// An output whose timer still runs for an earlier run waits once more for its own.
func TestATimerOfAnEarlierRunDoesNotEndThePatienceOfALaterOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const patience = 5 * time.Millisecond
		r := &told{}
		o := &output{plain: map[string][]string{}, patience: patience, limit: 100}
		begin := func() {
			o.event = rouse.Invocation{Reply: r}
			if _, err := o.Write([]byte("answer")); err != nil {
				t.Error(err)
			}
		}
		after := func(d time.Duration, starts int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			o.mu.Lock()
			defer o.mu.Unlock()
			if r.starts != starts {
				t.Errorf("%d answers were begun, not %d", r.starts, starts)
			}
		}
		begin() // and end at once
		o.close()
		o.reset()
		after(patience-1, 0)
		begin() // the other's timer calls at once
		after(1, 0)
		after(patience-1, 0)
		after(1, 1)
		o.close()
		o.reset()
		begin() // after no other: its own patience is enough
		after(patience-1, 1)
		after(1, 2)
		o.reset()
		begin()
		o.close()
		after(3*patience, 2) // it has ended
		o.reset()
		o.patience = time.Hour
		begin()
		o.close()
		o.reset()
		o.patience = patience
		begin() // it does not wait as long as another would have
		after(patience, 3)
		if r.bytes != 3*len("answer") {
			t.Errorf("%d bytes", r.bytes)
		}
	})
}

// A head that comes in pieces goes out as soon as the last of them has waited.
func TestAHeadThatComesInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const patience = 5 * time.Millisecond
		r := &told{}
		o := &output{plain: map[string][]string{}, patience: patience, limit: 100, event: rouse.Invocation{Reply: r}}
		for i, piece := range []string{"Status: 404\nX-Color: red\n", "\nnot here"} {
			if _, err := o.Write([]byte(piece)); err != nil {
				t.Error(err)
			}
			time.Sleep(patience)
			synctest.Wait()
			o.mu.Lock()
			if r.starts != i {
				t.Errorf("%d answers were begun after %q", r.starts, piece)
			}
			o.mu.Unlock()
		}
		if r.bytes != len("not here") {
			t.Errorf("%d bytes", r.bytes)
		}
	})
}
