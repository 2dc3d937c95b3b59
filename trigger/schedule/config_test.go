package schedule

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

// Sunday is the day 0 and the day 7, as in crontab(5).
func TestTheSeventhDay(t *testing.T) {
	days := func(expression string) (days [7]bool) {
		t.Helper()
		r, err := readCron(expression, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 1, 3, 23, 0, 0, 0, time.UTC) // a Saturday
		for end := at.Add(7 * 24 * time.Hour); ; {
			if at = r.after(at); at.After(end) {
				return days
			}
			days[at.Weekday()] = true
		}
	}
	for _, c := range []struct{ with, without string }{
		{"0 0 * * 7", "0 0 * * 0"}, {"0 0 * * 5-7", "0 0 * * 5,6,0"}, {"0 0 * * 1-7/2", "0 0 * * 1,3,5,0"}, {"0 0 * * 7-7", "0 0 * * 0"},
		{"0 0 * * 1,7", "0 0 * * 1,0"}, {"0 0 * * fri-7", "0 0 * * 5,6,0"}, {"30 0 0 * * 7", "30 0 0 * * 0"}, {"0 0 * * 0-7", "0 0 * * 0-6"}, {"0 0 * * 6", "0 0 * * SAT"},
		{"0 0 * * 7-2", "0 0 * * 0-2"}, {"0 0 * * 7-tue", "0 0 * * 0,1,2"}, {"0 0 * * 7/2", "0 0 * * 0,2,4,6"}, {"0 0 * * 7-4/2,5", "0 0 * * 0,2,4,5"},
	} {
		if got, want := days(c.with), days(c.without); got != want {
			t.Errorf("%s is %v, want %v", c.with, got, want)
		}
	}
	for _, bad := range []string{"0 0 * * 8", "0 0 * * 7-8", "0 0 * * 6-5", "0 0 * * 7/0", "7 7 7 7", "0 0 * * 1-7/x"} {
		if _, err := readCron(bad, time.UTC); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// A schedule that would never fire is not begun; what has come to that is well.
func TestWhatWouldNeverFireIsRefused(t *testing.T) {
	s := New(Config{Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }})
	for config, field := range map[string]string{
		`{"at": "2020-01-01", "missed": "skip"}`:                         "at",
		`{"at": "2026-02-01", "until": "2026-01-15"}`:                    "at",
		`{"every": "1h", "until": "2025-01-01"}`:                         "until",
		`{"cron": "0 0 1 2 *", "until": "2026-01-31"}`:                   "until",
		`{"at": "2020-01-01"}`:                                           "",
		`{"at": "2020-01-01", "missed": "all"}`:                          "",
		`{"at": "2026-01-01T00:00:01Z", "missed": "skip"}`:               "",
		`{"at": "2020-01-01", "missed": "skip", "paused": true}`:         "",
		`{"every": "1h", "until": "2025-01-01", "paused": true}`:         "",
		`{"cron": "0 0 1 2 *", "until": "2026-02-02", "missed": "skip"}`: "",
	} {
		raw, err := s.Check(json.RawMessage(config))
		if err != nil {
			t.Fatal(err)
		}
		err = s.CheckNew(raw)
		e, ok := errors.AsType[*rouse.Error](err)
		if (err == nil) != (field == "") || field != "" && (!ok || e.Kind != rouse.Invalid || e.On != field) {
			t.Errorf("%s: %v", config, err)
		}
	}
}
