package rule

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// Many triggers with a rule each, that make events in one transaction: each rule
// gets those of its own trigger, once, and one that is refused holds up no other.
func TestManyTriggersAtOnce(t *testing.T) {
	w := newWorld(t)
	const n = 60
	var all []event.Emission
	for i := range n {
		name := fmt.Sprint("t", i)
		if _, err := w.SetTrigger(t.Context(), event.Trigger{Ref: ref(name), Kind: "button", Config: json.RawMessage(`1`)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.SetRule(t.Context(), event.Rule{Ref: ref("r" + name), On: event.On{Trigger: name}, To: event.Target{Function: "f" + name}}); err != nil {
			t.Fatal(err)
		}
		all = append(all, event.Emission{Trigger: ref(name), Events: []rouse.Event{{ID: name + "/1"}, {ID: name + "/2"}}, State: fmt.Append(nil, i)})
	}
	all = append(all, event.Emission{Trigger: ref("gone"), Events: []rouse.Event{{ID: "x"}}})
	for i, err := range w.EmitMany(t.Context(), all) {
		if i < n && err != nil || i == n && rouse.KindOf(err) != rouse.NotFound {
			t.Errorf("%d: %v", i, err)
		}
	}
	ran := w.count(2 * n)
	seen := map[string]int{}
	for _, in := range ran {
		seen[in.Function.Name+" "+in.Cause]++
	}
	for i := range n {
		for _, id := range []string{"1", "2"} {
			if got := seen[fmt.Sprintf("ft%d t%d/%s", i, i, id)]; got != 1 {
				t.Errorf("event %s of t%d was delivered %d times", id, i, got)
			}
		}
		if state, err := w.State(t.Context(), ref(fmt.Sprint("t", i))); err != nil || string(state) != fmt.Sprint(i) {
			t.Errorf("state %q %v", state, err)
		}
	}
	if len(seen) != 2*n {
		t.Errorf("%d deliveries", len(seen))
	}
}
