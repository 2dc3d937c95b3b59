package schedule

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

func TestWhenATriggerFiresNext(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 30, 0, time.UTC)
	s := New(Config{Now: func() time.Time { return now }})
	at := func(minutes int) time.Time { return time.Date(2000, 1, 1, 0, minutes, 0, 0, time.UTC) }
	kept := func(of string, change func(*state)) []byte {
		table, err := read(json.RawMessage(of))
		if err != nil {
			t.Fatal(err)
		}
		st := state{Of: table.fingerprint(), Begun: at(0), Last: at(0)}
		change(&st)
		return st.encode()
	}
	const twice, daily = `{"cron":"* * * * *","times":2}`, `{"cron":"0 12 * * *"}`
	for name, c := range map[string]struct {
		config string
		state  []byte
		want   time.Time
	}{
		"new":                       {twice, nil, at(1)},
		"begun":                     {twice, kept(twice, func(s *state) { s.Fired, s.Last = 1, at(-5) }), at(-4)},
		"used up":                   {twice, kept(twice, func(s *state) { s.Fired = 2 }), time.Time{}},
		"used up, soon":             {twice, kept(twice, func(s *state) { s.Fired, s.Last = 2, at(1) }), at(1)},
		"another before":            {twice, kept(daily, func(s *state) { s.Fired, s.Last = 2, at(50) }), at(1)},
		"still to be fired for":     {`{"cron":"* * * * *"}`, kept(`{"cron":"* * * * *"}`, func(s *state) { s.Last = at(-9) }), at(-8)},
		"before its end":            {`{"cron":"0 12 * * *","until":"2000-01-01T12:00:01Z"}`, nil, at(720)},
		"not before its end":        {`{"cron":"0 12 * * *","until":"2000-01-01T12:00:00Z"}`, nil, time.Time{}},
		"once":                      {`{"at":"2000-01-01T00:09:00Z"}`, nil, at(9)},
		"paused":                    {`{"cron":"* * * * *","paused":true}`, nil, time.Time{}},
		"was paused, and goes on":   {`{"cron":"* * * * *"}`, kept(`{"cron":"* * * * *"}`, func(s *state) { s.Paused, s.Last = true, at(-9) }), at(1)},
		"is paused now, and wasn't": {`{"cron":"* * * * *","paused":true}`, kept(`{"cron":"* * * * *"}`, func(*state) {}), time.Time{}},
	} {
		if got, err := s.Next(json.RawMessage(c.config), c.state); !got.Equal(c.want) || err != nil {
			t.Errorf("%s: %v %v, want %v", name, got, err, c.want)
		}
	}
	if _, err := s.Next(json.RawMessage(`{"cron":"x"}`), nil); rouse.KindOf(err) != rouse.Invalid {
		t.Errorf("%v", err)
	}
	if _, err := s.Next(json.RawMessage(twice), []byte("x")); rouse.KindOf(err) != rouse.Internal || err == nil {
		t.Errorf("%v", err)
	}
}
