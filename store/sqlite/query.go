package sqlite

import (
	"cmp"
	"context"
	"database/sql"
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
	unusual            = ^int64(1 << rouse.StatusAnswered) // statuses with an index of their own
)

// The statements that a source pages through. The condition that follows FROM
// picks the index, that which follows WHERE the statuses.
const (
	partsFrom  = "SELECT p.last, p.block, p.start, substr(b.body, p.start+1, p.length) FROM part p "
	partsWhere = ` CROSS JOIN block b ON b.id=p.block WHERE p.kind=?
		AND p.function=(SELECT f.id FROM function f JOIN namespace n ON n.id=f.namespace WHERE n.name=? AND f.name=?) `
	partsOrder = `AND p.last>=? AND (p.last, p.block, p.start)<(?,?,?) ORDER BY p.last DESC, p.block DESC, p.start DESC LIMIT ?`

	blocksFrom  = "SELECT b.last, b.id, 0, b.body FROM block b "
	blocksWhere = " WHERE b.kind=? AND b.namespace=(SELECT id FROM namespace WHERE name=?) "
	blocksOrder = "AND b.last>=? AND (b.last, b.id)<(?,?) ORDER BY b.last DESC, b.id DESC LIMIT ?"

	partsOfAny      = partsFrom + partsWhere + partsOrder
	partsOfStatus   = partsFrom + partsWhere + "AND p.statuses & ? <> 0 " + partsOrder
	partsUnusual    = partsFrom + "INDEXED BY part_unusual" + partsWhere + "AND p.statuses & -3 <> 0 AND p.statuses & ? <> 0 " + partsOrder
	blocksOfAny     = blocksFrom + blocksWhere + blocksOrder
	blocksOfStatus  = blocksFrom + blocksWhere + "AND b.statuses & ? <> 0 " + blocksOrder
	blocksOfUnusual = blocksFrom + "INDEXED BY block_unusual" + blocksWhere + "AND b.statuses & -3 <> 0 AND b.statuses & ? <> 0 " + blocksOrder
)

// newSource reads the blocks of ns, or the parts of one function, that hold any
// of statuses (0 is all) between two milliseconds.
func newSource(p *period, kind int, r rouse.Ref, statuses int64, between span) *source {
	s := &source{period: p, parts: r.Name != "", args: []any{kind, string(r.Namespace)},
		at: row{last: endOfWindow(between.last), block: math.MaxInt64, start: math.MaxInt64}}
	queries := [...]string{blocksOfAny, blocksOfStatus, blocksOfUnusual}
	if s.parts {
		queries = [...]string{partsOfAny, partsOfStatus, partsUnusual}
		s.args = append(s.args, r.Name)
	}
	switch {
	case statuses == 0:
		s.query = queries[0]
	case statuses&unusual != statuses:
		s.query = queries[1]
	default:
		s.query = queries[2]
	}
	if statuses != 0 {
		s.args = append(s.args, statuses)
	}
	s.args = append(s.args, between.first)
	return s
}

// endOfWindow is the last millisecond that a block with ms in it can have.
func endOfWindow(ms int64) int64 { return ms - ms%window + window - 1 }

func (r *records) Activations(ctx context.Context, q rouse.ActivationQuery) ([]rouse.Activation, error) {
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
	periods, release, err := r.use()
	if err != nil {
		return nil, explain(op, string(q.Namespace), err)
	}
	defer release()
	ref := rouse.Ref{Namespace: q.Namespace, Name: q.Function}
	f := feed[stored]{ms: func(s stored) int64 { return s.id.ms() },
		compare: func(a, b stored) int { return a.id.compare(b.id) }}
	for _, p := range periods {
		if between := pick.between(p); between.first <= between.last {
			f.sources = append(f.sources, newSource(p, activations, ref, pick.statuses, between))
		}
	}
	f.load = func(s *source, w row) ([]stored, error) {
		run, err := loadActivations(s.period, w, q.Namespace, pick.mask(), pick.wants)
		if !s.parts {
			slices.SortStableFunc(run, f.compare)
		}
		return run, err
	}
	var as []rouse.Activation
	for len(as) < limit {
		s, ok, err := f.next(ctx)
		if err != nil {
			return as, explain(op, ref.String(), err)
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

// between is where in p the ids may be that k wants.
func (k *pick) between(p *period) span {
	s, lag, lead := p.span(activations)
	if k.paged {
		s.last = min(s.last, k.before.ms())
	}
	if !k.until.IsZero() {
		s.last = min(s.last, k.until.UnixMilli()+lead)
	}
	if !k.since.IsZero() {
		s.first = max(s.first, k.since.UnixMilli()-lag)
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

func loadActivations(p *period, w row, ns rouse.Namespace, statuses int64, wants func(stored) bool) (run []stored, err error) {
	err = eachFrame(p, w, func(payload []byte) error {
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
func eachFrame(p *period, w row, read func(payload []byte) error) (err error) {
	for body := w.body; ; {
		payload, rest, intact := cutFrame(body)
		if !intact || read(payload) != nil {
			err = damaged("read records", fmt.Sprintf("block %d of %s", w.block, p.file.path))
		}
		if len(rest) == 0 {
			return err
		}
		body = rest
	}
}

// Activation compares starts and not attempts: those count anew for a dead
// letter that is sent back.
func (r *records) Activation(ctx context.Context, text string) (rouse.Activation, error) {
	const op = "get activation"
	want, ok := parseID(text)
	if !ok {
		return rouse.Activation{}, rouse.Errorf(rouse.NotFound, op, text, "no activation has such an id: it is 32 lowercase hex digits")
	}
	periods, release, err := r.use()
	if err != nil {
		return rouse.Activation{}, explain(op, text, err)
	}
	defer release()
	var best rouse.Activation
	var bad error
	for _, p := range periods {
		if s, _, _ := p.span(activations); !s.has(want.ms()) {
			continue
		}
		err := eachBlockWith(ctx, p, want.ms(), func(w row, ns rouse.Namespace) {
			found, err := loadActivations(p, w, ns, anyStatus, func(s stored) bool { return s.id == want })
			for _, s := range found {
				a, e := s.activation()
				if err = errors.Join(err, e); e == nil && (best.ID == "" || cmp.Or(a.Started.Compare(best.Started), a.Attempt-best.Attempt) >= 0) {
					best = a
				}
			}
			bad = errors.Join(bad, err)
		})
		if err != nil {
			return rouse.Activation{}, explain(op, text, err)
		}
	}
	switch {
	case best.ID != "":
		return best, nil
	case bad != nil:
		return best, explain(op, text, bad)
	}
	return best, rouse.Errorf(rouse.NotFound, op, text, "there is none: it may still run, or be forgotten")
}

// eachBlockWith calls f for the blocks of activations, of all namespaces, that
// reach across a millisecond.
func eachBlockWith(ctx context.Context, p *period, ms int64, f func(w row, ns rouse.Namespace)) error {
	return p.file.query(ctx, `SELECT b.last, b.id, n.name, b.body FROM namespace n
		CROSS JOIN block b ON b.kind=0 AND b.namespace=n.id AND b.last BETWEEN ?1 AND ?2 WHERE b.first<=?1`,
		[]any{ms, endOfWindow(ms)}, func(rows *sql.Rows) error {
			var w row
			var ns rouse.Namespace
			if err := rows.Scan(&w.last, &w.block, &ns, &w.body); err != nil {
				return err
			}
			f(w, ns)
			return nil
		})
}
