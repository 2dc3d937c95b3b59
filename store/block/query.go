package block

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
)

const (
	defaultActivations = 50
	maxActivations     = 1000
	anyStatus          = ^int64(0)
)

// newSource reads the blocks of ns, or the parts of one function, that hold any
// of statuses (0 is all) between two milliseconds.
func newSource(n int, d Day, k Kind, r rouse.Ref, statuses int64, between Span) *source {
	return &source{n: n, day: d, page: Page{Kind: k, Namespace: r.Namespace, Function: r.Name, Statuses: statuses, First: between.First,
		Before: Row{Last: EndOfWindow(between.Last), Block: math.MaxInt64, Start: math.MaxInt64}}}
}

// Activations implements that of rouse.Records over days, oldest first.
func Activations(ctx context.Context, days []Day, q rouse.ActivationQuery) ([]rouse.Activation, error) {
	const op = "list activations"
	if q.Namespace == "" {
		return nil, rouse.Errorf(rouse.Invalid, op, "", "name a namespace")
	}
	if q.Limit <= 0 {
		q.Limit = defaultActivations
	}
	limit := min(q.Limit, maxActivations)
	pick, err := newPick(q)
	if err != nil {
		return nil, err
	}
	ref := rouse.Ref{Namespace: q.Namespace, Name: q.Function}
	f := feed[stored]{ms: func(s stored) int64 { return s.id.ms() },
		compare: func(a, b stored) int { return a.id.compare(b.id) }}
	for n, d := range days {
		if between := pick.between(d); between.First <= between.Last {
			f.sources = append(f.sources, newSource(n, d, OfActivations, ref, pick.statuses, between))
		}
	}
	f.load = func(s *source, w Row) ([]stored, error) {
		run, err := loadActivations(s.day.Name(), w, q.Namespace, pick.mask(), pick.wants)
		if s.page.Function == "" {
			slices.SortStableFunc(run, f.compare)
		}
		return run, err
	}
	var as []rouse.Activation
	for len(as) < limit {
		s, ok, err := f.next(ctx)
		if err != nil {
			return as, err
		}
		if !ok {
			break
		}
		a, err := s.activation()
		if err != nil {
			f.bad = append(f.bad, damaged(op, s.id.String()))
			continue
		}
		as = append(as, a)
	}
	return as, errors.Join(f.bad...)
}

// A pick is what a query asks of each Activation.
type pick struct {
	statuses     int64
	since, until time.Time
	before       id
	paged        bool
}

func newPick(q rouse.ActivationQuery) (pick, error) {
	k := pick{since: q.Since, until: q.Until}
	for _, s := range q.Statuses {
		if s > 62 {
			return k, rouse.Errorf(rouse.Invalid, "list activations", s.String(), "there is no such status")
		}
		k.statuses |= 1 << s
	}
	if q.Before != "" {
		if k.before, k.paged = parseID(q.Before); !k.paged {
			return k, rouse.Errorf(rouse.Invalid, "list activations", q.Before, "before is the id of an activation, 32 lowercase hex digits")
		}
	}
	return k, nil
}

// between is where in d the ids may be that k wants.
func (k *pick) between(d Day) Span {
	s, lag, lead := d.Bounds(OfActivations)
	if k.paged {
		s.Last = min(s.Last, k.before.ms())
	}
	if !k.until.IsZero() {
		s.Last = min(s.Last, k.until.UnixMilli()+lead)
	}
	if !k.since.IsZero() {
		s.First = max(s.First, k.since.UnixMilli()-lag)
	}
	return s
}

// mask is the statuses that k wants, all where it asks for none.
func (k *pick) mask() int64 {
	if k.statuses == 0 {
		return anyStatus
	}
	return k.statuses
}

func (k *pick) wants(s stored) bool {
	started := s.started
	if started.IsZero() {
		started = time.UnixMilli(s.id.ms())
	}
	switch {
	case k.paged && s.id.compare(k.before) >= 0,
		!k.since.IsZero() && started.Before(k.since),
		!k.until.IsZero() && !started.Before(k.until):
		return false
	}
	return true
}

func loadActivations(day string, w Row, ns rouse.Namespace, statuses int64, wants func(stored) bool) (run []stored, err error) {
	err = eachFrame(day, w, func(payload []byte) error {
		return readActivations(payload, ns, statuses, func(s stored) {
			if wants(s) {
				run = append(run, s)
			}
		})
	})
	return run, err
}

// eachFrame reads the frames of a row that are intact; the error names the
// block where any is not.
func eachFrame(day string, w Row, read func(payload []byte) error) (err error) {
	for body := w.Body; ; {
		payload, rest, intact := cutFrame(body)
		if !intact || read(payload) != nil {
			err = damaged("read records", fmt.Sprintf("block %d of %s", w.Block, day))
		}
		if len(rest) == 0 {
			return err
		}
		body = rest
	}
}

// Activation implements that of rouse.Records over days. It compares starts and
// not attempts: those count anew for a dead letter that is sent back.
func Activation(ctx context.Context, days []Day, text string) (rouse.Activation, error) {
	const op = "get activation"
	want, ok := parseID(text)
	if !ok {
		return rouse.Activation{}, rouse.Errorf(rouse.NotFound, op, text, "no activation has such an id: it is 32 lowercase hex digits")
	}
	ms := want.ms()
	var best rouse.Activation
	var bad error
	for _, d := range days {
		if s, _, _ := d.Bounds(OfActivations); !s.has(ms) {
			continue
		}
		err := d.Around(ctx, OfActivations, Span{ms, EndOfWindow(ms)}, ms, func(ns rouse.Namespace, w Row) {
			found, err := loadActivations(d.Name(), w, ns, anyStatus, func(s stored) bool { return s.id == want })
			for _, s := range found {
				a, e := s.activation()
				if err = errors.Join(err, e); e == nil && (best.ID == "" || cmp.Or(a.Started.Compare(best.Started), a.Attempt-best.Attempt) >= 0) {
					best = a
				}
			}
			bad = errors.Join(bad, err)
		})
		if err != nil {
			return rouse.Activation{}, err
		}
	}
	switch {
	case best.ID != "":
		return best, nil
	case bad != nil:
		return best, bad
	}
	return best, rouse.Errorf(rouse.NotFound, op, text, "there is none: it may still run, or be forgotten")
}
