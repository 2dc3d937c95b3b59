package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// doc is a JSON document of the API.
type doc = map[string]any

const (
	manyRules   = 10_000
	messagesRun = 20_000
	recordsRun  = 5000
	eventsRun   = 40 // single events, one after the other
)

// eventsGroup measures the way of events to functions, through a platform, with
// goals where it has a store of its own.
func eventsGroup(name string, postgres bool) group {
	g := group{name: name, postgres: postgres}
	g.measurements = []measurement{
		{name: "record to function, p50", unit: "ms", goal: goal{most, 5}, open: func(ctx context.Context, e *env) (round, error) {
			p, err := e.listening(ctx)
			if err != nil {
				return nil, err
			}
			err = p.set(ctx, "streams", "single", doc{"shards": 1}, "rules", "single", doc{"on": doc{"stream": "single"}, "to": doc{"function": "single"}})
			return alone(func(ctx context.Context) (float64, error) {
				return p.lateness(ctx, "single", func() error {
					return p.Do(ctx, http.MethodPost, []string{"streams", "single", "records"}, nil, doc{"records": []doc{{"key": "a", "data": 1}}}, nil)
				})
			}), err
		}},
		{name: "file to function, p50", unit: "ms", goal: goal{most, 20}, open: func(ctx context.Context, e *env) (round, error) {
			p, err := e.listening(ctx)
			if err != nil {
				return nil, err
			}
			dir, err := e.folder("inbox-")
			if err != nil {
				return nil, err
			}
			err = p.set(ctx, "triggers", "inbox", doc{"kind": "files", "config": doc{"path": dir, "events": []string{"written"}}},
				"rules", "inbox", doc{"on": doc{"trigger": "inbox"}, "to": doc{"function": "single"}})
			n := 0
			return alone(func(ctx context.Context) (float64, error) {
				return p.lateness(ctx, "single", func() error {
					n++
					return os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), []byte("x"), 0o600)
				})
			}), err
		}},
		{name: "queue, sent to deleted", unit: "/s", goal: goal{least, 5000}, open: func(ctx context.Context, e *env) (round, error) {
			p, err := e.listening(ctx)
			if err != nil {
				return nil, err
			}
			err = p.set(ctx, "queues", "jobs", doc{}, "rules", "jobs", doc{"on": doc{"queue": "jobs"}, "to": doc{"function": "several"}, "batch": doc{"size": 10}})
			return alone(func(ctx context.Context) (float64, error) { return p.throughQueue(ctx, "jobs") }), err
		}},
		{name: "records of a stream with 10,000 rules", unit: "/s", goal: goal{ratioLeast, 0.5}, limit: "the same with one rule",
			open: func(ctx context.Context, e *env) (round, error) {
				p, err := e.listening(ctx)
				if err != nil {
					return nil, err
				}
				rule := func(stream string, n int) doc {
					return doc{"on": doc{"stream": stream}, "when": doc{"who": []string{fmt.Sprint(n)}}, "to": doc{"function": "several"}, "batch": doc{"size": 100}}
				}
				if err := p.set(ctx, "streams", "few", doc{}, "streams", "many", doc{}, "rules", "few", rule("few", 0)); err != nil {
					return nil, err
				}
				for i := range manyRules {
					if err := p.set(ctx, "rules", fmt.Sprint("many-", i), rule("many", i)); err != nil {
						return nil, err
					}
				}
				return alternate(func(ctx context.Context) (float64, error) { return p.throughStream(ctx, "many", "many-0") },
					func(ctx context.Context) (float64, error) { return p.throughStream(ctx, "few", "few") }), nil
			}},
	}
	for i := range g.measurements {
		if postgres {
			g.measurements[i].goal = goal{}
		}
	}
	return g
}

// listening returns the group's platform with the functions that events go to.
func (e *env) listening(ctx context.Context) (*platform, error) {
	p, err := e.platform(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"single", "several"} {
		if err := p.deploy(ctx, e.bench, name, files{"main.py": "def main(event):\n    return 0\n"}, wire.Options{}); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// set makes things: the plural of what they are, their name and what they are
// like, by turns.
func (p *platform) set(ctx context.Context, things ...any) error {
	for ; len(things) > 0; things = things[3:] {
		if err := p.Do(ctx, http.MethodPut, []string{things[0].(string), things[1].(string)}, nil, things[2], nil); err != nil {
			return err
		}
	}
	return nil
}

// newest returns the last activation of a function; one without an ID where
// there is none.
func (p *platform) newest(ctx context.Context, function string) (a rouse.Activation, err error) {
	as, _, err := p.Activations(ctx, rouse.ActivationQuery{Function: function, Limit: 1})
	if err == nil && len(as) > 0 {
		a = as[0]
	}
	return a, err
}

// lateness has something happen again and again, and returns the median of how
// long it took until the function was called, in milliseconds. The time is that
// of the function's record: looking for it is not part of it.
func (p *platform) lateness(ctx context.Context, function string, happen func() error) (float64, error) {
	var took []time.Duration
	for range eventsRun {
		before, err := p.newest(ctx, function)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		if err := happen(); err != nil {
			return 0, err
		}
		a := before
		for a.ID == before.ID {
			if time.Since(began) > 10*time.Second {
				return 0, errors.New("an event did not reach its function within 10 s")
			}
			if a, err = p.newest(ctx, function); err != nil {
				return 0, err
			}
		}
		took = append(took, a.Started.Sub(began))
	}
	return float64(median(took)) / float64(time.Millisecond), nil
}

// throughQueue sends messages and returns how many a second are sent, worked on
// and gone.
func (p *platform) throughQueue(ctx context.Context, queue string) (float64, error) {
	ms := make([]doc, 1000)
	for i := range ms {
		ms[i] = doc{"body": strings.Repeat("x", 100)}
	}
	began := time.Now()
	for range messagesRun / len(ms) {
		if err := p.Do(ctx, http.MethodPost, []string{"queues", queue, "messages"}, nil, doc{"messages": ms}, nil); err != nil {
			return 0, err
		}
	}
	for {
		var q wire.Queue
		if err := p.Do(ctx, http.MethodGet, []string{"queues", queue}, nil, nil, &q); err != nil {
			return 0, err
		}
		if q.Counts.Visible+q.Counts.Leased == 0 {
			return messagesRun / time.Since(began).Seconds(), nil
		}
		if time.Since(began) > time.Minute {
			return 0, fmt.Errorf("%d messages are left after a minute", q.Counts.Visible+q.Counts.Leased)
		}
		time.Sleep(time.Millisecond)
	}
}

// throughStream appends records of which each tenth is for a rule and returns
// how many a second are read and, where they match, delivered.
func (p *platform) throughStream(ctx context.Context, stream, rule string) (float64, error) {
	rs := make([]doc, 500)
	for i := range rs {
		rs[i] = doc{"key": fmt.Sprint(i), "data": doc{"who": fmt.Sprint(i % 10 * (manyRules + 1))}} // 0, or nobody
	}
	began := time.Now()
	for range recordsRun / len(rs) {
		if err := p.Do(ctx, http.MethodPost, []string{"streams", stream, "records"}, nil, doc{"records": rs}, nil); err != nil {
			return 0, err
		}
	}
	for {
		var r struct{ Status struct{ Waiting int64 } }
		if err := p.Do(ctx, http.MethodGet, []string{"rules", rule}, nil, nil, &r); err != nil {
			return 0, err
		}
		if r.Status.Waiting == 0 {
			return recordsRun / time.Since(began).Seconds(), nil
		}
		if time.Since(began) > time.Minute {
			return 0, fmt.Errorf("%d records are left after a minute", r.Status.Waiting)
		}
		time.Sleep(time.Millisecond)
	}
}
