package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/rouse-run/rouse/store/block"
)

const forgetAtOnce = 2000 // rows that one transaction of Trim deletes

// Trim deletes whole days first. It works to the second: what is older than
// before by less may stay. What SQLite keeps beside a file as its log, some 16 MB
// at most, does not count.
func (r *records) Trim(ctx context.Context, before time.Time, size int64) error {
	r.trimming.Lock()
	defer r.trimming.Unlock()
	if !before.IsZero() {
		if err := r.trimOld(ctx, before); err != nil {
			return explain("trim", "records", err)
		}
	}
	if size > 0 {
		return explain("trim", "records", r.trimLarge(ctx, size))
	}
	return nil
}

func (r *records) trimOld(ctx context.Context, before time.Time) error {
	all, release, err := r.use()
	if err != nil {
		return err
	}
	var old []*period
	for _, p := range all {
		if !p.end.After(before) {
			old = append(old, p)
			continue
		}
		if err = p.deleteBefore(ctx, before.UnixMilli()); err != nil {
			break
		}
	}
	release()
	return errors.Join(err, r.drop(old))
}

// drop takes periods off the list and deletes them.
func (r *records) drop(old []*period) error {
	r.mu.Lock()
	r.periods = slices.DeleteFunc(r.periods, func(p *period) bool { return slices.Contains(old, p) })
	r.mu.Unlock()
	var errs []error
	for _, p := range old {
		r.log.Info("records of a day are forgotten", "day", p.name)
		errs = append(errs, p.remove())
	}
	return errors.Join(errs...)
}

func (r *records) trimLarge(ctx context.Context, size int64) error {
	all, release, err := r.use()
	if err != nil {
		return err
	}
	total, sizes := int64(0), make([]int64, len(all))
	for i, p := range all {
		if sizes[i], err = p.size(ctx); err != nil {
			release()
			return err
		}
		total += sizes[i]
	}
	var old []*period
	for len(all)-len(old) > 1 && total > size {
		total -= sizes[len(old)]
		old = append(old, all[len(old)])
	}
	if total > size {
		err = all[len(old)].shrink(ctx, size)
	}
	release()
	return errors.Join(err, r.drop(old))
}

// size is how many bytes of the file are in use.
func (p *period) size(ctx context.Context) (int64, error) {
	var used int64
	err := p.file.query(ctx, `SELECT (page_count-freelist_count)*page_size
		FROM pragma_page_count, pragma_freelist_count, pragma_page_size`, nil,
		func(rows *sql.Rows) error { return rows.Scan(&used) })
	return used, err
}

// shrink deletes the oldest until no more than size bytes are in use.
func (p *period) shrink(ctx context.Context, size int64) error {
	for {
		used, err := p.size(ctx)
		if err != nil || used <= size {
			return err
		}
		cut, ok, err := p.oldest(ctx, float64(used-size)/float64(used))
		if err != nil || !ok {
			return err
		}
		if err := p.deleteBefore(ctx, cut); err != nil {
			return err
		}
	}
}

// oldest returns the millisecond before which about that share of the blocks
// lies, at least a second after the first one; ok is false where there is none.
func (p *period) oldest(ctx context.Context, share float64) (ms int64, ok bool, err error) {
	var count, first int64
	err = p.file.query(ctx, `SELECT (SELECT count(*) FROM block), coalesce(min(m), 0) FROM
		(SELECT (SELECT min(last) FROM block WHERE kind=k.kind AND namespace=n.id) m
		FROM namespace n, (SELECT 0 AS kind UNION ALL SELECT 1) k)`, nil,
		func(rows *sql.Rows) error { return rows.Scan(&count, &first) })
	if err != nil || count == 0 {
		return 0, false, err
	}
	// Blocks are numbered as they were posted, which is nearly by time.
	err = p.file.query(ctx, "SELECT last FROM block ORDER BY id LIMIT 1 OFFSET ?", []any{int64(share * float64(count))},
		func(rows *sql.Rows) error { return rows.Scan(&ms) })
	return max(ms, block.EndOfWindow(first)) + 1, true, err
}

// deleteBefore forgets what is older than the second that ms is in: no block
// reaches across its edge, so that blocks and their parts go together.
func (p *period) deleteBefore(ctx context.Context, ms int64) error {
	ms -= ms % block.Window
	some := false
	for _, query := range []string{
		`DELETE FROM part WHERE (kind, function, last, block, start) IN (SELECT p.kind, p.function, p.last, p.block, p.start
			FROM function f CROSS JOIN (SELECT 0 AS kind UNION ALL SELECT 1) k
			CROSS JOIN part p ON p.kind=k.kind AND p.function=f.id AND p.last<?1
			WHERE f.id>=?2 ORDER BY f.id LIMIT ?3) RETURNING function`,
		`DELETE FROM block WHERE id IN (SELECT b.id FROM namespace n CROSS JOIN (SELECT 0 AS kind UNION ALL SELECT 1) k
			CROSS JOIN block b ON b.kind=k.kind AND b.namespace=n.id AND b.last<?1
			WHERE n.id>=?2 ORDER BY n.id LIMIT ?3) RETURNING namespace`,
	} {
		for from, more := int64(0), true; more; {
			reached, n := from, 0
			err := p.file.update(ctx, func(t *tx) error {
				reached, n = from, 0
				return t.query(query, []any{ms, from, forgetAtOnce}, func(rows *sql.Rows) error {
					var of int64
					err := rows.Scan(&of)
					reached, n = max(reached, of), n+1
					return err
				})
			})
			if err != nil {
				return err
			}
			// Those before it have nothing left that is old.
			from, more, some = reached, n == forgetAtOnce, some || n > 0
		}
	}
	if !some {
		return nil
	}
	return p.giveBack(ctx)
}

// giveBack returns the pages that are free to the file system.
func (p *period) giveBack(ctx context.Context) error {
	for more := true; more; {
		err := p.file.update(ctx, func(t *tx) error {
			if _, err := t.exec("PRAGMA incremental_vacuum(2000)"); err != nil {
				return err
			}
			return t.query("PRAGMA freelist_count", nil, func(rows *sql.Rows) error {
				var left int64
				err := rows.Scan(&left)
				more = left > 0
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
