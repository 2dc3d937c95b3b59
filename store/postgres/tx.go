package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-run/rouse/store/pending"
)

// chunkSize is how many bytes of keys and values one statement writes, and
// chunkRows how many rows.
const (
	chunkSize = 4 << 20
	chunkRows = 2000
)

// A tx is a transaction. What begins it goes out with its first statement.
type tx struct {
	conn  *pgx.Conn
	sql   *statements
	begin string // "" once it is sent
	err   error  // what broke it
}

// batch returns one that begins the transaction where that is still to be done.
func (t *tx) batch() *pgx.Batch {
	b := &pgx.Batch{}
	if t.begin != "" {
		b.Queue(t.begin)
		t.begin = ""
	}
	return b
}

// ask answers questions in one round trip: the keys of all of them with one
// statement, and each span with one.
func (t *tx) ask(ctx context.Context, qs []*question) error {
	if t.err != nil {
		return t.err
	}
	b := t.batch()
	var keys [][]byte
	for _, q := range qs {
		for _, k := range q.keys {
			keys = append(keys, orEmpty(k))
		}
	}
	found := map[string]stored{}
	if len(keys) > 0 {
		b.Queue(t.sql.get, keys).Query(func(rows pgx.Rows) error {
			all, err := readRows(rows)
			for _, s := range all {
				found[string(s.key)] = s
			}
			return err
		})
	}
	for _, q := range qs {
		if q.keys != nil {
			q.found = found
			continue
		}
		from, to := orEmpty(q.span.From), q.span.To
		if to == nil {
			to = lastKey
		}
		if q.count {
			b.Queue(t.sql.count, from, to).QueryRow(func(row pgx.Row) error { return row.Scan(&q.n) })
			continue
		}
		query, limit := t.sql.up, any(nil)
		if q.span.Reverse {
			query = t.sql.down
		}
		if q.span.Limit > 0 {
			limit = int64(q.span.Limit)
		}
		b.Queue(query, from, to, limit).Query(func(rows pgx.Rows) (err error) {
			q.rows, err = readRows(rows)
			return err
		})
	}
	t.err = t.conn.SendBatch(ctx, b).Close()
	return t.err
}

func readRows(rows pgx.Rows) (all []stored, err error) {
	for rows.Next() {
		var s stored
		if err := rows.Scan(&s.key, &s.crc, &s.value); err != nil {
			return nil, err
		}
		s.key, s.value = orEmpty(s.key), orEmpty(s.value)
		all = append(all, s)
	}
	return all, rows.Err()
}

// orEmpty keeps no bytes from being taken for NULL.
func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// commit makes the changes of w and commits, in one round trip.
func (t *tx) commit(ctx context.Context, w *pending.Writer) error {
	b := t.batch()
	var put, remove chunk
	err := w.Changes(
		func(from, to []byte) error {
			if to == nil {
				to = lastKey
			}
			b.Queue(t.sql.clear, orEmpty(from), to)
			return nil
		},
		func(key, value []byte) error {
			put.add(key, value)
			put.flush(b, t.sql.put, false)
			return nil
		},
		func(key []byte) error {
			remove.add(key, nil)
			remove.flush(b, t.sql.remove, false)
			return nil
		})
	if err != nil {
		return err
	}
	put.flush(b, t.sql.put, true)
	remove.flush(b, t.sql.remove, true)
	b.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		if tag.String() != "COMMIT" {
			return fmt.Errorf("the server answered COMMIT with %s", tag)
		}
		return nil
	})
	t.err = t.conn.SendBatch(ctx, b).Close()
	return t.err
}

// A chunk is what goes into one statement.
type chunk struct {
	keys, values [][]byte
	sums         []int64
	size         int
}

func (c *chunk) add(key, value []byte) {
	c.keys = append(c.keys, key)
	c.size += len(key)
	if value != nil {
		c.values, c.sums = append(c.values, value), append(c.sums, pairSum(key, value))
		c.size += len(value)
	}
}

// flush puts a full chunk into the batch, and one that is not where it is the
// last.
func (c *chunk) flush(b *pgx.Batch, query string, last bool) {
	if len(c.keys) == 0 || !last && len(c.keys) < chunkRows && c.size < chunkSize {
		return
	}
	if c.values != nil {
		b.Queue(query, c.keys, c.sums, c.values)
	} else {
		b.Queue(query, c.keys)
	}
	*c = chunk{}
}
