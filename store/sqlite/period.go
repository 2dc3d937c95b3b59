package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/block"
)

// What is posted on one day is one file, so that a day is forgotten by deleting
// it. A row holds what one posting has of a namespace within a second, with a
// small row beside it for each function in it; nothing has a row of its own.
// Times are milliseconds, statuses a bit for each; -3 is all but answered.
const recordsSchema = `
CREATE TABLE namespace(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE function(
	id        INTEGER PRIMARY KEY,
	namespace INTEGER NOT NULL,
	name      TEXT NOT NULL,
	UNIQUE(namespace, name)
);
CREATE TABLE block(
	id        INTEGER PRIMARY KEY,
	kind      INTEGER NOT NULL,
	namespace INTEGER NOT NULL,
	last      INTEGER NOT NULL,
	first     INTEGER NOT NULL,
	statuses  INTEGER NOT NULL,
	of_first  INTEGER NOT NULL,
	of_last   INTEGER NOT NULL,
	body      BLOB NOT NULL
);
CREATE INDEX block_time ON block(kind, namespace, last);
CREATE INDEX block_unusual ON block(namespace, last) WHERE statuses & -3 <> 0;
CREATE TABLE part(
	kind     INTEGER NOT NULL,
	function INTEGER NOT NULL,
	last     INTEGER NOT NULL,
	block    INTEGER NOT NULL,
	start    INTEGER NOT NULL,
	length   INTEGER NOT NULL,
	statuses INTEGER NOT NULL,
	PRIMARY KEY(kind, function, last, block, start)
) WITHOUT ROWID;
CREATE INDEX part_unusual ON part(function, last, block, start) WHERE statuses & -3 <> 0;
CREATE TABLE skew(id INTEGER PRIMARY KEY, lag INTEGER NOT NULL, lead INTEGER NOT NULL);
INSERT INTO skew(id, lag, lead) VALUES(1, 0, 0);`

const (
	day      = "20060102"
	maxNames = 100_000 // functions whose numbers the writer remembers
)

// A period is the file of one day.
type period struct {
	file  *file
	name  string
	end   time.Time
	users sync.WaitGroup // who wants to use it once it is no longer listed

	mu     sync.Mutex
	bounds [2]block.Span // of each kind; guarded by mu
	lag    int64         // milliseconds; guarded by mu
	lead   int64         // milliseconds; guarded by mu

	// These are the writer's.
	namespaces map[rouse.Namespace]int64
	functions  map[rouse.Ref]int64
	next       int64      // block
	skew       block.Span // what is stored: -lead to lag
}

func openPeriod(ctx context.Context, dir, name string) (*period, error) {
	start, err := time.Parse(day, name)
	if err != nil {
		return nil, err
	}
	p := &period{name: name, end: start.AddDate(0, 0, 1), bounds: [2]block.Span{block.Nothing, block.Nothing}}
	p.forget()
	p.file, err = openFile(ctx, filepath.Join(dir, "records-"+name+".db"),
		layout{schema: recordsSchema, version: 1, pageSize: 8192, cache: 4096, rollback: p.forget})
	if err != nil {
		return nil, err
	}
	if err := p.load(ctx); err != nil {
		return nil, explain("open", p.file.path, errors.Join(err, p.file.close()))
	}
	return p, nil
}

// load reads what p remembers of its file.
func (p *period) load(ctx context.Context) error {
	err := p.file.query(ctx, `SELECT k.kind, (SELECT min(last) FROM block WHERE kind=k.kind AND namespace=n.id),
		(SELECT max(last) FROM block WHERE kind=k.kind AND namespace=n.id)
		FROM namespace n, (SELECT 0 AS kind UNION ALL SELECT 1) k`, nil, func(rows *sql.Rows) error {
		var kind int
		var first, last sql.NullInt64
		if err := rows.Scan(&kind, &first, &last); err != nil || !last.Valid {
			return err
		}
		p.bounds[kind].Include(first.Int64-block.Window, last.Int64)
		return nil
	})
	if err != nil {
		return err
	}
	return p.file.query(ctx, "SELECT lag, lead FROM skew", nil, func(rows *sql.Rows) error {
		return rows.Scan(&p.lag, &p.lead)
	})
}

// forget empties what the writer remembers and may have been undone.
func (p *period) forget() {
	p.namespaces, p.functions, p.next = map[rouse.Namespace]int64{}, map[rouse.Ref]int64{}, 0
	p.skew = block.Span{}
}

// remove closes and deletes the file once nobody uses it.
func (p *period) remove() error {
	p.users.Wait()
	err := p.file.close()
	// The log goes first: alone, it would be taken for that of a new file.
	for _, suffix := range []string{"-wal", "-shm", ""} {
		if e := os.Remove(p.file.path + suffix); e != nil && !os.IsNotExist(e) {
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, syncFolder(filepath.Dir(p.file.path)))
}

// note widens the bounds before the blocks of k can be seen.
func (p *period) note(k *block.Packer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range k.Blocks {
		p.bounds[b.Kind].Include(b.Span.First, b.Span.Last)
	}
	p.lag, p.lead = max(p.lag, k.Lag), max(p.lead, k.Lead)
}

// Bounds implements block.Day.
func (p *period) Bounds(k block.Kind) (s block.Span, lag, lead int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bounds[k], p.lag, p.lead
}

// insert writes what k has packed.
func (p *period) insert(t *tx, k *block.Packer) error {
	if k.Lag > p.skew.Last || k.Lead > -p.skew.First {
		if _, err := t.exec("UPDATE skew SET lag=max(lag, ?), lead=max(lead, ?)", k.Lag, k.Lead); err != nil {
			return err
		}
		p.skew.Include(-k.Lead, k.Lag)
	}
	for i := range k.Blocks {
		if err := p.insertBlock(t, &k.Blocks[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *period) insertBlock(t *tx, b *block.Block) error {
	if p.next == 0 {
		err := t.query("SELECT coalesce(max(id), 0)+1 FROM block", nil, func(rows *sql.Rows) error { return rows.Scan(&p.next) })
		if err != nil {
			return err
		}
	}
	ns, err := p.namespace(t, b.Namespace)
	if err != nil {
		return err
	}
	_, err = t.exec("INSERT INTO block(id, kind, namespace, last, first, statuses, of_first, of_last, body) VALUES(?,?,?,?,?,?,?,?,?)",
		p.next, b.Kind, ns, b.Span.Last, b.Span.First, b.Statuses, b.Of.First, b.Of.Last, b.Body)
	if err != nil {
		return err
	}
	for _, pt := range b.Parts {
		fn, err := p.function(t, ns, rouse.Ref{Namespace: b.Namespace, Name: pt.Name})
		if err != nil {
			return err
		}
		_, err = t.exec("INSERT INTO part(kind, function, last, block, start, length, statuses) VALUES(?,?,?,?,?,?,?)",
			b.Kind, fn, pt.Last, p.next, pt.Start, pt.Length, pt.Statuses)
		if err != nil {
			return err
		}
	}
	p.next++
	return nil
}

func (p *period) namespace(t *tx, ns rouse.Namespace) (int64, error) {
	if n, ok := p.namespaces[ns]; ok {
		return n, nil
	}
	n, err := number(t, "SELECT id FROM namespace WHERE name=?", "INSERT INTO namespace(name) VALUES(?) RETURNING id", string(ns))
	if err == nil {
		if len(p.namespaces) >= maxNames {
			clear(p.namespaces)
		}
		p.namespaces[ns] = n
	}
	return n, err
}

func (p *period) function(t *tx, ns int64, r rouse.Ref) (int64, error) {
	if n, ok := p.functions[r]; ok {
		return n, nil
	}
	n, err := number(t, "SELECT id FROM function WHERE namespace=? AND name=?",
		"INSERT INTO function(namespace, name) VALUES(?,?) RETURNING id", ns, r.Name)
	if err == nil {
		if len(p.functions) >= maxNames {
			clear(p.functions)
		}
		p.functions[r] = n
	}
	return n, err
}

// number finds the number of a name, or gives it one.
func number(t *tx, find, insert string, args ...any) (n int64, err error) {
	for _, query := range []string{find, insert} {
		err = t.query(query, args, func(rows *sql.Rows) error { return rows.Scan(&n) })
		if n != 0 || err != nil {
			break
		}
	}
	return n, err
}
