package postgres

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-run/rouse"
)

// statements are those of one table.
type statements struct{ get, count, up, down, put, remove, clear string }

func statementsOf(table string) statements {
	in := " FROM " + table + " WHERE key>=$1 AND key<$2"
	return statements{
		get:    "SELECT key, crc, value FROM " + table + " WHERE key=ANY($1::bytea[])",
		count:  "SELECT count(*)" + in,
		up:     "SELECT key, crc, value" + in + " ORDER BY key LIMIT $3",
		down:   "SELECT key, crc, value" + in + " ORDER BY key DESC LIMIT $3",
		put:    "INSERT INTO " + table + "(key, crc, value) SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[]) ON CONFLICT(key) DO UPDATE SET crc=excluded.crc, value=excluded.value",
		remove: "DELETE FROM " + table + " WHERE key=ANY($1::bytea[])",
		clear:  "DELETE" + in,
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The checksum covers the key as well: a value under another's key would be
// worse than one that is lost.
func pairSum(key, value []byte) int64 {
	return int64(crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value))
}

// keys implements rouse.Keys in one table.
type keys struct {
	store    *Store
	name     string
	sql      statements
	requests chan *request
	writers  sync.WaitGroup
}

// View implements rouse.Keys.
func (k *keys) View(ctx context.Context, f func(rouse.KeyReader) error) error {
	if k.store.closed() {
		return explain("read", k.name, errClosed)
	}
	if err := ctx.Err(); err != nil {
		return explain("read", k.name, err)
	}
	v := &view{ctx: ctx, keys: k}
	defer v.end()
	return f(reader{name: k.name, ask: v.ask})
}

// A view is a snapshot that begins with its first read.
type view struct {
	ctx  context.Context
	keys *keys
	conn *pgxpool.Conn
	tx   *tx
}

func (v *view) ask(q *question) error {
	if v.tx != nil {
		return v.tx.ask(v.ctx, []*question{q})
	}
	// Nothing is read yet, so that nobody notices where it is tried again.
	until := time.Now().Add(patience)
	for b := (backoff{}); ; {
		err := v.begin(q)
		if err == nil || !lost(err) && !conflict(err) || v.ctx.Err() != nil || time.Now().After(until) {
			return err
		}
		if e := b.wait(v.ctx, v.keys.store.closing); e != nil {
			return err
		}
	}
}

func (v *view) begin(q *question) (err error) {
	if v.conn, err = v.keys.store.read.Acquire(v.ctx); err != nil {
		v.conn = nil
		return err
	}
	t := &tx{conn: v.conn.Conn(), sql: &v.keys.sql, begin: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}
	if err = t.ask(v.ctx, []*question{q}); err != nil {
		v.conn.Release() // which closes it, for its transaction is not ended
		v.conn = nil
		return err
	}
	v.tx = t
	return nil
}

// end does not let the caller wait for the end of a transaction that has changed
// nothing. Close waits for it, as for all connections that are in use.
func (v *view) end() {
	switch {
	case v.conn == nil:
	case v.tx.err != nil:
		v.conn.Release()
	default:
		go func() {
			defer v.conn.Release()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_, _ = v.conn.Exec(ctx, "ROLLBACK") // where it fails, the connection is closed
		}()
	}
}

// lastKey sorts after every key that may be written.
var lastKey = slices.Repeat([]byte{0xff}, 2561)

// A question is one read.
type question struct {
	keys  [][]byte   // of a Get; nil otherwise
	count bool       // of span, instead of its pairs
	span  rouse.Span // its Size is not looked at

	found map[string]stored // by key
	rows  []stored
	n     int64
	err   error
	done  chan struct{} // where somebody waits for it
}

// A stored is a row.
type stored struct {
	key, value []byte
	crc        int64
}

// pair returns the row's; its Value is nil where it is damaged.
func (s stored) pair() (rouse.Pair, error) {
	if pairSum(s.key, s.value) != s.crc {
		return rouse.Pair{Key: s.key}, damaged("read", "key "+hex.EncodeToString(s.key))
	}
	return rouse.Pair{Key: s.key, Value: s.value}, nil
}

// A reader implements rouse.KeyReader with what answers questions.
type reader struct {
	name string
	ask  func(*question) error
}

// Get implements rouse.KeyReader.
func (r reader) Get(keys ...[]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	if len(keys) == 0 {
		return values, nil
	}
	q := &question{keys: keys}
	if err := r.ask(q); err != nil {
		return nil, explain("read", r.name, err)
	}
	var bad []error
	for i, k := range keys {
		s, ok := q.found[string(k)]
		if !ok {
			continue
		}
		p, err := s.pair()
		if values[i] = p.Value; err != nil {
			bad = append(bad, err)
		}
	}
	return values, errors.Join(bad...)
}

// pages are the rows that Scan asks for where it is bytes that end it.
var pages = [...]int{64, 256, 1024}

// Scan implements rouse.KeyReader.
func (r reader) Scan(s rouse.Span) ([]rouse.Pair, error) {
	var pairs []rouse.Pair
	var bad []error
	size := 0
	for n := 0; ; n++ {
		q := &question{span: s}
		if s.Limit > 0 {
			q.span.Limit = s.Limit - len(pairs)
		}
		if page := pages[min(n, len(pages)-1)]; s.Size > 0 && (s.Limit <= 0 || q.span.Limit > page) {
			q.span.Limit = page
		}
		if err := r.ask(q); err != nil {
			return nil, explain("read", fmt.Sprintf("keys of %s from %x", r.name, s.From), err)
		}
		for _, row := range q.rows {
			p, err := row.pair()
			if err != nil {
				bad = append(bad, err)
			}
			pairs = append(pairs, p)
			if size += len(p.Value); s.Size > 0 && size >= s.Size {
				return pairs, errors.Join(bad...)
			}
		}
		if s.Size <= 0 || len(q.rows) < q.span.Limit || s.Limit > 0 && len(pairs) >= s.Limit {
			return pairs, errors.Join(bad...)
		}
		if last := pairs[len(pairs)-1].Key; s.Reverse {
			s.To = last
		} else {
			s.From = append(append([]byte{}, last...), 0)
		}
	}
}

// Count implements rouse.KeyReader.
func (r reader) Count(from, to []byte) (int64, error) {
	q := &question{count: true, span: rouse.Span{From: from, To: to}}
	err := r.ask(q)
	return q.n, explain("count", fmt.Sprintf("keys of %s from %x", r.name, from), err)
}
