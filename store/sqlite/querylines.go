package sqlite

import (
	"cmp"
	"context"
	"database/sql"
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
	line   rouse.Line
	period string
	block  int64
	place  int
}

func (a printed) compare(b printed) int {
	return cmp.Or(a.line.Time.Compare(b.line.Time), cmp.Compare(a.period, b.period),
		cmp.Compare(a.block, b.block), cmp.Compare(a.place, b.place))
}

func (r *records) Lines(ctx context.Context, q rouse.LineQuery) ([]rouse.Line, error) {
	const op = "list lines"
	if q.Limit <= 0 {
		q.Limit = defaultLines
	}
	if q.Activation == "" && (q.Function.Name == "" || q.Function.Namespace == "") {
		return nil, rouse.Errorf(rouse.Invalid, op, "", "name a function and its namespace, or an activation")
	}
	periods, release, err := r.use()
	if err != nil {
		return nil, explain(op, q.Function.String(), err)
	}
	defer release()
	wants := func(l rouse.Line) bool {
		return (q.Activation == "" || l.Activation == q.Activation) &&
			(q.Function.Name == "" || l.Function == q.Function) &&
			(q.Since.IsZero() || !l.Time.Before(q.Since))
	}
	var ps []printed
	if q.Activation == "" {
		ps, err = linesOfFunction(ctx, periods, q, wants)
	} else {
		ps, err = r.linesOfActivation(ctx, periods, q, wants)
	}
	var ls []rouse.Line
	for _, p := range ps {
		ls = append(ls, p.line)
	}
	return ls, explain(op, cmp.Or(q.Activation, q.Function.String()), err)
}

func linesOfFunction(ctx context.Context, periods []*period, q rouse.LineQuery, wants func(rouse.Line) bool) ([]printed, error) {
	f := feed[printed]{ms: func(p printed) int64 { return p.line.Time.UnixMilli() }, compare: printed.compare}
	for _, p := range periods {
		s, _, _ := p.span(lines)
		if !q.Since.IsZero() {
			s.first = max(s.first, q.Since.UnixMilli())
		}
		if s.first <= s.last {
			f.sources = append(f.sources, newSource(p, lines, q.Function, 0, s))
		}
	}
	f.load = func(s *source, w row) ([]printed, error) {
		return loadLines(s.period, w, q.Function.Namespace, wants)
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

func loadLines(p *period, w row, ns rouse.Namespace, wants func(rouse.Line) bool) (run []printed, err error) {
	place := int(w.start)
	err = eachFrame(p, w, func(payload []byte) error {
		return readLines(payload, ns, func(l rouse.Line) {
			place++
			if wants(l) {
				run = append(run, printed{line: l, period: p.name, block: w.block, place: place})
			}
		})
	})
	return run, err
}

// linesOfActivation reads the blocks from when the activation's id was made
// until it ended, or until now where it still runs. Those of others are passed
// over by the activations that they name.
func (r *records) linesOfActivation(ctx context.Context, periods []*period, q rouse.LineQuery, wants func(rouse.Line) bool) ([]printed, error) {
	d, ok := parseID(q.Activation)
	if !ok {
		return nil, nil
	}
	during := span{d.ms() - slack, 1<<63 - 1}
	if a, err := r.Activation(ctx, q.Activation); err == nil {
		took := time.Duration(a.Queued + a.Init + a.Run)
		during.last = max(a.Started.Add(took).UnixMilli(), d.ms()) + slack
	}
	var ps []printed
	var bad error
	for _, p := range periods {
		s, _, _ := p.span(lines)
		last := span{max(s.first, during.first), min(s.last, during.last)}
		if last.first > last.last {
			continue
		}
		last.last = endOfWindow(last.last)
		err := blocksNaming(ctx, p, last, d.ms(), func(w row, ns rouse.Namespace) {
			run, err := loadLines(p, w, ns, wants)
			ps, bad = append(ps, run...), errors.Join(bad, err)
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(ps, printed.compare)
	return ps[max(0, len(ps)-q.Limit):], bad
}

// blocksNaming calls f for blocks of lines whose last millisecond is in a span
// and that may name an activation of that millisecond.
func blocksNaming(ctx context.Context, p *period, last span, ms int64, f func(w row, ns rouse.Namespace)) error {
	return p.file.query(ctx, `SELECT b.last, b.id, n.name, b.body FROM namespace n
		CROSS JOIN block b ON b.kind=1 AND b.namespace=n.id AND b.last BETWEEN ?1 AND ?2
		WHERE b.of_first<=?3 AND b.of_last>=?3`, []any{last.first, last.last, ms}, func(rows *sql.Rows) error {
		var w row
		var ns rouse.Namespace
		if err := rows.Scan(&w.last, &w.block, &ns, &w.body); err != nil {
			return err
		}
		f(w, ns)
		return nil
	})
}
