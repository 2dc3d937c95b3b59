package sqlite

import (
	"cmp"
	"context"
	"database/sql"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/block"
)

// The statements of pages. The condition that follows FROM
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

// Name implements block.Day.
func (p *period) Name() string { return p.file.path }

// Page implements block.Day.
func (p *period) Page(ctx context.Context, q block.Page) (all []block.Row, err error) {
	args := []any{q.Kind, string(q.Namespace)}
	queries := [...]string{blocksOfAny, blocksOfStatus, blocksOfUnusual}
	if q.Function != "" {
		queries = [...]string{partsOfAny, partsOfStatus, partsUnusual}
		args = append(args, q.Function)
	}
	query := queries[0]
	if q.Statuses != 0 {
		query, args = queries[1], append(args, q.Statuses)
		if q.Unusual() {
			query = queries[2]
		}
	}
	args = append(args, q.First, q.Before.Last, q.Before.Block)
	if q.Function != "" {
		args = append(args, q.Before.Start)
	}
	err = p.file.query(ctx, query, append(args, q.Limit), func(rows *sql.Rows) error {
		var r block.Row
		err := rows.Scan(&r.Last, &r.Block, &r.Start, &r.Body)
		all = append(all, r)
		return err
	})
	return all, err
}

// Around implements block.Day.
func (p *period) Around(ctx context.Context, k block.Kind, last block.Span, ms int64, f func(rouse.Namespace, block.Row)) error {
	query := `SELECT b.last, b.id, n.name, b.body FROM namespace n
		CROSS JOIN block b ON b.kind=0 AND b.namespace=n.id AND b.last BETWEEN ?1 AND ?2 WHERE b.first<=?3`
	if k == block.OfLines {
		query = `SELECT b.last, b.id, n.name, b.body FROM namespace n
			CROSS JOIN block b ON b.kind=1 AND b.namespace=n.id AND b.last BETWEEN ?1 AND ?2
			WHERE b.of_first<=?3 AND b.of_last>=?3`
	}
	return p.file.query(ctx, query, []any{last.First, last.Last, ms}, func(rows *sql.Rows) error {
		var w block.Row
		var ns rouse.Namespace
		if err := rows.Scan(&w.Last, &w.Block, &ns, &w.Body); err != nil {
			return err
		}
		f(ns, w)
		return nil
	})
}

func (r *records) Activations(ctx context.Context, q rouse.ActivationQuery) (as []rouse.Activation, err error) {
	err = r.over(func(days []block.Day) error {
		as, err = block.Activations(ctx, days, q)
		return err
	})
	return as, explain("list activations", string(q.Namespace), err)
}

func (r *records) Activation(ctx context.Context, id string) (a rouse.Activation, err error) {
	err = r.over(func(days []block.Day) error {
		a, err = block.Activation(ctx, days, id)
		return err
	})
	return a, explain("get activation", id, err)
}

func (r *records) Lines(ctx context.Context, q rouse.LineQuery) (ls []rouse.Line, err error) {
	err = r.over(func(days []block.Day) error {
		ls, err = block.Lines(ctx, days, q)
		return err
	})
	return ls, explain("list lines", cmp.Or(q.Activation, q.Function.String()), err)
}

// over runs f while the files of days are in use, oldest first.
func (r *records) over(f func([]block.Day) error) error {
	all, release, err := r.use()
	if err != nil {
		return err
	}
	defer release()
	days := make([]block.Day, len(all))
	for i, p := range all {
		days[i] = p
	}
	return f(days)
}
