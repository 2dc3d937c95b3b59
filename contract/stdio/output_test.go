package stdio

import (
	"testing"
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

func TestATimerOfAnEarlierRunDoesNotEndThePatienceOfALaterOne(t *testing.T) {
	r := &told{}
	o := &output{event: rouse.Invocation{Reply: r}, limit: 100, timer: time.AfterFunc(time.Hour, func() {})}
	defer o.timer.Stop()
	o.held.WriteString("answer")
	o.due = time.Now().Add(time.Hour)
	o.look()
	if r.starts != 0 || !o.looking {
		t.Errorf("%d starts before the time; looks again: %v", r.starts, o.looking)
	}
	o.due = time.Now().Add(-time.Second)
	o.look()
	if r.starts != 1 || r.bytes != len("answer") {
		t.Errorf("%d starts and %d bytes after the time", r.starts, r.bytes)
	}
	o.started = false
	o.close()
	o.look()
	if r.starts != 1 || o.looking {
		t.Error("the answer of a run that has ended was begun")
	}
}
