package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"

	"github.com/rouse-run/rouse"
)

var errClosed = rouse.Errorf(rouse.Unavailable, "write", "store", "the store is closed")

// A request is one caller's change.
type request struct {
	// do may run more than once, each time in a transaction of which nothing is
	// left of the time before. An *Error it returns must leave nothing written,
	// any other error undoes the whole transaction.
	do    func(*tx) error
	begun atomic.Bool // by the writer, or withdrawn by the caller
	err   error
	done  chan struct{}
}

// update has do run in a transaction of the writer and returns when that is
// durable.
func (f *file) update(ctx context.Context, do func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{do: do, done: make(chan struct{})}
	select {
	case f.requests <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-f.closing:
		return errClosed
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		r.begun.Store(true)
		return ctx.Err()
	case <-f.closed:
		select {
		case <-r.done:
			return r.err
		default:
			return errClosed
		}
	}
}

// run is the writer. It ends once the file closes and what was accepted before
// is committed.
func (f *file) run() {
	t := &tx{conn: f.conn, stmts: map[string]*sql.Stmt{}}
	defer func() {
		f.writeErr = t.close()
		close(f.closed)
	}()
	batch := make([]*request, 0, maxBatch)
	for closing := false; ; {
		batch = batch[:0]
		if !closing {
			select {
			case r := <-f.requests:
				batch = append(batch, r)
			case <-f.closing:
				closing = true
			}
		}
		batch = f.fill(batch)
		if len(batch) == 0 {
			return
		}
		f.commit(t, batch)
	}
}

func (f *file) fill(batch []*request) []*request {
	for len(batch) < maxBatch {
		select {
		case r := <-f.requests:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// commit gives each request its own outcome. Where one breaks the transaction
// of all, each is tried again alone, unless it is the disk that says no: then
// it says no to all of them.
func (f *file) commit(t *tx, batch []*request) {
	live := batch[:0]
	for _, r := range batch {
		if r.begun.CompareAndSwap(false, true) {
			live = append(live, r)
		}
	}
	err := f.try(t, live)
	for i, r := range live {
		if err != nil {
			r.err = err
			if len(live) > 1 && kindOf(err) != rouse.Unavailable {
				if alone := f.try(t, live[i:i+1]); alone != nil {
					r.err = alone
				}
			}
		}
		close(r.done)
	}
}

// try runs batch in one transaction. An error means that nothing was written.
func (f *file) try(t *tx, batch []*request) error {
	if len(batch) == 0 {
		return nil
	}
	if err := t.begin(); err != nil {
		return err
	}
	err := func() error {
		for _, r := range batch {
			r.err = r.do(t)
			if _, ok := errors.AsType[*rouse.Error](r.err); r.err != nil && !ok {
				return r.err
			}
		}
		_, err := t.exec("COMMIT")
		return err
	}()
	if err != nil {
		t.rollback()
		if f.layout.rollback != nil {
			f.layout.rollback()
		}
	}
	return err
}

// A tx is the writer's connection while a transaction is open.
type tx struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

// close ends the statements: SQLite keeps a connection open, files and all,
// for as long as one of them is.
func (t *tx) close() error {
	var errs []error
	for _, s := range t.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

func (t *tx) begin() error {
	_, err := t.exec("BEGIN IMMEDIATE")
	if err != nil {
		// An earlier rollback may have met a full disk as well.
		t.rollback()
		_, err = t.exec("BEGIN IMMEDIATE")
	}
	return err
}

// rollback does not say how it went: SQLite has often undone the transaction by
// itself, and begin tries again.
func (t *tx) rollback() { _, _ = t.exec("ROLLBACK") }

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	s, err := t.prepared(query)
	if err != nil {
		return 0, err
	}
	res, err := s.Exec(args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// query runs a statement and calls each for every row.
func (t *tx) query(query string, args []any, each func(*sql.Rows) error) error {
	s, err := t.prepared(query)
	if err != nil {
		return err
	}
	rows, err := s.Query(args...)
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
}

func (t *tx) prepared(query string) (*sql.Stmt, error) {
	if s := t.stmts[query]; s != nil {
		return s, nil
	}
	s, err := t.conn.PrepareContext(context.Background(), query)
	if err == nil {
		t.stmts[query] = s
	}
	return s, err
}
