package schedule

import (
	"time"

	"github.com/robfig/cron/v3"
)

// An hourly rhythm goes through all hours, so it goes by what clocks show at
// each moment: an hour that comes twice has all its firings twice, and one that
// is left out has none.
type hourly struct{ spec *cron.SpecSchedule }

func (h hourly) after(t time.Time) time.Time { return h.spec.Next(t.In(h.spec.Location)) }

// A daily rhythm names hours, so each of its times is meant once a day: where
// clocks are put back it fires at the first of the two, and where they are put
// forward over it, at the moment they are.
type daily struct {
	spec *cron.SpecSchedule // of the times that a clock shows, written as if they were UTC
	zone *time.Location
}

// maxShift is more than clocks are ever put forward or back by at once, but for
// islands that changed the side of the date line.
const maxShift = 3 * time.Hour

func (d daily) after(t time.Time) time.Time {
	shown := show(t.In(d.zone))
	if offset(t.Add(-maxShift).In(d.zone)) != offset(t.In(d.zone)) {
		shown = shown.Add(-maxShift) // what it shows may have come before
	}
	for {
		shown = d.spec.Next(shown)
		if shown.IsZero() {
			return shown
		}
		if at := d.first(shown); at.After(t) {
			return at
		}
	}
}

// first returns when clocks showed a time first, or were put forward over it.
func (d daily) first(shown time.Time) time.Time {
	const day = 24 * time.Hour
	before, after := offset(shown.Add(-day).In(d.zone)), offset(shown.Add(day).In(d.zone))
	early, late := shown.Add(-max(before, after)), shown.Add(-min(before, after))
	for _, at := range []time.Time{early, late} {
		if show(at.In(d.zone)).Equal(shown) {
			return at
		}
	}
	start, _ := shown.Add(-before).In(d.zone).ZoneBounds()
	return start
}

// show returns what a clock shows at t, as if it were UTC.
func show(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

func offset(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}
