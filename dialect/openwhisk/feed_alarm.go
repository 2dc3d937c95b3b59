package openwhisk

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/internal/ident"
)

// kindSchedule is the native kind of triggers that a clock fires.
const kindSchedule = "schedule"

// firstInterval is after which an interval fires first, where nobody says when.
const firstInterval = 30 * time.Second

// What becomes of a trigger that has fired once.
const (
	deleteNever = "false"
	deleteIt    = "true"
	deleteRules = "rules" // those of the trigger as well
)

// The kinds of alarms.
const (
	alarmCron     = "alarm"
	alarmInterval = "interval"
	alarmOnce     = "once"
)

// An alarm is what a feed of the package alarms was told.
type alarm struct {
	Kind            string          `json:"kind"`
	Cron            string          `json:"cron,omitempty"`
	Timezone        string          `json:"timezone,omitempty"`
	Minutes         int             `json:"minutes,omitempty"`
	Date            json.RawMessage `json:"date,omitempty"` // this and the next two as they were given
	StartDate       json.RawMessage `json:"startDate,omitempty"`
	StopDate        json.RawMessage `json:"stopDate,omitempty"`
	Payload         json.RawMessage `json:"payload"`
	MaxTriggers     int             `json:"maxTriggers"`      // -1 is any number
	Strict          bool            `json:"strict,omitempty"` // nothing to us, who are never late on purpose
	DeleteAfterFire string          `json:"deleteAfterFire,omitempty"`
}

// alarmFeed is one of the feeds of the package alarms.
type alarmFeed struct {
	*Door
	kind string
}

// instant reads a date: milliseconds since 1970, or a text.
func instant(v json.RawMessage) (time.Time, bool) {
	var ms float64
	if json.Unmarshal(v, &ms) == nil {
		return time.UnixMilli(int64(ms)).UTC(), true
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02", time.RFC1123, time.RFC1123Z, "Mon Jan 02 2006 15:04:05 GMT-0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// shownDate is a date as texts of errors have it.
func shownDate(v json.RawMessage) string { return parameters{"": v}.text("") }

// date reads the date of a parameter, which must be yet to come, and after start
// where there is one.
func (a alarmFeed) date(p parameters, name string, start json.RawMessage) (json.RawMessage, error) {
	v := p[name]
	wrong := func(what string) (json.RawMessage, error) {
		return nil, refuse(http.StatusBadRequest, "%s parameter '%s' %s", name, shownDate(v), what)
	}
	t, ok := instant(v)
	if !ok {
		return wrong("is not a valid Date")
	}
	if !t.After(a.Now()) {
		return wrong("must be in the future")
	}
	if from, ok := instant(start); ok && !t.After(from) {
		return wrong("must be greater than the startDate parameter '" + shownDate(start) + "'")
	}
	return v, nil
}

// maxMinutes is about a hundred years.
const maxMinutes = 100 * 366 * 24 * 60

// minutes reads the length of an interval.
func minutes(p parameters) (int, error) {
	text := p.text("minutes")
	n, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || n != float64(int(n)):
		return 0, refuse(http.StatusBadRequest, "the minutes parameter must be an integer")
	case n > maxMinutes:
		return 0, refuse(http.StatusBadRequest, "the minutes parameter must be at most %d", maxMinutes)
	case n <= 0:
		return 0, refuse(http.StatusBadRequest, "the minutes parameter must be an integer greater than zero")
	}
	return int(n), nil
}

// deletion reads what becomes of a trigger that has fired once.
func deletion(p parameters) (string, error) {
	s := strings.ToLower(strings.TrimSpace(p.text("deleteAfterFire")))
	switch s {
	case deleteNever, deleteIt, deleteRules:
		return s, nil
	}
	return "", refuse(http.StatusBadRequest, "deleteAfterFire parameter must be one of [false, true, rules].")
}

// alarmPayload is what a trigger's actions get.
func alarmPayload(p parameters) json.RawMessage {
	v := p["trigger_payload"]
	if text := ""; json.Unmarshal(v, &text) == nil && string(v) != "null" {
		b, _ := json.Marshal(map[string]string{"payload": text}) // strings always marshal
		return b
	}
	if !p.has("trigger_payload") {
		return json.RawMessage("{}")
	}
	return v
}

// asked reads what a new alarm is to be.
func (a alarmFeed) asked(p parameters) (al alarm, err error) {
	al = alarm{Kind: a.kind, Payload: alarmPayload(p), MaxTriggers: -1, Strict: p.has("strict")}
	if p.has("maxTriggers") {
		if al.MaxTriggers, err = strconv.Atoi(p.text("maxTriggers")); err != nil {
			return al, refuse(http.StatusBadRequest, "the maxTriggers parameter must be an integer")
		}
	}
	if a.kind == alarmOnce {
		return al, a.askedOnce(p, &al)
	}
	if a.kind == alarmInterval {
		if !p.has("minutes") {
			return al, refuse(http.StatusBadRequest, "interval trigger feed is missing the minutes parameter")
		}
		if al.Minutes, err = minutes(p); err != nil {
			return al, err
		}
		al.StartDate, _ = json.Marshal(a.Now().Add(firstInterval).UnixMilli()) // a number always can be
	} else {
		if !p.has("cron") {
			return al, refuse(http.StatusBadRequest, "alarms trigger feed is missing the cron parameter")
		}
		al.Cron, al.Timezone = p.text("cron"), p.text("timezone")
	}
	if p.has("startDate") {
		if al.StartDate, err = a.date(p, "startDate", nil); err != nil {
			return al, err
		}
	}
	switch {
	case p.has("maxTriggers") && p.has("stopDate") && a.kind == alarmInterval:
		return al, refuse(http.StatusBadRequest, "maxTriggers is not supported for the interval trigger feed")
	case p.has("maxTriggers") && p.has("stopDate"):
		return al, refuse(http.StatusBadRequest, "maxTriggers is not allowed when the stopDate parameter is specified")
	case p.has("stopDate"):
		al.StopDate, err = a.date(p, "stopDate", al.StartDate)
	}
	return al, err
}

func (a alarmFeed) askedOnce(p parameters, al *alarm) (err error) {
	if !p.has("date") {
		return refuse(http.StatusBadRequest, "alarms once trigger feed is missing the date parameter")
	}
	if al.Date, err = a.date(p, "date", nil); err == nil && p.has("deleteAfterFire") {
		al.DeleteAfterFire, err = deletion(p)
	}
	return err
}

// scheduled is what a native trigger of an alarm is told.
type scheduled struct {
	Cron   string          `json:"cron,omitempty"`
	Every  string          `json:"every,omitempty"`
	At     string          `json:"at,omitempty"`
	Zone   string          `json:"zone,omitempty"`
	Missed string          `json:"missed"`
	From   string          `json:"from,omitempty"`
	Until  string          `json:"until,omitempty"`
	Times  int             `json:"times,omitempty"`
	Paused bool            `json:"paused,omitempty"`
	Data   json.RawMessage `json:"data"`
}

func (al alarm) scheduled(paused bool) scheduled {
	at := func(v json.RawMessage) string {
		if t, ok := instant(v); ok {
			return t.Format(time.RFC3339Nano)
		}
		return ""
	}
	s := scheduled{Cron: al.Cron, At: at(al.Date), From: at(al.StartDate), Until: at(al.StopDate), Zone: al.Timezone, Missed: "skip", Times: max(al.MaxTriggers, 0),
		Paused: paused, Data: al.Payload}
	switch al.Kind {
	case alarmInterval:
		s.Every = (time.Duration(al.Minutes) * time.Minute).String()
	case alarmOnce: // also where the server was down
		s.Missed, s.Times = "once", 0
	}
	return s
}

// set makes the trigger of an order fire as al says.
func (a alarmFeed) set(ctx context.Context, o order, al alarm, paused bool) error {
	err := a.native(ctx, o, kindSchedule, al.scheduled(paused), feed{Alarm: &al, Paused: paused})
	if e, ok := errors.AsType[*rouse.Error](err); ok && e.Kind == rouse.Invalid {
		switch field, _, _ := strings.Cut(e.Err.Error(), ":"); field {
		case "cron":
			return refuse(http.StatusBadRequest, "cron pattern '%s' is not valid", al.Cron)
		case "zone":
			return refuse(http.StatusBadRequest, "Invalid timezone.")
		}
	}
	return err
}

// create implements feeder.
func (a alarmFeed) create(ctx context.Context, o order) (any, error) {
	al, err := a.asked(o.given)
	if err == nil && al.StopDate != nil {
		if never, known, e := a.never(ctx, o, al); e == nil && known && never { // what is wrong with it is said below
			err = refuse(http.StatusBadRequest, "the first scheduled trigger fire is not until after the stop date")
		}
	}
	if err == nil {
		err = a.set(ctx, o, al, false)
	}
	if err == nil && al.deletes() {
		err = a.attached(ctx, o.ns, o.name) // so that it is seen to fire, also without a rule
	}
	return success, err
}

func (al alarm) deletes() bool {
	return al.DeleteAfterFire == deleteIt || al.DeleteAfterFire == deleteRules
}

var errOtherFeed = &refusal{http.StatusBadRequest, "the trigger is fed by another feed"}

// read implements feeder.
func (a alarmFeed) read(_ order, f feed) (map[string]any, error) {
	if f.Alarm == nil {
		return nil, errOtherFeed
	}
	al := f.Alarm
	shown := map[string]any{"payload": al.Payload}
	for name, v := range map[string]json.RawMessage{"date": al.Date, "startDate": al.StartDate, "stopDate": al.StopDate} {
		if v != nil {
			shown[name] = v
		}
	}
	switch al.Kind {
	case alarmOnce:
		if al.DeleteAfterFire != "" {
			shown["deleteAfterFire"] = al.DeleteAfterFire
		}
	case alarmInterval:
		shown["minutes"] = al.Minutes
	default:
		shown["cron"] = al.Cron
		if al.Timezone != "" {
			shown["timezone"] = al.Timezone
		}
	}
	if al.MaxTriggers > 0 && al.Kind != alarmOnce {
		shown["maxTriggers"] = al.MaxTriggers
	}
	return shown, nil
}

// Why alarms fire no more, as their clients know it.
const (
	endedOnce     = "Automatically disabled after firing once"
	endedTimes    = "Automatically disabled after reaching max triggers"
	endedCron     = "Automatically disabled after firing last scheduled cron trigger"
	endedInterval = "Automatically disabled after firing last scheduled interval trigger"
)

// expired reports whether the time of an alarm that fires once has come.
func (f feed) expired(now time.Time) bool {
	if f.Alarm == nil {
		return false
	}
	t, ok := instant(f.Alarm.Date)
	return ok && !t.After(now)
}

// never reports whether the trigger of an order will never fire, or never more, as
// al says; known is false where that can't be told.
func (d *Door) never(ctx context.Context, o order, al alarm) (never, known bool, err error) {
	raw, err := json.Marshal(al.scheduled(false))
	if err != nil {
		return false, false, err
	}
	at, known, err := d.Control.Next(ctx, event.Trigger{Ref: rouse.Ref{Namespace: o.ns, Name: encode(o.name)}, Kind: kindSchedule, Config: raw})
	return at.IsZero(), known, err
}

// stopped says why a trigger fires no more; "" where it may.
func (d *Door) stopped(ctx context.Context, o order, f feed) (string, error) {
	switch {
	case f.expired(d.Now()):
		return endedOnce, nil
	case f.Alarm == nil || f.Paused:
		return "", nil
	}
	never, known, err := d.never(ctx, o, *f.Alarm)
	switch {
	case err != nil || !never || !known:
		return "", err
	case f.Alarm.MaxTriggers > 0:
		return endedTimes, nil
	case f.Alarm.Kind == alarmInterval:
		return endedInterval, nil
	}
	return endedCron, nil
}

// update implements feeder. A trigger that was paused goes on.
func (a alarmFeed) update(ctx context.Context, o order, f feed) error {
	if f.Alarm == nil {
		return errOtherFeed
	}
	al, p := *f.Alarm, o.given
	changed := p.has("trigger_payload")
	if changed {
		al.Payload = alarmPayload(p)
	}
	of := map[string][]string{alarmCron: {"cron", "timezone", "startDate", "stopDate"}, alarmInterval: {"minutes", "startDate", "stopDate"}, alarmOnce: {"date", "deleteAfterFire"}}
	for _, name := range of[al.Kind] {
		if !p.has(name) {
			continue
		}
		changed = true
		if err := a.change(&al, p, name); err != nil {
			return err
		}
	}
	if !changed {
		return refuse(http.StatusBadRequest, textNothingNew)
	}
	from, started := instant(al.StartDate)
	if until, ok := instant(al.StopDate); ok && started && p.has("startDate") && !from.Before(until) {
		return refuse(http.StatusBadRequest, "startDate parameter '%s' must be less than the stopDate parameter '%s'", shownDate(al.StartDate), shownDate(al.StopDate))
	}
	if err := a.set(ctx, o, al, false); err != nil || !al.deletes() {
		return err
	}
	return a.attached(ctx, o.ns, o.name)
}

// change changes one thing of an alarm.
func (a alarmFeed) change(al *alarm, p parameters, name string) (err error) {
	switch name {
	case "cron":
		al.Cron = p.text(name)
	case "timezone":
		al.Timezone = p.text(name)
	case "minutes":
		al.Minutes, err = minutes(p)
	case "deleteAfterFire":
		al.DeleteAfterFire, err = deletion(p)
	case "date":
		al.Date, err = a.date(p, name, nil)
	case "startDate":
		al.StartDate, err = a.date(p, name, nil)
	case "stopDate":
		al.StopDate, err = a.date(p, name, al.StartDate)
	}
	return err
}

// pause implements feeder.
func (a alarmFeed) pause(ctx context.Context, o order, f feed) error {
	if f.Alarm == nil {
		return errOtherFeed
	}
	return a.set(ctx, o, *f.Alarm, f.Paused)
}

// remove implements feeder.
func (a alarmFeed) remove(ctx context.Context, o order, f feed) error {
	if f.Alarm == nil {
		return errOtherFeed
	}
	return a.unfeed(ctx, o)
}

// expiry is the invocation that removes a trigger which has fired and is to be
// removed then; ok is false where it is not.
func (d *Door) expiry(ctx context.Context, ns rouse.Namespace, name string, o occurrence, by rouse.Invocation) (in rouse.Invocation, ok bool, err error) {
	if o.Type != typeSchedule {
		return in, false, nil
	}
	f, _, _, err := d.feeds.get(ctx, ns, name)
	if err != nil || f.Alarm == nil || !f.Alarm.deletes() {
		return in, false, err
	}
	a, err := d.find(ctx, ns, path{systemNamespace, "alarms", alarmOnce})
	if err != nil {
		return in, false, err
	}
	args, err := json.Marshal(map[string]string{"lifecycleEvent": lifeExpire, "triggerName": "/_/" + name})
	return rouse.Invocation{ID: ident.New(), Function: a.f.Ref, Event: rouse.Event{Data: args}, Cause: by.ID, Hops: by.Hops + 1}, true, err
}

// expire removes a trigger that has fired once.
func (d *Door) expire(ctx context.Context, o order, f feed) error {
	if f.Alarm == nil || !f.Alarm.deletes() || !f.expired(d.Now()) {
		return refuse(http.StatusBadRequest, textNoLifecycle)
	}
	defer d.locks.hold(string(o.ns) + "/" + o.name)()
	t, err := d.Rules.Trigger(ctx, rouse.Ref{Namespace: o.ns, Name: encode(o.name)})
	if err == nil {
		err = d.removeTrigger(ctx, t, f.Alarm.DeleteAfterFire == deleteRules)
	}
	if err != nil && rouse.KindOf(err) != rouse.NotFound {
		return err
	}
	_, revision, _, err := d.feeds.get(ctx, o.ns, o.name)
	if err != nil {
		return err
	}
	return d.feeds.remove(ctx, o.ns, o.name, revision)
}

// keeps reports whether a trigger is to be seen to fire also without rules: it is
// removed then, or native rules lead to it.
func (d *Door) keeps(ctx context.Context, ns rouse.Namespace, trigger string) (bool, error) {
	f, _, _, err := d.feeds.get(ctx, ns, trigger)
	return f.Stream != nil || f.Alarm != nil && f.Alarm.deletes(), err
}

// removeTrigger takes a trigger away, with its rules or so that they lead nowhere.
func (d *Door) removeTrigger(ctx context.Context, t event.Trigger, withRules bool) error {
	ns, name := t.Namespace, decode(t.Name)
	defer d.holdRules(ns, name)()
	rules, err := d.rulesOf(ctx, ns, name)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if withRules {
			err = d.rules.remove(ctx, ns, r.name, r.revision)
		} else {
			r.Status = statusInactive
			err = d.rules.put(ctx, ns, r.name, r.rule, r.revision)
		}
		if err != nil {
			return err
		}
	}
	if err := d.detach(ctx, ns, name); err != nil {
		return err
	}
	return d.Rules.RemoveTrigger(ctx, t.Ref)
}
