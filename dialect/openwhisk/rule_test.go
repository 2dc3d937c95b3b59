package openwhisk

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
)

// fires makes a trigger fire as its owner does, and says how often its action ran.
func (p *platform) fires(trigger string, status int) (ran int) {
	p.t.Helper()
	if got, said := p.ask(rouse.DefaultNamespace, "POST", "_/triggers/"+trigger, fields{}); got != status {
		p.t.Errorf("%s: %d, not %d: %s", trigger, got, status, said)
	}
	synctest.Wait()
	return len(p.seen("probe-" + trigger))
}

// What is said of a trigger that is paused is so, and to enable a rule of it ends
// that.
func TestATriggerThatIsPaused(t *testing.T) {
	bubble(t, func(t *testing.T, p *platform) {
		const ns = rouse.DefaultNamespace
		p.must(ns, "PUT", "_/triggers/bell", fields{})
		p.lead("bell")
		shows := func(when, status string) {
			t.Helper()
			for _, path := range []string{"_/rules/rule-bell", "_/triggers/bell"} {
				if said := p.must(ns, "GET", path, nil); !strings.Contains(said, `"status":"`+status+`"`) {
					t.Errorf("%s, %s: %s", when, path, said)
				}
			}
		}
		shows("at first", statusActive)
		if ran := p.fires("bell", http.StatusAccepted); ran != 1 {
			t.Errorf("it ran %d times", ran)
		}
		if err := p.Control.Pause(t.Context(), handOver(ns, "bell"), "fuse: it led to itself"); err != nil {
			t.Fatal(err)
		}
		shows("paused", statusInactive)
		if ran := p.fires("bell", http.StatusConflict); ran != 0 {
			t.Errorf("paused, it ran %d times", ran)
		}
		if said := p.must(ns, "PUT", "_/rules/rule-bell?overwrite=true", fields{}); !strings.Contains(said, `"status":"inactive"`) {
			t.Errorf("updated: %s", said)
		}
		p.must(ns, "POST", "_/rules/rule-bell", fields{"status": statusActive})
		shows("enabled", statusActive)
		if ran := p.fires("bell", http.StatusAccepted); ran != 1 {
			t.Errorf("enabled, it ran %d times", ran)
		}
		p.must(ns, "POST", "_/rules/rule-bell", fields{"status": statusInactive})
		if ran := p.fires("bell", http.StatusNoContent); ran != 0 {
			t.Errorf("disabled, it ran %d times", ran)
		}
	})
}

// A trigger that has led to itself without end works again, and so does one of its
// name that is made anew.
func TestATriggerThatLedToItself(t *testing.T) {
	bubble(t, func(t *testing.T, p *platform) {
		const ns = rouse.DefaultNamespace
		create := func() {
			p.must(ns, "PUT", "_/triggers/bell", fields{})
			p.lead("bell")
		}
		loop := func() {
			t.Helper()
			ctx := event.WithCause(t.Context(), event.Cause{ID: "before", Hops: 100})
			if err := p.Control.Emit(ctx, rouse.Ref{Namespace: ns, Name: "bell"}, []rouse.Event{{Type: "trigger.fired", Data: []byte("{}")}}, nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if ran := p.seen("probe-bell"); len(ran) != 0 {
				t.Errorf("the action ran for what had come through too many: %q", ran)
			}
		}
		create()
		loop()
		if ran := p.fires("bell", http.StatusAccepted); ran != 1 {
			t.Errorf("after the loop it ran %d times", ran)
		}
		loop()
		p.must(ns, "DELETE", "_/rules/rule-bell", nil)
		p.must(ns, "DELETE", "_/triggers/bell", nil)
		create()
		if ran := p.fires("bell", http.StatusAccepted); ran != 1 {
			t.Errorf("made again it ran %d times", ran)
		}
	})
}
