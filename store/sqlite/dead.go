package sqlite

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
)

func (q *queue) Bury(ctx context.Context, name string, r rouse.Receipt, reason string) error {
	err := q.file.update(ctx, func(t *tx) error {
		held := false
		err := t.query("SELECT 1 FROM message WHERE queue=?1 AND visible IN (0, ?2) AND id=?3 AND epoch=?2",
			[]any{name, r.Epoch, r.ID}, func(*sql.Rows) error { held = true; return nil })
		if err != nil {
			return err
		}
		if !held || r.Epoch == 0 {
			return stale("bury", name)
		}
		return bury(t, name, r.ID, r.Epoch, reason, q.now())
	})
	return explain("bury", name, err)
}

// bury moves a message that waits or is leased with that epoch.
func bury(t *tx, name string, id, epoch int64, reason string, now time.Time) error {
	_, err := t.exec(`INSERT INTO dead(id, queue, count, reason, sent, buried, crc, data)
		SELECT m.id, m.queue, m.count, ?1, m.sent, ?2, coalesce(b.crc, 1), coalesce(b.data, x'')
		FROM message m LEFT JOIN body b ON b.id=m.id WHERE m.queue=?3 AND m.visible IN (0, ?4) AND m.id=?5`,
		reason, now.UnixMicro(), name, epoch, id)
	if err != nil {
		return err
	}
	if _, err := t.exec("DELETE FROM message WHERE queue=? AND visible IN (0, ?) AND id=?", name, epoch, id); err != nil {
		return err
	}
	_, err = t.exec(deleteBody, id)
	return err
}

// Dead leaves out the Body of a dead letter that is damaged, and says so in its
// Reason.
func (q *queue) Dead(ctx context.Context, name string, after int64, limit int) ([]rouse.DeadLetter, error) {
	if limit <= 0 {
		limit = -1
	}
	var dead []rouse.DeadLetter
	err := q.file.query(ctx, `SELECT id, count, reason, sent, buried, crc, data FROM dead
		WHERE queue=? AND id>? ORDER BY id LIMIT ?`, []any{name, after, limit}, func(rows *sql.Rows) error {
		d, err := scanDead(rows)
		dead = append(dead, d)
		return err
	})
	if err != nil {
		return nil, explain("list dead letters", name, err)
	}
	return dead, nil
}

func scanDead(rows *sql.Rows) (rouse.DeadLetter, error) {
	var d rouse.DeadLetter
	var crc int64
	var sent, buried int64
	if err := rows.Scan(&d.ID, &d.Count, &d.Reason, &sent, &buried, &crc, &d.Body); err != nil {
		return d, err
	}
	d.Sent, d.Buried = time.UnixMicro(sent).UTC(), time.UnixMicro(buried).UTC()
	if checksum(d.Body) != crc {
		d.Body = nil
		if !strings.HasPrefix(d.Reason, damage) {
			d.Reason = damage + "; " + d.Reason
		}
	}
	return d, nil
}

// Redrive sends messages as new ones that keep their date; a damaged one stays
// where it is.
func (q *queue) Redrive(ctx context.Context, name string, ids []int64) (int, error) {
	n := 0
	err := q.file.update(ctx, func(t *tx) (err error) {
		n = 0
		all := ids
		if len(all) == 0 {
			if all, err = deadIDs(t, name); err != nil {
				return err
			}
		}
		for _, id := range all {
			sent, err := q.redrive(t, name, id)
			if err != nil {
				return err
			}
			if sent {
				n++
			}
		}
		return nil
	})
	if err != nil {
		return 0, explain("redrive", name, err)
	}
	return n, nil
}

func deadIDs(t *tx, name string) (ids []int64, err error) {
	err = t.query("SELECT id FROM dead WHERE queue=? ORDER BY id", []any{name}, func(rows *sql.Rows) error {
		ids = append(ids, 0)
		return rows.Scan(&ids[len(ids)-1])
	})
	return ids, err
}

func (q *queue) redrive(t *tx, name string, id int64) (bool, error) {
	var body []byte
	var sent int64
	found := false
	err := t.query("SELECT sent, crc, data FROM dead WHERE queue=? AND id=?", []any{name, id}, func(rows *sql.Rows) error {
		var crc int64
		err := rows.Scan(&sent, &crc, &body)
		found = err == nil && checksum(body) == crc
		return err
	})
	if err != nil || !found {
		return false, err
	}
	fresh, err := q.id(t)
	if err == nil {
		err = add(t, name, fresh, 0, sent, body)
	}
	if err == nil {
		_, err = t.exec("DELETE FROM dead WHERE id=?", id)
	}
	return err == nil, err
}
