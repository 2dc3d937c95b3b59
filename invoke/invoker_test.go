package invoke

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

// A bare registry has no function.
type bare struct{ rouse.Registry }

func (bare) Function(_ context.Context, r rouse.Ref, _ string) (rouse.Function, error) {
	return rouse.Function{}, rouse.Errorf(rouse.NotFound, "find function", r.String(), "there is no such function")
}

func TestTheEndOfWhatLostItsFunctionIsRecorded(t *testing.T) {
	m := &memory{}
	r := newRecorder(t, m, time.Hour)
	v := New(Config{Registry: bare{}, Recorder: r, Log: slog.New(slog.DiscardHandler)})
	ref := rouse.Ref{Namespace: "default", Name: "gone"}
	for _, in := range []rouse.Invocation{{ID: "asked", Function: ref}, {ID: "accepted", Function: ref, Attempt: 2, Attempts: 5}} {
		if _, err := v.Invoke(t.Context(), in); rouse.KindOf(err) != rouse.NotFound {
			t.Errorf("%s: %v", in.ID, err)
		}
	}
	a, err := r.Activation(t.Context(), "accepted")
	if err != nil || a.Status != rouse.StatusRefused || a.Again || a.Function != ref || !strings.Contains(a.Failure.Message, "no such function") {
		t.Errorf("what was accepted: %+v, %v", a, err)
	}
	if _, err := r.Activation(t.Context(), "asked"); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("what was only asked for: %v", err)
	}
}
