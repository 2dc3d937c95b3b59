package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rouse-run/rouse"
)

// Names compare by bytes: TEXT of SQLite does, and holds any bytes.
const metaSchema = `
CREATE TABLE doc(
	kind      TEXT NOT NULL,
	namespace TEXT NOT NULL,
	name      TEXT NOT NULL,
	revision  INTEGER NOT NULL,
	crc       INTEGER NOT NULL,
	data      BLOB NOT NULL,
	PRIMARY KEY(kind, namespace, name)
) WITHOUT ROWID;`

type meta struct{ file *file }

func openMeta(ctx context.Context, c Config) (*meta, error) {
	f, err := openFile(ctx, filepath.Join(c.Dir, "meta.db"), layout{schema: metaSchema, version: 1, pageSize: 4096, cache: 4096})
	if err != nil {
		return nil, err
	}
	return &meta{f}, nil
}

func (m *meta) Get(ctx context.Context, kind string, r rouse.Ref) (rouse.Doc, error) {
	op, found := "get "+kind, false
	var d rouse.Doc
	err := m.file.query(ctx, "SELECT name, revision, crc, data FROM doc WHERE kind=? AND namespace=? AND name=?",
		[]any{kind, string(r.Namespace), r.Name}, func(rows *sql.Rows) (err error) {
			found = true
			d, err = scanDoc(rows, kind, r.Namespace)
			return err
		})
	if err == nil && !found {
		err = rouse.Errorf(rouse.NotFound, op, r.String(), "there is none")
	}
	if err != nil {
		return rouse.Doc{}, explain(op, r.String(), err)
	}
	return d, nil
}

func (m *meta) List(ctx context.Context, q rouse.DocQuery) ([]rouse.Doc, error) {
	limit := q.Limit
	if limit <= 0 {
		limit = -1
	}
	var docs []rouse.Doc
	var bad []error
	// Names with a prefix are next to each other, from the prefix on.
	err := m.file.query(ctx, `SELECT name, revision, crc, data FROM doc
		WHERE kind=? AND namespace=? AND name>=? AND name>? ORDER BY name LIMIT ?`,
		[]any{q.Kind, string(q.Namespace), q.Prefix, q.After, limit}, func(rows *sql.Rows) error {
			d, err := scanDoc(rows, q.Kind, q.Namespace)
			_, torn := errors.AsType[*rouse.Error](err)
			switch {
			case err != nil && !torn:
				return err
			case !strings.HasPrefix(d.Ref.Name, q.Prefix):
			case torn:
				bad = append(bad, err)
			default:
				docs = append(docs, d)
			}
			return nil
		})
	return docs, explain("list "+q.Kind, string(q.Namespace), errors.Join(append(bad, err)...))
}

func scanDoc(rows *sql.Rows, kind string, ns rouse.Namespace) (rouse.Doc, error) {
	d := rouse.Doc{Kind: kind, Ref: rouse.Ref{Namespace: ns}}
	var crc int64
	if err := rows.Scan(&d.Ref.Name, &d.Revision, &crc, &d.Data); err != nil {
		return d, err
	}
	if d.Data == nil {
		d.Data = []byte{}
	}
	if docSum(d) != crc {
		return d, damaged("read "+kind, d.Ref.String())
	}
	return d, nil
}

// docSum covers the key as well: a document under another's name would be worse
// than one that is lost.
func docSum(d rouse.Doc) int64 {
	b := fmt.Appendf(nil, "%s\x00%s\x00%s\x00%d\x00", d.Kind, d.Ref.Namespace, d.Ref.Name, d.Revision)
	return checksum(append(b, d.Data...))
}

func (m *meta) Apply(ctx context.Context, changes []rouse.Change) error {
	err := m.file.update(ctx, func(t *tx) error {
		if len(changes) < 2 {
			return applyAll(t, changes)
		}
		// A later change may be refused after an earlier one was written.
		if _, err := t.exec("SAVEPOINT apply"); err != nil {
			return err
		}
		refused := applyAll(t, changes)
		if refused != nil {
			if _, err := t.exec("ROLLBACK TO apply"); err != nil {
				return err
			}
		}
		if _, err := t.exec("RELEASE apply"); err != nil {
			return err
		}
		return refused
	})
	return explain("change documents", "meta", err)
}

func applyAll(t *tx, changes []rouse.Change) error {
	for _, c := range changes {
		if err := apply(t, c); err != nil {
			return err
		}
	}
	return nil
}

func apply(t *tx, c rouse.Change) error {
	ns, name := string(c.Ref.Namespace), c.Ref.Name
	var has int64
	err := t.query("SELECT revision FROM doc WHERE kind=? AND namespace=? AND name=?", []any{c.Kind, ns, name},
		func(rows *sql.Rows) error { return rows.Scan(&has) })
	if err != nil {
		return err
	}
	if has != c.Revision {
		return rouse.Errorf(rouse.Conflict, "change "+c.Kind, c.Ref.String(),
			"it is at revision %d, not %d: read it again", has, c.Revision)
	}
	sum := docSum(rouse.Doc{Kind: c.Kind, Ref: c.Ref, Revision: has + 1, Data: c.Data})
	switch {
	case c.Data == nil:
		_, err = t.exec("DELETE FROM doc WHERE kind=? AND namespace=? AND name=?", c.Kind, ns, name)
	case has == 0:
		_, err = t.exec("INSERT INTO doc(kind, namespace, name, revision, crc, data) VALUES(?,?,?,1,?,?)",
			c.Kind, ns, name, sum, c.Data)
	default:
		_, err = t.exec("UPDATE doc SET revision=revision+1, crc=?, data=? WHERE kind=? AND namespace=? AND name=?",
			sum, c.Data, c.Kind, ns, name)
	}
	return err
}
