package rule

import (
	"errors"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// Of a message that is to be delivered again nothing is remembered until it is
// received again.
func TestWhatIsGivenBackIsForgotten(t *testing.T) {
	w := newWorld(t)
	w.queue("q")
	w.queue("dead")
	w.does(func(rouse.Invocation) error { return errors.New("never") })
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Queue: "q"}, To: event.Target{Function: "f"}, DeadLetter: &event.Target{Queue: "dead"}, Retry: event.Retry{Retry: rouse.Retry{Attempts: 5}}})
	for range 20 {
		w.send("q", "a")
	}
	w.inQueue("dead", 20)
	m := w.taken.Queue.(*messages)
	w.status("r", func(s event.Status) bool { return s.Waiting == 0 })
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.kept) > 0 {
		t.Errorf("%d are remembered", len(m.kept))
	}
}

// A clock that is put forward ends the lease of what is being delivered: the rest
// of its group waits all the same.
func TestAGroupWaitsThoughTheClockLeaps(t *testing.T) {
	w, shift := newShifted(t)
	w.fifo("q")
	m := &messenger{t: t, busy: map[string]bool{}, order: map[string][]string{}}
	begun, others := make(chan struct{}), make(chan struct{})
	w.does(func(in rouse.Invocation) error {
		texts, done := m.comes(in)
		defer done()
		switch texts[0] {
		case "a1":
			close(begun)
			<-others
		case "b9":
			close(others)
		}
		return nil
	})
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Queue: "q"}, To: event.Target{Function: "f"}, Batch: &event.Batch{Size: 3}})
	w.send("q", "a1")
	<-begun
	w.send("q", "a2", "a3", "a4")
	shift.Store(int64(time.Hour))
	for _, text := range []string{"b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9"} { // the queue is looked at
		w.send("q", text)
		n := text
		w.until(func(ran []rouse.Invocation) bool { return m.came("b") != "" && m.came("b")[len(m.came("b"))-2:] == n })
	}
	w.until(func([]rouse.Invocation) bool { return len(m.came("a")) == len("a1 a2 a3 a4") })
	if got := m.came("a"); got != "a1 a2 a3 a4" {
		t.Errorf("a: %s", got)
	}
}
