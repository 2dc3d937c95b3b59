package trigger

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rouse-run/rouse"
)

func TestDecodeNamesTheField(t *testing.T) {
	type config struct {
		Size int            `json:"size"`
		Wait rouse.Duration `json:"wait,omitempty"`
		Sub  struct {
			Name string `json:"name"`
		} `json:"sub"`
	}
	for given, field := range map[string]string{`{"size": "x"}`: "size", `{"wait": "x"}`: "wait", `{"sub": {"name": 1}}`: "sub.name", `{"sub": {"x": 1}}`: "sub",
		`{"sice": 1}`: "sice", `{"SIZE": 1}`: "SIZE", `[1]`: "", `{`: "", `null`: ""} {
		err := Decode(json.RawMessage(given), &config{})
		e, ok := errors.AsType[*rouse.Error](err)
		if !ok || e.Kind != rouse.Invalid || e.On != field {
			t.Errorf("%s: %v", given, err)
		}
		if field == "sice" && !strings.Contains(err.Error(), "size, wait, sub") {
			t.Errorf("it does not say what there is: %v", err)
		}
	}
	if err := Decode(json.RawMessage(`{"sub": [1]}`), &config{}); err == nil || !strings.Contains(err.Error(), "it is a list, and an object is wanted") {
		t.Errorf("it speaks of Go: %v", err)
	}
	c := config{Size: 7}
	if err := Decode(json.RawMessage(` {"wait": "2s"}`), &c); err != nil || c.Size != 7 || c.Wait != rouse.Duration(2*time.Second) {
		t.Errorf("%+v %v", c, err)
	}
	if err := Decode(nil, &c); err != nil {
		t.Error(err)
	}
}

// A storeless Emitter answers with what it is told, the last again and again.
type storeless struct {
	answers []error
	calls   int
}

func (s *storeless) Emit(context.Context, rouse.Ref, []rouse.Event, []byte) error {
	s.calls++
	return s.answers[min(s.calls, len(s.answers))-1]
}

func (s *storeless) State(context.Context, rouse.Ref) ([]byte, error) {
	return []byte("s"), s.Emit(context.Background(), rouse.Ref{}, nil, nil)
}

func TestPatience(t *testing.T) {
	away := rouse.Errorf(rouse.Unavailable, "emit", "x", "away")
	for _, c := range []struct {
		answers []error
		calls   int
		kind    rouse.Kind
	}{
		{[]error{nil}, 1, 0},
		{[]error{away, errors.New("who knows"), away, nil}, 4, 0},
		{[]error{away, rouse.Errorf(rouse.TooLarge, "emit", "x", "it is")}, 2, rouse.TooLarge},
		{[]error{rouse.Errorf(rouse.NotFound, "emit", "x", "it is")}, 1, rouse.NotFound},
		{[]error{away}, 18, rouse.Unavailable}, // within a minute: 50 ms, doubled up to 5 s
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s := &storeless{answers: c.answers}
			err := Patient{s, Logger(nil)}.Emit(ctx, rouse.Ref{}, nil, nil)
			if s.calls != c.calls || (err == nil) != (c.kind == 0) || err != nil && rouse.KindOf(err) != c.kind {
				t.Errorf("%v: %d calls, %v", c.answers, s.calls, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := &storeless{answers: []error{away, nil}}
		if b, err := (Patient{s, Logger(nil)}).State(t.Context(), rouse.Ref{}); string(b) != "s" || err != nil || s.calls != 2 {
			t.Errorf("%q %v after %d calls", b, err, s.calls)
		}
	})
}

func TestPayloads(t *testing.T) {
	for given, want := range map[string]string{"": `"" text`, "{}": "{} json", " 1 ": " 1  json", "{": `"{" text`, "é": `"é" text`, "\xff\x00": `"/wA=" base64`} {
		if p := Read([]byte(given)); string(p.Value)+" "+p.Encoding != want || !json.Valid(p.Value) {
			t.Errorf("%q: %s %s", given, p.Value, p.Encoding)
		}
	}
}

func TestRefusalsHideWhatIsInternal(t *testing.T) {
	for err, want := range map[error]string{
		errors.New("secret"):                            `500 {"error":{"kind":"internal","message":"internal error"}}`,
		rouse.Errorf(rouse.Throttled, "a", "b", "slow"): `429 {"error":{"kind":"throttled","message":"a b: slow"}}`,
	} {
		w := httptest.NewRecorder()
		Refuse(w, err)
		if got := w.Result().Status[:3] + " " + strings.TrimSpace(w.Body.String()); got != want {
			t.Errorf("%s", got)
		}
	}
}
