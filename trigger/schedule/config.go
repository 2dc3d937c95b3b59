package schedule

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones must be known on hosts that have none

	"github.com/robfig/cron/v3"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/trigger"
)

// minEvery is the shortest distance of firings.
const minEvery = rouse.Duration(100 * time.Millisecond)

// What happens to firings that were missed.
const (
	missedOnce = "once"
	missedSkip = "skip"
	missedAll  = "all"
)

// A config is what a trigger of this kind is told: exactly one of its first three.
type config struct {
	Cron   string          `json:"cron,omitempty" doc:"when it fires: 5 fields, or 6 with seconds first, or @daily and the like; Sunday is 0 or 7"`
	Every  rouse.Duration  `json:"every,omitempty" doc:"how far apart firings are, from when the trigger was made or from 'from'; 100ms at least"`
	At     string          `json:"at,omitempty" doc:"when it fires once: RFC 3339, or a date"`
	Zone   string          `json:"zone" doc:"of cron, and of times without one; a name such as Europe/Berlin"`
	Missed string          `json:"missed" doc:"what becomes of firings that were missed while the server was away, and of an at that has passed: one for all of them, none, or each" values:"once,skip,all"`
	Data   json.RawMessage `json:"data,omitempty" doc:"is in each event"`
	From   string          `json:"from,omitempty" doc:"it does not fire before: RFC 3339, or a date"`
	Until  string          `json:"until,omitempty" doc:"it does not fire then, nor after"`
	Times  int             `json:"times,omitempty" doc:"how often it fires at most; 0 is any"`
	Paused bool            `json:"paused,omitempty" doc:"it does not fire; what is due meanwhile never does"`
}

// A timetable is a config understood.
type timetable struct {
	config
	rhythm      rhythm // nil where there is only at
	at          time.Time
	from, until time.Time // zero is none
}

// A rhythm says when something is due.
type rhythm interface {
	// after returns the first time after t, or zero where there is none.
	after(t time.Time) time.Time
}

// Describe says what triggers of this kind are.
func Describe() trigger.Kind {
	return trigger.Kind{Name: "schedule", About: "The time: by a cron expression, at even distances, or once. One of cron, every and at is given.",
		Fields:  trigger.Describe(defaults()),
		Event:   trigger.Event{Type: "schedule.fired", Subject: "the name of the trigger", ID: "the name of the trigger and when it was due", Data: trigger.Describe(body{})},
		Example: "nightly: {schedule: {cron: \"0 3 * * *\", zone: Europe/Berlin}}"}
}

func defaults() config { return config{Zone: "UTC", Missed: missedOnce} }

func read(raw json.RawMessage) (*timetable, error) {
	t := timetable{config: defaults()}
	if err := trigger.Decode(raw, &t.config); err != nil {
		return nil, err
	}
	switch t.Missed {
	case missedOnce, missedSkip, missedAll:
	default:
		return nil, invalid("missed", "it is %q; there are once, skip and all", t.Missed)
	}
	zone, err := time.LoadLocation(t.Zone)
	if err != nil || t.Zone == "" || t.Zone == "Local" {
		return nil, invalid("zone", "there is no zone %q; names are such as Europe/Berlin and UTC", t.Zone)
	}
	if t.Times < 0 {
		return nil, invalid("times", "it is %d; it must be at least 1, or left out for any number", t.Times)
	}
	if t.from, err = moment("from", t.From, zone); err != nil {
		return nil, err
	}
	if t.until, err = moment("until", t.Until, zone); err != nil {
		return nil, err
	}
	if !t.until.IsZero() && !t.from.Before(t.until) {
		return nil, invalid("until", "%s is not after from", t.Until)
	}
	return &t, t.setRhythm(zone)
}

func (t *timetable) setRhythm(zone *time.Location) (err error) {
	given := 0
	for _, is := range []bool{t.Cron != "", t.Every != 0, t.At != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return invalid("cron", "one of cron, every and at is wanted, and %d are given", given)
	case t.Cron != "":
		t.rhythm, err = readCron(t.Cron, zone)
	case t.At != "":
		t.at, err = moment("at", t.At, zone)
	case t.Every < minEvery:
		return invalid("every", "it is %v, %v is the least", t.Every, minEvery)
	}
	return err
}

// moment reads a time, or the beginning of a day.
func moment(field, s string, zone *time.Location) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, invalid(field, "%q is no time such as 2026-12-24T18:00:00+01:00, and no date such as 2026-12-24", s)
}

var parser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

func readCron(s string, zone *time.Location) (rhythm, error) {
	switch {
	case strings.Contains(s, "="):
		return nil, invalid("cron", "%q names a zone: use the field zone", s)
	case strings.HasPrefix(s, "@every"):
		return nil, invalid("cron", "%q is no cron expression: use the field every", s)
	}
	parsed, err := parser.Parse(sundays(s))
	if err != nil {
		return nil, invalid("cron", "%q can't be read: %w", s, err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, invalid("cron", "%q is no cron expression", s)
	}
	var r rhythm
	const everyHour = 1<<24 - 1
	if spec.Hour&everyHour == everyHour {
		spec.Location = zone
		r = hourly{spec}
	} else {
		spec.Location = time.UTC
		r = daily{spec, zone}
	}
	if r.after(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, invalid("cron", "%q never comes", s)
	}
	return r, nil
}

// weekdays are the names that the parser knows, from Sunday.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// sundays writes the seventh day of a week, which crontab(5) allows, as what the
// parser knows: the day 0.
func sundays(s string) string {
	fields := strings.Fields(s)
	if len(fields) < 5 {
		return s
	}
	items := strings.Split(fields[len(fields)-1], ",")
	for i, item := range items {
		span, step, _ := strings.Cut(item, "/")
		from, to, ranged := strings.Cut(span, "-")
		first := slices.Index(weekdays, strings.ToLower(from))
		if n, err := strconv.ParseUint(from, 10, 4); err == nil {
			first = int(n)
		}
		every, err := strconv.Atoi(cmp.Or(step, "1"))
		switch {
		case first < 0 || first > 7 || err != nil || every < 1:
		case ranged && to == "7":
			var days []string
			for day := first; day <= 7; day += every {
				days = append(days, strconv.Itoa(day%7))
			}
			items[i] = strings.Join(days, ",")
		case first == 7:
			items[i] = "0" + strings.TrimPrefix(item, from)
		}
	}
	fields[len(fields)-1] = strings.Join(items, ",")
	return strings.Join(fields, " ")
}

func invalid(field, format string, args ...any) error {
	return &rouse.Error{Op: "read config", Kind: rouse.Invalid, On: field, Err: fmt.Errorf(format, args...)}
}
