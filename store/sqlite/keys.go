package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/pending"
)

// The checksum covers the key as well: a value under another's key would be
// worse than one that is lost.
const keysSchema = `
CREATE TABLE pair(
	key   BLOB PRIMARY KEY,
	crc   INTEGER NOT NULL,
	value BLOB NOT NULL
) WITHOUT ROWID;`

const (
	getPair    = "SELECT key, crc, value FROM pair WHERE key=?"
	putPair    = "INSERT INTO pair(key, crc, value) VALUES(?,?,?) ON CONFLICT(key) DO UPDATE SET crc=excluded.crc, value=excluded.value"
	deletePair = "DELETE FROM pair WHERE key=?"
	clearPairs = "DELETE FROM pair WHERE key>=? AND key<?"
	countPairs = "SELECT count(*) FROM pair WHERE key>=? AND key<?"
	scanUp     = "SELECT key, crc, value FROM pair WHERE key>=? AND key<? ORDER BY key LIMIT ?"
	scanDown   = "SELECT key, crc, value FROM pair WHERE key>=? AND key<? ORDER BY key DESC LIMIT ?"
)

// lastKey sorts after every key that may be written.
var lastKey = slices.Repeat([]byte{0xff}, 2561)

// keys implements rouse.Keys in one file.
type keys struct{ file *file }

func openKeys(ctx context.Context, c Config, name string) (*keys, error) {
	f, err := openFile(ctx, filepath.Join(c.Dir, name+".db"), layout{schema: keysSchema, version: 1, pageSize: 8192, cache: 16384})
	if err != nil {
		return nil, err
	}
	// A View that had to prepare one while all connections are in Views would
	// wait for a connection that it keeps from itself.
	for _, query := range []string{getPair, countPairs, scanUp, scanDown} {
		if _, err := f.prepared(ctx, query); err != nil {
			return nil, errors.Join(explain("open", name, err), f.close())
		}
	}
	return &keys{f}, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pairSum is a column's value: SQLite has no unsigned integers.
func pairSum(key, value []byte) int64 {
	return int64(crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value))
}

// View implements rouse.Keys.
func (k *keys) View(ctx context.Context, f func(rouse.KeyReader) error) error {
	select {
	case <-k.file.closing:
		return explain("read", "keys", errClosed)
	default:
	}
	t, err := k.file.read.BeginTx(ctx, nil)
	if err != nil {
		return explain("read", "keys", err)
	}
	defer t.Rollback()
	return f(keyReader(func(query string, args []any, each func(*sql.Rows) error) error {
		s, err := k.file.prepared(ctx, query)
		if err != nil {
			return err
		}
		rows, err := t.StmtContext(ctx, s).QueryContext(ctx, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := each(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	}))
}

// Update implements rouse.Keys.
func (k *keys) Update(ctx context.Context, f func(rouse.KeyWriter) error) error {
	var refused error // by f, of which nothing is written
	err := k.file.update(ctx, func(t *tx) error {
		w := pending.New(keyReader(t.query))
		if refused = f(w); refused != nil {
			return nil
		}
		return w.Changes(
			func(from, to []byte) error {
				if to == nil {
					to = lastKey
				}
				_, err := t.exec(clearPairs, orEmpty(from), to)
				return err
			},
			func(key, value []byte) error {
				_, err := t.exec(putPair, key, pairSum(key, value), value)
				return err
			},
			func(key []byte) error {
				_, err := t.exec(deletePair, key)
				return err
			})
	})
	if err != nil {
		return explain("write", "keys", err)
	}
	return refused
}

// orEmpty keeps SQLite from taking no bytes for NULL.
func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// A keyReader implements rouse.KeyReader with what runs a query and calls each
// for every row.
type keyReader func(query string, args []any, each func(*sql.Rows) error) error

// scanPair returns the pair of a row; its Value is nil where it is damaged.
func scanPair(rows *sql.Rows) (rouse.Pair, error) {
	var p rouse.Pair
	var crc int64
	if err := rows.Scan(&p.Key, &crc, &p.Value); err != nil {
		return p, err
	}
	p.Key = orEmpty(p.Key)
	if pairSum(p.Key, p.Value) != crc {
		p.Value = nil
		return p, damaged("read", "key "+hex.EncodeToString(p.Key))
	}
	p.Value = orEmpty(p.Value)
	return p, nil
}

// Get implements rouse.KeyReader.
func (r keyReader) Get(keys ...[]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	var bad []error
	for i, key := range keys {
		err := r(getPair, []any{orEmpty(key)}, func(rows *sql.Rows) error {
			p, err := scanPair(rows)
			values[i] = p.Value
			return keepDamage(err, &bad)
		})
		if err != nil {
			return nil, explain("read", "key "+hex.EncodeToString(key), err)
		}
	}
	return values, errors.Join(bad...)
}

// keepDamage puts an error that is of one pair aside.
func keepDamage(err error, bad *[]error) error {
	if e, ok := errors.AsType[*rouse.Error](err); ok {
		*bad = append(*bad, e)
		return nil
	}
	return err
}

var errEnough = errors.New("enough")

// Scan implements rouse.KeyReader.
func (r keyReader) Scan(s rouse.Span) ([]rouse.Pair, error) {
	query, to, limit := scanUp, s.To, s.Limit
	if s.Reverse {
		query = scanDown
	}
	if to == nil {
		to = lastKey
	}
	if limit <= 0 {
		limit = -1
	}
	var pairs []rouse.Pair
	var bad []error
	size := 0
	err := r(query, []any{orEmpty(s.From), to, limit}, func(rows *sql.Rows) error {
		p, err := scanPair(rows)
		if err := keepDamage(err, &bad); err != nil {
			return err
		}
		pairs = append(pairs, p)
		if size += len(p.Value); s.Size > 0 && size >= s.Size {
			return errEnough
		}
		return nil
	})
	if err != nil && err != errEnough {
		return nil, explain("read", fmt.Sprintf("keys from %x", s.From), err)
	}
	return pairs, errors.Join(bad...)
}

// Count implements rouse.KeyReader.
func (r keyReader) Count(from, to []byte) (n int64, err error) {
	if to == nil {
		to = lastKey
	}
	err = r(countPairs, []any{orEmpty(from), to}, func(rows *sql.Rows) error { return rows.Scan(&n) })
	return n, explain("count", fmt.Sprintf("keys from %x", from), err)
}
