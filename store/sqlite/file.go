package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"modernc.org/sqlite"
)

const (
	maxBatch = 512 // changes in one transaction
	readers  = 4   // connections that read one file
)

// A layout is what a kind of file holds.
type layout struct {
	schema   string
	version  int
	pageSize int
	cache    int    // KiB that each connection keeps of the file
	rollback func() // called by the writer when a transaction is undone
}

func (l layout) cachePragma() string { return fmt.Sprintf("_pragma=cache_size(-%d)", l.cache) }

// A file is one SQLite file with the goroutine that writes it and the
// connections that read it.
type file struct {
	path   string
	layout layout
	write  *sql.DB // one connection
	conn   *sql.Conn
	read   *sql.DB

	requests chan *request
	closing  chan struct{}
	closed   chan struct{} // when the writer has ended
	writeErr error         // what its end met; set before closed is

	mu    sync.Mutex
	stmts map[string]*sql.Stmt // of read; guarded by mu
}

func openFile(ctx context.Context, path string, l layout) (*file, error) {
	f := &file{path: path, layout: l, stmts: map[string]*sql.Stmt{},
		requests: make(chan *request, maxBatch), closing: make(chan struct{}), closed: make(chan struct{})}
	if err := f.open(ctx); err != nil {
		return nil, explain("open", path, errors.Join(err, f.closeConnections()))
	}
	go f.run()
	return f, nil
}

func (f *file) open(ctx context.Context) error {
	// SQLite would make the file readable to all, and gives the files beside it
	// the mode of this one.
	h, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := h.Close(); err != nil {
		return err
	}
	version, err := f.version(ctx)
	if err != nil {
		return err
	}
	f.write, err = connect(f.path, 1, "mode=rw", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_pragma=wal_autocheckpoint(2000)",
		"_pragma=journal_size_limit(67108864)", f.layout.cachePragma())
	if err != nil {
		return err
	}
	if f.conn, err = f.write.Conn(ctx); err != nil {
		return err
	}
	if version == 0 {
		_, err := f.conn.ExecContext(ctx, fmt.Sprintf("BEGIN IMMEDIATE; %s PRAGMA user_version=%d; COMMIT;",
			f.layout.schema, f.layout.version))
		if err != nil {
			return err
		}
	}
	f.read, err = connect(f.path, readers, "mode=ro", "_pragma=query_only(1)", f.layout.cachePragma())
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(f.path))
}

func connect(path string, n int, params ...string) (*sql.DB, error) {
	u := url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=busy_timeout(5000)"}
	for _, p := range params {
		u.RawQuery += "&" + p
	}
	c, err := sqlite.NewConnector(u.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	if n > 1 {
		db.SetConnMaxIdleTime(5 * time.Minute)
	}
	return db, nil
}

// version returns that of the schema in the file, 0 for a new file, which it
// prepares. It refuses any but ours, before anything is written.
func (f *file) version(ctx context.Context) (version int, err error) {
	db, err := connect(f.path, 1, "mode=rw")
	if err != nil {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	switch {
	case err != nil:
	case version == 0:
		// These two can't be changed later, and only in this order before then.
		_, err = db.ExecContext(ctx, fmt.Sprintf("PRAGMA page_size=%d; PRAGMA auto_vacuum=incremental; PRAGMA journal_mode=WAL;",
			f.layout.pageSize))
	case version != f.layout.version:
		err = newer(f.path, version, f.layout.version)
	}
	return version, errors.Join(err, db.Close())
}

// close commits what waits and closes the connections, upon which SQLite moves
// its log into the file.
func (f *file) close() error {
	close(f.closing)
	<-f.closed
	return explain("close", f.path, errors.Join(f.writeErr, f.closeConnections()))
}

func (f *file) closeConnections() error {
	var errs []error
	if f.read != nil {
		errs = append(errs, f.read.Close())
	}
	if f.conn != nil {
		errs = append(errs, f.conn.Close())
	}
	if f.write != nil {
		errs = append(errs, f.write.Close())
	}
	return errors.Join(errs...)
}

// query runs a SELECT on a reader and calls each for every row.
func (f *file) query(ctx context.Context, query string, args []any, each func(*sql.Rows) error) error {
	select {
	case <-f.closing:
		return errClosed
	default:
	}
	s, err := f.prepared(ctx, query)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
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

func (f *file) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.stmts[query]; s != nil {
		return s, nil
	}
	s, err := f.read.PrepareContext(ctx, query)
	if err == nil {
		f.stmts[query] = s
	}
	return s, err
}
