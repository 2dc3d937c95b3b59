package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"
)

// A measurement compares one figure of the platform with what the machine
// allows.
type measurement struct {
	name  string
	unit  string
	limit string // what the limit is; "" is none
	goal  goal
	once  bool // one round shows all

	// open starts what is measured and returns what measures it.
	open func(ctx context.Context, e *env) (round, error)
}

// A round takes one sample of ours and one of the limit, one after the other.
type round func(ctx context.Context) (ours, limit float64, err error)

// A probe takes one sample.
type probe func(ctx context.Context) (float64, error)

// alternate is the round of two probes.
func alternate(ours, limit probe) round {
	return func(ctx context.Context) (a, b float64, err error) {
		if a, err = ours(ctx); err != nil {
			return 0, 0, err
		}
		b, err = limit(ctx)
		return a, b, err
	}
}

// alone is the round of a probe that has no limit beside it.
func alone(ours probe) round {
	return func(ctx context.Context) (float64, float64, error) {
		a, err := ours(ctx)
		return a, 0, err
	}
}

// An absent is why something can't be measured here; that is no failure.
type absent struct{ why string }

func (a absent) Error() string { return a.why }

// A goal is what a measurement is to reach.
type goal struct {
	is    relation
	value float64
}

// A relation says what of a measurement is compared with its goal's value.
type relation uint8

const (
	shown       relation = iota // nothing; the figure speaks
	ratioLeast                  // ours / limit >= value
	ratioMost                   // ours / limit <= value
	least                       // ours >= value
	most                        // ours <= value
	beyondMost                  // ours - limit <= value
	beyondShare                 // (ours - limit) / limit <= value
)

// text says the goal in a table; unit is that of the figures.
func (g goal) text(unit string) string {
	switch g.is {
	case ratioLeast:
		return fmt.Sprintf(">= %g x", g.value)
	case ratioMost:
		return fmt.Sprintf("<= %g x", g.value)
	case least:
		return fmt.Sprintf(">= %s", amount(g.value, unit))
	case most:
		return fmt.Sprintf("<= %s", amount(g.value, unit))
	case beyondMost:
		return fmt.Sprintf("<= %s more", amount(g.value, unit))
	case beyondShare:
		return fmt.Sprintf("<= %g %% more", 100*g.value)
	}
	return ""
}

// verdict is "met" or how far ours is from the goal, as a share of the goal.
func (g goal) verdict(ours, limit float64) (met bool, text string) {
	got := ours
	switch g.is {
	case shown:
		return true, ""
	case ratioLeast, ratioMost:
		got = ours / limit
	case beyondMost:
		got = ours - limit
	case beyondShare:
		got = (ours - limit) / limit
	}
	missing := got - g.value
	if g.is == ratioLeast || g.is == least {
		missing = g.value - got
	}
	switch {
	case math.IsNaN(got) || math.IsInf(got, 0):
		return false, "no figure"
	case missing <= 0:
		return true, "met"
	case g.value == 0:
		return false, fmt.Sprintf("short by %s", figure(missing))
	}
	return false, fmt.Sprintf("short by %.0f %%", math.Max(1, 100*missing/g.value))
}

// A result is what came of a measurement.
type result struct {
	Group   string    `json:"group"`
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	Ours    float64   `json:"ours"` // median
	Limit   float64   `json:"limit,omitempty"`
	LimitIs string    `json:"limitIs,omitempty"`
	Ratio   float64   `json:"ratio,omitempty"`
	Target  string    `json:"target,omitempty"`
	Met     bool      `json:"met"`
	Verdict string    `json:"verdict,omitempty"`
	Absent  string    `json:"absent,omitempty"` // why it was not measured
	Rounds  []samples `json:"rounds,omitempty"`
}

// samples are those of one round.
type samples struct {
	Ours  float64 `json:"ours"`
	Limit float64 `json:"limit,omitempty"`
}

// finish fills in what follows from the rounds.
func (r *result) finish(m *measurement) {
	var ours, limit []float64
	for _, s := range r.Rounds {
		ours, limit = append(ours, s.Ours), append(limit, s.Limit)
	}
	r.Ours = median(ours)
	if m.limit != "" {
		r.Limit = median(limit)
		if r.Limit != 0 {
			r.Ratio = r.Ours / r.Limit
		}
	}
	r.Target = m.goal.text(m.unit)
	r.Met, r.Verdict = m.goal.verdict(r.Ours, r.Limit)
}

// median is that of xs, which it sorts; 0 of none.
func median[T float64 | time.Duration](xs []T) T {
	if len(xs) == 0 {
		return 0
	}
	slices.Sort(xs)
	mid := len(xs) / 2
	if len(xs)%2 == 0 {
		return (xs[mid-1] + xs[mid]) / 2
	}
	return xs[mid]
}

// A group is measurements that share a platform and its rounds.
type group struct {
	name         string
	slow         bool // only measured with --soak
	flags        []string
	postgres     bool // its platform stands on the database that --postgres names
	measurements []measurement
}

// run measures those of g whose "group/name" matches only.
func (g group) run(ctx context.Context, b *bench, only *regexp.Regexp) (results []result, err error) {
	e := &env{bench: b, flags: g.flags, onPostgres: g.postgres}
	defer func() { err = errors.Join(err, e.close()) }()
	var live []*result
	var of []*measurement
	var rounds []round
	for i := range g.measurements {
		m := &g.measurements[i]
		if !only.MatchString(g.name + "/" + m.name) {
			continue
		}
		results = append(results, result{Group: g.name, Name: m.name, Unit: m.unit, LimitIs: m.limit})
		of = append(of, m)
	}
	if len(of) == 0 {
		return nil, nil
	}
	for i, m := range of {
		b.say("%s: preparing %s", g.name, m.name)
		r, err := m.open(ctx, e)
		if why, ok := errors.AsType[absent](err); ok {
			results[i].Absent = why.why
			r = nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: prepare %s: %w", g.name, m.name, err)
		}
		rounds = append(rounds, r)
		live = append(live, &results[i])
	}
	for n := range b.rounds {
		if n > 0 && !slices.ContainsFunc(of, func(m *measurement) bool { return !m.once }) {
			break
		}
		b.say("%s: round %d of %d", g.name, n+1, b.rounds)
		for i, r := range rounds {
			if r == nil || n > 0 && of[i].once {
				continue
			}
			ours, limit, err := r(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", g.name, of[i].name, err)
			}
			live[i].Rounds = append(live[i].Rounds, samples{ours, limit})
		}
	}
	for i := range results {
		if results[i].Absent == "" {
			results[i].finish(of[i])
		}
	}
	return results, nil
}
