package rule

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

func (w *world) fifo(name string) {
	w.t.Helper()
	q := data.DefaultQueue(ref(name))
	q.Fifo = true
	if _, err := w.queues.Create(w.t.Context(), q); err != nil {
		w.t.Fatal(err)
	}
}

// send sends messages such as "a1", whose group is "a".
func (w *world) send(queue string, texts ...string) {
	w.t.Helper()
	var ms []data.Message
	for _, text := range texts {
		ms = append(ms, data.Message{Body: []byte(text), Group: text[:1]})
	}
	if _, err := w.queues.Send(w.t.Context(), ref(queue), ms); err != nil {
		w.t.Fatal(err)
	}
}

// A messenger sees to it that of each group one delivery runs at a time.
type messenger struct {
	t     *testing.T
	mu    sync.Mutex
	busy  map[string]bool
	order map[string][]string // the messages that came, by group
}

// comes takes what a function gets: one message, or several. It returns them, and
// what is to be called when they are done with.
func (m *messenger) comes(in rouse.Invocation) (texts []string, done func()) {
	type message struct {
		Subject string
		Data    string
	}
	all := make([]message, 1)
	if in.Event.Data[0] == '[' {
		all = nil
		if err := json.Unmarshal(in.Event.Data, &all); err != nil {
			m.t.Error(err)
		}
	} else if err := json.Unmarshal(in.Event.Data, &all[0]); err != nil {
		m.t.Error(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	group := all[0].Subject
	if m.busy[group] {
		m.t.Errorf("two deliveries of group %s at once", group)
	}
	m.busy[group] = true
	for _, one := range all {
		if one.Subject != group {
			m.t.Errorf("groups %s and %s in one batch", group, one.Subject)
		}
		texts = append(texts, one.Data)
		m.order[group] = append(m.order[group], one.Data)
	}
	return texts, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.busy[group] = false
	}
}

func (m *messenger) came(group string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.order[group], " ")
}

// The messages of a group come one after the other, also where one fails; those
// of other groups go on meanwhile.
func TestGroupsOfAFifoQueue(t *testing.T) {
	w := newWorld(t)
	w.fifo("q")
	w.fifo("dead")
	m := &messenger{t: t, busy: map[string]bool{}, order: map[string][]string{}}
	others := make(chan struct{})
	failed := 0
	w.does(func(in rouse.Invocation) error {
		texts, done := m.comes(in)
		defer done()
		switch texts[0] {
		case "a1": // until the other group is through
			<-others
		case "b3":
			close(others)
		case "a3":
			if failed++; failed < 3 {
				return errors.New("not yet")
			}
		case "a5":
			return errors.New("never")
		}
		return nil
	})
	w.send("q", "a1", "a2", "a3", "a4", "a5", "a6", "b1", "b2", "b3")
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Queue: "q"}, To: event.Target{Function: "f"}, DeadLetter: &event.Target{Queue: "dead"},
		Retry: event.Retry{Retry: rouse.Retry{Attempts: 3}}})
	w.count(13)
	if got := m.came("a"); got != "a1 a2 a3 a3 a3 a4 a5 a5 a5 a6" {
		t.Errorf("a: %s", got)
	}
	if got := m.came("b"); got != "b1 b2 b3" {
		t.Errorf("b: %s", got)
	}
	minute := time.Minute
	ds, err := w.queues.Receive(t.Context(), data.Receive{Queue: ref("dead"), Max: 10, Visibility: &minute, Wait: 10 * time.Second})
	if err != nil || len(ds) != 1 || ds[0].Group != "a" || !strings.Contains(string(ds[0].Body), `"data":"a5"`) {
		t.Errorf("%+v %v", ds, err)
	}
}

// A batch of a fifo queue is of one group. A part of it that failed holds up what
// is behind it.
func TestBatchesOfAFifoQueue(t *testing.T) {
	w := newWorld(t)
	w.fifo("q")
	m := &messenger{t: t, busy: map[string]bool{}, order: map[string][]string{}}
	failed := false
	w.does(func(in rouse.Invocation) error {
		texts, done := m.comes(in)
		defer done()
		if i := slices.Index(texts, "a4"); i >= 0 && !failed {
			failed = true
			var es []struct{ ID string }
			if err := json.Unmarshal(in.Event.Data, &es); err != nil {
				return err
			}
			return answer(fmt.Sprintf(`{"failures": [%q]}`, es[i].ID))
		}
		return nil
	})
	w.send("q", "a1", "a2", "a3", "a4", "a5", "b1", "c1", "c2", "a6", "a7", "a8")
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Queue: "q"}, To: event.Target{Function: "f"}, Batch: &event.Batch{Size: 3}, Parallel: 2})
	w.until(func([]rouse.Invocation) bool { return strings.HasSuffix(m.came("a"), "a8") })
	if got := m.came("a"); got != "a1 a2 a3 a4 a5 a6 a4 a7 a8" {
		t.Errorf("a: %s", got)
	}
	w.until(func([]rouse.Invocation) bool { return m.came("b") == "b1" && m.came("c") == "c1 c2" })
	_, err := w.SetRule(t.Context(), event.Rule{Ref: ref("r"), On: event.On{Queue: "q"}, To: event.Target{Function: "f"}, Batch: &event.Batch{Window: 1}})
	if rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), "batch.window") {
		t.Errorf("%v", err)
	}
}

// Where a batch is delivered in parts, none is before the one in front of it.
func TestPartsOfABatchOfAFifoQueue(t *testing.T) {
	for name, batch := range map[string]event.Batch{"halved": {Size: 3, Bisect: true}, "by size": {Size: 3, Bytes: 3}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fifo("q")
			m := &messenger{t: t, busy: map[string]bool{}, order: map[string][]string{}}
			failed := 0
			w.does(func(in rouse.Invocation) error {
				texts, done := m.comes(in)
				defer done()
				m.mu.Lock()
				defer m.mu.Unlock()
				if failed < 5 && slices.Contains(texts, "a2") {
					failed++
					return errors.New("not yet")
				}
				if failed < 5 && texts[0] == "a3" {
					t.Errorf("a3 came after %d failures of a2", failed)
				}
				return nil
			})
			w.send("q", "a1", "a2", "a3")
			w.rule(event.Rule{Ref: ref("r"), On: event.On{Queue: "q"}, To: event.Target{Function: "f"}, Batch: &batch, Retry: event.Retry{Retry: rouse.Retry{Attempts: 2}}})
			w.until(func([]rouse.Invocation) bool {
				m.mu.Lock()
				defer m.mu.Unlock()
				n := len(m.order["a"])
				return failed == 5 && n > 0 && m.order["a"][n-1] == "a3"
			})
		})
	}
}
