package inbox

import (
	"slices"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

// ahead has door emit an event ahead of its time, with a state.
func addAhead(t *testing.T, b *Inbox, due time.Time, state string, ids ...string) {
	t.Helper()
	m := event.Emission{Trigger: door, Due: due, State: []byte(state)}
	for _, id := range ids {
		m.Events = append(m.Events, rouse.Event{ID: id})
	}
	if err := b.AddMany(t.Context(), []event.Emission{m})[0]; err != nil {
		t.Fatal(err)
	}
}

func wantState(t *testing.T, b *Inbox, want string) {
	t.Helper()
	if got, err := b.State(t.Context(), door); err != nil || string(got) != want {
		t.Errorf("the state is %q, want %q: %v", got, want, err)
	}
}

func wantComing(t *testing.T, b *Inbox, want bool) {
	t.Helper()
	if got, err := b.Coming(t.Context(), door); err != nil || got != want {
		t.Errorf("there is something to come: %v, want %v: %v", got, want, err)
	}
}

func withdrawAll(t *testing.T, b *Inbox, but uint64) []uint64 {
	t.Helper()
	numbers, err := b.Withdraw(t.Context(), door, but)
	if err != nil {
		t.Fatal(err)
	}
	return numbers
}

// An event that is stored ahead is read at once, with when it is due, and found
// from then on.
func TestStoredAhead(t *testing.T) {
	b, c := open(t)
	due := c.now().Add(3 * time.Second)
	addAhead(t, b, due, "1", "a")
	es := all(t, b, "default")
	if len(es) != 1 || !es[0].Due.Equal(due) || !es[0].Event.Time.Equal(due) {
		t.Fatalf("%+v", es)
	}
	wantState(t, b, "1")
	wantComing(t, b, true)
	if _, err := b.Find(t.Context(), "default", "a"); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("it is found before it happens: %v", err)
	}
	c.advance(3 * time.Second)
	wantComing(t, b, false)
	if e, err := b.Find(t.Context(), "default", "a"); err != nil || e.ID != "a" {
		t.Errorf("%v %v", e, err)
	}
	if numbers := withdrawAll(t, b, 0); len(numbers) != 0 {
		t.Errorf("what has happened was withdrawn: %v", numbers)
	}
	wantState(t, b, "1")
}

// What is withdrawn is as if it had not been stored: it can come again, and the
// state is what it was.
func TestWithdraw(t *testing.T) {
	b, c := open(t)
	if numbers := withdrawAll(t, b, 0); len(numbers) != 0 {
		t.Errorf("%v", numbers)
	}
	due := c.now().Add(3 * time.Second)
	addAhead(t, b, due, "1", "a")
	first := all(t, b, "default")[0].Sequence
	if numbers := withdrawAll(t, b, first); len(numbers) != 0 {
		t.Errorf("withdrawn is %v, which is excepted", numbers)
	}
	if numbers := withdrawAll(t, b, first+1); !slices.Equal(numbers, []uint64{first}) {
		t.Errorf("withdrawn is %v, want %d", numbers, first)
	}
	wantState(t, b, "")
	wantComing(t, b, false)
	if es := all(t, b, "default"); len(es) != 0 {
		t.Errorf("there is %+v", es)
	}
	if err := b.Add(t.Context(), door, []rouse.Event{{ID: "before"}}, []byte("before")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // who does not know that it was stored stores it again
		addAhead(t, b, due, "2", "a", "b")
	}
	es := all(t, b, "default")
	if len(es) != 3 {
		t.Fatalf("%+v", es)
	}
	for _, e := range es {
		if is, err := b.Withdrawn(t.Context(), door, e.Sequence); is || err != nil {
			t.Errorf("%d was withdrawn: %v", e.Sequence, err)
		}
	}
	if numbers := withdrawAll(t, b, 0); len(numbers) != 2 {
		t.Errorf("withdrawn is %v", numbers)
	}
	wantState(t, b, "before")
	for _, e := range append(es[1:], data.Entry{Sequence: first}) {
		if is, err := b.Withdrawn(t.Context(), door, e.Sequence); !is || err != nil {
			t.Errorf("%d was not withdrawn: %v", e.Sequence, err)
		}
	}
	addAhead(t, b, due, "3", "a")
	c.advance(4 * time.Second)
	if e, err := b.Find(t.Context(), "default", "a"); err != nil || e.ID != "a" {
		t.Errorf("%v %v", e, err)
	}
	c.advance(8 * 24 * time.Hour)
	if err := b.Trim(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Find(t.Context(), "default", "a"); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("%v", err)
	}
	if is, err := b.Withdrawn(t.Context(), door, es[0].Sequence); is || err != nil {
		t.Errorf("what is forgotten was withdrawn: %v", err)
	}
	if err := b.Forget(t.Context(), door); err != nil {
		t.Fatal(err)
	}
	wantState(t, b, "")
}
