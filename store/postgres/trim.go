package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-run/rouse/store/block"
)

const forgetAtOnce = 2000 // blocks that one transaction of Trim deletes

// Trim drops the tables of whole days first. It works to the second: what is
// older than before by less may stay. The size is that of the records that are
// kept, about; PostgreSQL uses what is deleted of a day again, and gives it back
// with the day.
func (r *records) Trim(ctx context.Context, before time.Time, size int64) error {
	const op = "trim"
	r.trimming.Lock()
	defer r.trimming.Unlock()
	if !before.IsZero() {
		if err := r.trimOld(ctx, before); err != nil {
			return explain(op, "records", err)
		}
	}
	if size > 0 {
		return explain(op, "records", r.trimLarge(ctx, size))
	}
	return nil
}

func (r *records) trimOld(ctx context.Context, before time.Time) error {
	days, err := r.days(ctx)
	if err != nil {
		return err
	}
	ms := before.UnixMilli()
	for _, d := range days {
		d := d.(*day)
		switch {
		case !d.end().After(before):
			err = r.drop(ctx, d)
		case min(d.bounds[0].First, d.bounds[1].First) < ms:
			err = r.deleteBefore(ctx, d, ms)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// drop forgets a day. What another node posts to it meanwhile makes it anew.
func (r *records) drop(ctx context.Context, d *day) error {
	r.log.Info("records of a day are forgotten", "day", d.name)
	r.forget(d)
	delete(r.sizes, d.name)
	return r.retry(ctx, func() error {
		b := &pgx.Batch{}
		b.Queue("DROP TABLE IF EXISTS " + d.blocks() + ", " + d.parts())
		b.Queue("DELETE FROM rouse.day WHERE name=$1", d.name)
		return r.store.write.SendBatch(ctx, b).Close()
	})
}

// deleteBefore forgets what is older than the second that ms is in: no block
// reaches across its edge.
func (r *records) deleteBefore(ctx context.Context, d *day, ms int64) error {
	delete(r.sizes, d.name)
	for more := true; more; {
		err := r.retry(ctx, func() error {
			var n int
			err := r.store.write.QueryRow(ctx, `WITH old AS (DELETE FROM `+d.blocks()+` WHERE id IN
				(SELECT id FROM `+d.blocks()+` WHERE last<$1 ORDER BY last LIMIT $2) RETURNING id),
				gone AS (DELETE FROM `+d.parts()+` WHERE block IN (SELECT id FROM old))
				SELECT count(*) FROM old`, ms-mod(ms, block.Window), forgetAtOnce).Scan(&n)
			more = n == forgetAtOnce
			return d.unlessForgotten(err)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *records) trimLarge(ctx context.Context, size int64) error {
	days, err := r.days(ctx)
	if err != nil {
		return err
	}
	var total int64
	for _, d := range days {
		n, err := r.size(ctx, d.(*day))
		if err != nil {
			return err
		}
		total += n
	}
	for i := 0; total > size && i < len(days); i++ {
		d := days[i].(*day)
		n, err := r.size(ctx, d)
		if err != nil {
			return err
		}
		if total-n > size || i < len(days)-1 && n == 0 {
			err = r.drop(ctx, d)
		} else {
			err = r.shrink(ctx, d, size-(total-n))
		}
		if err != nil {
			return err
		}
		total -= n
	}
	return nil
}

// size is how many bytes the records of a day take.
func (r *records) size(ctx context.Context, d *day) (int64, error) {
	if n, ok := r.sizes[d.name]; ok {
		return n, nil
	}
	all, err := readAll(ctx, r.store, "SELECT coalesce(sum(size), 0)::bigint FROM "+d.blocks(), nil, pgx.RowTo[int64])
	if err != nil || len(all) == 0 {
		return 0, d.unlessForgotten(err)
	}
	if d.name < r.now().UTC().Format(dayLayout) {
		r.sizes[d.name] = all[0]
	}
	return all[0], nil
}

// shrink deletes the oldest of a day until no more than size bytes are left.
func (r *records) shrink(ctx context.Context, d *day, size int64) error {
	cut, err := readAll(ctx, r.store, `SELECT last FROM (SELECT last, sum(size) OVER (ORDER BY last DESC, id DESC) AS upto FROM `+d.blocks()+`) b
		WHERE upto>$1 ORDER BY last DESC LIMIT 1`, []any{size}, pgx.RowTo[int64])
	if err != nil || len(cut) == 0 {
		return d.unlessForgotten(err)
	}
	return r.deleteBefore(ctx, d, block.EndOfWindow(cut[0])+1)
}
