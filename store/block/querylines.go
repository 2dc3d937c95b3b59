package block

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
)

const (
	defaultLines = 1000

	// slack is how far, in milliseconds, the clocks of those that stamp lines
	// may be off from those that stamp activations.
	slack = 60_000
)

// A printed is a Line and where it is stored: lines of one nanosecond stay in
// the order in which they came.
type printed struct {
	line  rouse.Line
	day   int
	block int64
	place int
}

func (a printed) compare(b printed) int {
	return cmp.Or(a.line.Time.Compare(b.line.Time), cmp.Compare(a.day, b.day),
		cmp.Compare(a.block, b.block), cmp.Compare(a.place, b.place))
}

// Lines implements that of rouse.Records over days, oldest first.
func Lines(ctx context.Context, days []Day, q rouse.LineQuery) ([]rouse.Line, error) {
	const op = "list lines"
	if q.Limit <= 0 {
		q.Limit = defaultLines
	}
	if q.Activation == "" && (q.Function.Name == "" || q.Function.Namespace == "") {
		return nil, rouse.Errorf(rouse.Invalid, op, "", "name a function and its namespace, or an activation")
	}
	wants := func(l rouse.Line) bool {
		return (q.Activation == "" || l.Activation == q.Activation) &&
			(q.Function.Name == "" || l.Function == q.Function) &&
			(q.Since.IsZero() || !l.Time.Before(q.Since))
	}
	find := linesOfFunction
	if q.Activation != "" {
		find = linesOfActivation
	}
	ps, err := find(ctx, days, q, wants)
	var ls []rouse.Line
	for _, p := range ps {
		ls = append(ls, p.line)
	}
	return ls, err
}

func linesOfFunction(ctx context.Context, days []Day, q rouse.LineQuery, wants func(rouse.Line) bool) ([]printed, error) {
	f := feed[printed]{ms: func(p printed) int64 { return p.line.Time.UnixMilli() }, compare: printed.compare}
	for n, d := range days {
		s, _, _ := d.Bounds(OfLines)
		if !q.Since.IsZero() {
			s.First = max(s.First, q.Since.UnixMilli())
		}
		if s.First <= s.Last {
			f.sources = append(f.sources, newSource(n, d, OfLines, q.Function, 0, s))
		}
	}
	f.load = func(s *source, w Row) ([]printed, error) {
		return loadLines(s.n, s.day.Name(), w, q.Function.Namespace, wants)
	}
	var ps []printed
	for len(ps) < q.Limit {
		p, ok, err := f.next(ctx)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		ps = append(ps, p)
	}
	slices.Reverse(ps)
	return ps, errors.Join(f.bad...)
}

func loadLines(n int, day string, w Row, ns rouse.Namespace, wants func(rouse.Line) bool) (run []printed, err error) {
	place := int(w.Start)
	err = eachFrame(day, w, func(payload []byte) error {
		return readLines(payload, ns, func(l rouse.Line) {
			place++
			if wants(l) {
				run = append(run, printed{line: l, day: n, block: w.Block, place: place})
			}
		})
	})
	return run, err
}

// linesOfActivation reads the blocks from when the activation's id was made
// until it ended, or until now where it still runs. Those of others are passed
// over by the activations that they name.
func linesOfActivation(ctx context.Context, days []Day, q rouse.LineQuery, wants func(rouse.Line) bool) ([]printed, error) {
	d, ok := parseID(q.Activation)
	if !ok {
		return nil, nil
	}
	during := Span{d.ms() - slack, 1<<63 - 1}
	if a, err := Activation(ctx, days, q.Activation); err == nil {
		took := time.Duration(a.Queued + a.Init + a.Run)
		during.Last = max(a.Started.Add(took).UnixMilli(), d.ms()) + slack
	}
	var ps []printed
	var bad error
	for n, day := range days {
		s, _, _ := day.Bounds(OfLines)
		last := Span{max(s.First, during.First), min(s.Last, during.Last)}
		if last.First > last.Last {
			continue
		}
		last.Last = EndOfWindow(last.Last)
		err := day.Around(ctx, OfLines, last, d.ms(), func(ns rouse.Namespace, w Row) {
			run, err := loadLines(n, day.Name(), w, ns, wants)
			ps, bad = append(ps, run...), errors.Join(bad, err)
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(ps, printed.compare)
	return ps[max(0, len(ps)-q.Limit):], bad
}
