package schedule

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/rouse-run/rouse"
)

// A state is what a trigger remembers; it is stored with the events it is about.
type state struct {
	Of    string    `json:"of"`    // the rhythm that it is a state of
	Begun time.Time `json:"begun"` // when that began
	Last  time.Time `json:"last"`  // up to when all that was due is done
	Fired int       `json:"fired"` // how often it fired

	Paused bool `json:"paused,omitempty"`
}

func (s state) encode() []byte {
	b, _ := json.Marshal(s) // nothing in it can't be written
	return b
}

// fingerprint tells rhythms apart. Data, what to do about missed firings and
// whether it is paused may change without the trigger beginning anew.
func (t *timetable) fingerprint() string {
	c := t.config
	c.Data, c.Missed, c.Paused = nil, "", false
	b, _ := json.Marshal(c) // it was JSON before
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// turned returns s as it is now that the trigger is paused, or goes on: not with
// what was due while it was.
func (s state) turned(paused bool, now time.Time) state {
	if s.Paused && !paused && now.After(s.Last) {
		s.Last = now.UTC().Round(0)
	}
	s.Paused = paused
	return s
}

// next returns when a trigger is due after its last time; zero is never.
func (t *timetable) next(s state) time.Time {
	if s.Paused || t.Times > 0 && s.Fired >= t.Times {
		return time.Time{}
	}
	at := t.after(s, s.Last)
	if at.IsZero() || !t.until.IsZero() && !at.Before(t.until) {
		return time.Time{}
	}
	return at
}

func (t *timetable) after(s state, last time.Time) time.Time {
	if !t.from.IsZero() && last.Before(t.from) {
		last = t.from.Add(-1) // at from itself it may fire
	}
	switch {
	case t.rhythm != nil:
		return t.rhythm.after(last)
	case t.At == "":
		return t.step(s, last)
	case t.at.After(last):
		return t.at
	}
	return time.Time{}
}

// step returns the first whole number of steps that is after last. Those from a
// given time begin with it, and others one step after the trigger began.
func (t *timetable) step(s state, last time.Time) time.Time {
	start, every := s.Begun.Add(time.Duration(t.Every)), time.Duration(t.Every)
	if !t.from.IsZero() {
		start = t.from
	}
	if last.Before(start) {
		return start
	}
	return start.Add((last.Sub(start)/every + 1) * every)
}

// begin is the state of a trigger that begins at a time. One whose only time has
// passed is due, unless it is to skip what was missed.
func (t *timetable) begin(now time.Time) state {
	s := state{Of: t.fingerprint(), Begun: now, Last: now, Paused: t.Paused}
	if t.At != "" && !t.at.After(now) && t.Missed != missedSkip {
		s.Last = t.at.Add(-1).UTC()
	}
	return s
}

// A firing is one event to be made.
type firing struct {
	due    time.Time
	missed int // firings that it stands for besides its own
}

// Bounds of what is made up for.
const (
	maxMissed = 1000        // firings that "all" makes up for, the newest
	tolerance = time.Minute // lateness from which on "skip" drops a firing
)

// due returns what is to fire by now, and the state after it. dropped is how
// many firings will never be; of very many not all are counted.
func (t *timetable) due(s state, now time.Time) (fs []firing, after state, dropped int) {
	times := t.passed(s, now)
	after = s
	if len(times) == 0 {
		return nil, after, 0
	}
	newest := times[len(times)-1]
	after.Last = newest
	passed := len(times)
	switch {
	case t.Missed == missedAll:
		times = times[max(0, passed-maxMissed):]
		if t.Times > 0 {
			times = times[:min(len(times), t.Times-s.Fired)]
		}
		for _, at := range times {
			fs = append(fs, firing{due: at})
		}
		dropped = passed - len(times)
	case t.Missed == missedSkip && now.Sub(newest) > tolerance:
		dropped = passed
	case t.Missed == missedSkip:
		fs, dropped = []firing{{due: newest}}, passed-1
	default:
		fs = []firing{{due: newest, missed: passed - 1}}
	}
	after.Fired += len(fs)
	return fs, after, dropped
}

// passed returns when a trigger was due up to now: all, or where they are very
// many at least the newest maxMissed. It looks back further and further, so that
// years of seconds cost no minutes.
func (t *timetable) passed(s state, now time.Time) []time.Time {
	const most = 10 * 365 * 24 * time.Hour
	for window := time.Minute; ; window *= 60 {
		from := s
		if start := now.Add(-window); window < most && start.After(s.Last) {
			from.Last = start
		}
		var times []time.Time
		all := from.Last.Equal(s.Last)
		for {
			at := t.next(from)
			if at.IsZero() || at.After(now) {
				break
			}
			from.Last = at
			times = append(times, at)
		}
		if all || len(times) > maxMissed {
			return times
		}
	}
}

// A body is the data of an event.
type body struct {
	Schedule string          `json:"schedule" doc:"the name of the trigger"`
	Due      time.Time       `json:"due" doc:"when it was due"`
	Missed   int             `json:"missed,omitempty" doc:"how many firings that were missed it stands for besides"`
	Data     json.RawMessage `json:"data,omitempty" doc:"of the config"`
}

// fire makes the event of a firing. Its ID is the same whenever it is made.
func (t *timetable) fire(r rouse.Ref, f firing, now time.Time) (rouse.Event, error) {
	due := f.due.UTC()
	b, err := json.Marshal(body{r.Name, due, f.missed, t.Data})
	if err != nil {
		return rouse.Event{}, err
	}
	return rouse.Event{ID: r.Name + "/" + due.Format(time.RFC3339Nano), Type: "schedule.fired", Source: "trigger:" + r.Name,
		Subject: r.Name, Time: now.UTC(), ContentType: "application/json", Data: b}, nil
}
