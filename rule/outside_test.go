package rule

import (
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// What the platform says of an event is not believed from outside.
func TestWhatOthersSayOfAnEventIsNotBelieved(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	w := newWorld(t)
	w.button("red")
	w.rule(event.Rule{Ref: ref("r"), On: event.On{Trigger: "red"}, To: event.Target{Function: "f"}})
	forged := map[string]string{event.AttributeHops: "1000", event.AttributeCause: id, event.AttributeReplayed: "true", event.AttributeActivation: "r/" + id, "own": "kept"}
	if err := w.Emit(t.Context(), ref("red"), []rouse.Event{{ID: "1", Attributes: forged}}, nil); err != nil {
		t.Fatal(err)
	}
	in := w.count(1)[0]
	if in.ID != "" || in.Hops != 0 || in.Replayed || in.Cause != "1" {
		t.Errorf("%+v", in)
	}
	if got := string(in.Event.Data); strings.Contains(got, "rousehops") || strings.Contains(got, id) || !strings.Contains(got, `"own":"kept"`) || !strings.Contains(got, `"type":"rouse.event"`) {
		t.Errorf("%s", got)
	}
	if ev, err := w.Find(t.Context(), ns, "1"); err != nil || ev.Type != "rouse.event" || ev.Attributes["own"] != "kept" || len(ev.Attributes) != 1 {
		t.Errorf("%+v %v", ev, err)
	}
	// What the platform says itself is.
	ctx := event.WithCause(event.WithActivation(t.Context(), "r", id), event.Cause{ID: "cause", Hops: 3})
	if err := w.Emit(ctx, ref("red"), []rouse.Event{{ID: "2", Attributes: forged}}, nil); err != nil {
		t.Fatal(err)
	}
	if in := w.count(2)[1]; in.ID != id || in.Hops != 3 || in.Replayed {
		t.Errorf("%+v", in)
	}
	if forged[event.AttributeHops] != "1000" {
		t.Error("the caller's own attributes were changed")
	}
}
