package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/meta"
	"github.com/rouse-run/rouse/queue"
	"github.com/rouse-run/rouse/rule"
	"github.com/rouse-run/rouse/rule/inbox"
	"github.com/rouse-run/rouse/trigger/schedule"
)

const (
	schedules = 10_000
	rowsEach  = 7 // pairs of keys and values that one firing writes until its rule has it
)

// The stages of a firing: its event is durable, its rule has it durably, and its
// function is called. The first two may be reached before it is due: then it is
// not late there.
const (
	durable = iota
	handed
	called
)

// scheduleGroup measures how late schedules are, each with a rule of its own, in
// process. The functions do nothing: what they do costs what it costs.
func scheduleGroup(name string, postgres bool) group {
	g := group{name: name}
	open := onSQLite
	if postgres {
		open = onPostgreSQL
	}
	for _, c := range []struct {
		when   string
		spread time.Duration
		limit  string
	}{{"over a second", time.Second, ""}, {"at one instant", 0, "as many rows put into the store in one transaction"}} {
		var run firings
		for stage, what := range []string{"durable", "with their rules", "functions called"} {
			for _, q := range []struct {
				name string
				part float64
			}{{"p50", 0.5}, {"p99", 0.99}, {"max", 1}} {
				m := measurement{name: fmt.Sprintf("10,000 %s, %s, %s", c.when, what, q.name), unit: "ms", limit: c.limit, once: true}
				if !postgres && q.name == "p99" && (stage == handed || stage == called && c.spread > 0) {
					m.goal = goal{most, 50}
				}
				m.open = func(_ context.Context, e *env) (round, error) {
					if postgres && e.postgres == "" {
						return nil, noDatabase
					}
					return func(ctx context.Context) (ours, limit float64, err error) {
						if err := run.once(ctx, e, open, c.spread); err != nil {
							return 0, 0, err
						}
						return run.at(stage, q.part), run.limit, nil
					}, nil
				}
				g.measurements = append(g.measurements, m)
			}
		}
	}
	return g
}

// firings are what one run saw: how late each firing came to each stage.
type firings struct {
	mu    sync.Mutex
	done  bool
	late  [3][]time.Duration // guarded by mu
	limit float64
	all   chan struct{} // closed when the last was called
}

// at returns a quantile of a stage in milliseconds.
func (f *firings) at(stage int, part float64) float64 {
	ds := f.late[stage]
	slices.Sort(ds)
	return float64(ds[min(int(part*float64(len(ds))), len(ds)-1)]) / float64(time.Millisecond)
}

// saw notes that events, named by their IDs, came to a stage at a time. An ID
// ends with the time that it was due at.
func (f *firings) saw(stage int, at time.Time, ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		_, due, _ := strings.Cut(id, "/")
		if t, err := time.Parse(time.RFC3339Nano, due); err == nil {
			f.late[stage] = append(f.late[stage], max(0, at.Sub(t)))
		}
	}
	if stage == called && len(f.late[called]) == schedules {
		close(f.all)
	}
}

// once fires all, spread over a time, unless that was done.
func (f *firings) once(ctx context.Context, e *env, open func(context.Context, *env) (keyStore, error), spread time.Duration) error {
	if f.done {
		return nil
	}
	f.all = make(chan struct{})
	store, err := open(ctx, e)
	if err != nil {
		return err
	}
	p, err := openScheduled(ctx, store, f)
	if err != nil {
		return err
	}
	if f.limit, err = p.rows(ctx); err != nil {
		return errors.Join(err, p.close())
	}
	begin := time.Now().Add(8 * time.Second).Truncate(time.Second)
	if err := p.fill(ctx, begin, spread); err != nil {
		return errors.Join(err, p.close())
	}
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.rules.Run(run) }()
	select {
	case <-f.all:
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(time.Minute):
		f.mu.Lock()
		err = fmt.Errorf("%d of %d were called within a minute", len(f.late[called]), schedules)
		f.mu.Unlock()
	}
	stop()
	f.done = true
	return errors.Join(err, <-ended, p.close())
}

// A scheduled platform is as much of one as schedules and rules need.
type scheduled struct {
	meta   *meta.Meta
	rules  *rule.Engine
	queues *queue.Queues
	bare   rouse.Keys
	store  keyStore
}

// openScheduled stands on maps of its own, which no platform knows.
func openScheduled(ctx context.Context, store keyStore, f *firings) (*scheduled, error) {
	keys := map[string]rouse.Keys{}
	own := fmt.Sprint("bench", time.Now().UnixNano())
	var err error
	for _, name := range []string{"meta", "rule", "event", "queue", "bare"} {
		if keys[name], err = store.Keys(ctx, own+name); err != nil {
			return nil, errors.Join(err, store.Close())
		}
	}
	p := &scheduled{meta: meta.New(keys["meta"]), queues: queue.New(queue.Config{Keys: keys["queue"]}), bare: keys["bare"], store: store}
	p.rules = rule.New(rule.Config{Meta: p.meta, Keys: keys["rule"], Queue: p.queues.Plain(), SendAll: handing{f, p.queues}.send, DeleteAll: p.queues.DeleteAll,
		Inbox: inbox.New(inbox.Config{Keys: keys["event"]}), Data: data.Services{}, Invoker: calling{f}, Log: slog.New(slog.DiscardHandler)})
	p.rules.Use(schedule.New(schedule.Config{Emitter: emitting{p.rules, f}}))
	return p, nil
}

func (p *scheduled) close() error { return errors.Join(p.queues.Close(), p.store.Close()) }

// fill stores the schedules and their rules, as the platform itself would.
func (p *scheduled) fill(ctx context.Context, begin time.Time, spread time.Duration) error {
	var changes []rouse.Change
	for i := range schedules {
		ref := rouse.Ref{Namespace: rouse.DefaultNamespace, Name: fmt.Sprintf("s%05d", i)}
		at := begin.Add(time.Duration(i) * spread / schedules).UTC()
		config, err := json.Marshal(doc{"at": at.Format(time.RFC3339Nano)})
		if err != nil {
			return err
		}
		r := event.Rule{Ref: ref, On: event.On{Trigger: ref.Name}, To: event.Target{Function: "f"}}
		r.Fill()
		for kind, v := range map[string]any{"trigger": event.Trigger{Ref: ref, Kind: "schedule", Config: config}, "rule": r} {
			b, err := json.Marshal(v)
			if err != nil {
				return err
			}
			changes = append(changes, rouse.Change{Kind: kind, Ref: ref, Data: b})
		}
	}
	if err := p.meta.Apply(ctx, changes); err != nil {
		return err
	}
	return p.rules.Load(ctx)
}

// rows measures, in milliseconds, how long the store takes for as many pairs as
// all firings write.
func (p *scheduled) rows(ctx context.Context) (float64, error) {
	value := make([]byte, 150)
	began := time.Now()
	err := p.bare.Update(ctx, func(w rouse.KeyWriter) error {
		for i := range schedules * rowsEach {
			w.Put(fmt.Appendf(nil, "%d/%08d", i%rowsEach, i), value)
		}
		return nil
	})
	return float64(time.Since(began)) / float64(time.Millisecond), err
}

// emitting notes when events are durable.
type emitting struct {
	event.ManyEmitter
	f *firings
}

func (n emitting) EmitMany(ctx context.Context, all []event.Emission) []error {
	errs := n.ManyEmitter.EmitMany(ctx, all)
	at := time.Now()
	for _, m := range all {
		for _, e := range m.Events {
			n.f.saw(durable, at, e.ID)
		}
	}
	return errs
}

// handing notes when rules have events durably.
type handing struct {
	f      *firings
	queues *queue.Queues
}

func (n handing) send(ctx context.Context, ms map[string][]rouse.Message, taken map[string]int, d time.Duration) (map[string][]rouse.Lease, error) {
	leases, err := n.queues.SendAll(ctx, ms, taken, d)
	at := time.Now()
	for _, several := range ms {
		for _, m := range several {
			var q struct {
				Event struct{ ID string }
			}
			if err := json.Unmarshal(m.Body, &q); err != nil {
				return nil, err
			}
			n.f.saw(handed, at, q.Event.ID)
		}
	}
	return leases, err
}

// calling notes when functions are called, and answers for them.
type calling struct{ f *firings }

func (n calling) Invoke(_ context.Context, in rouse.Invocation) (rouse.Activation, error) {
	n.f.saw(called, time.Now(), in.Cause)
	return rouse.Activation{ID: in.ID, Function: in.Function, Status: rouse.StatusAnswered}, nil
}
