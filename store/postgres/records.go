package postgres

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/block"
)

// numbersAtOnce is how many blocks a node numbers with one round trip.
const numbersAtOnce = 1000

var recordsSchema = []string{
	`CREATE TABLE IF NOT EXISTS rouse.day(name TEXT PRIMARY KEY,
		activations_first BIGINT NOT NULL, activations_last BIGINT NOT NULL,
		lines_first BIGINT NOT NULL, lines_last BIGINT NOT NULL, lag BIGINT NOT NULL, lead BIGINT NOT NULL)`,
	"CREATE SEQUENCE IF NOT EXISTS rouse.number INCREMENT BY 1000",
}

// records are two tables for each day. What is posted goes to those of today.
type records struct {
	store    *Store
	log      *slog.Logger
	now      func() time.Time
	packers  sync.Pool  // of *block.Packer
	trimming sync.Mutex // held by Trim

	sizes     map[string]int64 // of days that nobody posts to; guarded by trimming
	numbering sync.Mutex       // held while numbers are asked for: others need some as well
	next, end int64            // numbers that are not yet given out; guarded by numbering

	mu    sync.Mutex
	today *day // as it was stored last; nil until it is known; guarded by mu
}

func openRecords(ctx context.Context, s *Store) (*records, error) {
	for _, query := range recordsSchema {
		if err := s.define(ctx, query); err != nil {
			return nil, err
		}
	}
	return &records{store: s, log: s.config.Log, now: s.config.Now, sizes: map[string]int64{}}, nil
}

// Post implements rouse.Records.
func (r *records) Post(ctx context.Context, as []rouse.Activation, ls []rouse.Line) error {
	if len(as)+len(ls) == 0 {
		return nil
	}
	if r.store.closed() {
		return explain("post", "records", errClosed)
	}
	p, _ := r.packers.Get().(*block.Packer)
	if p == nil {
		p = &block.Packer{}
	}
	refused := p.Pack(as, ls)
	err := cmp.Or(ctx.Err(), refused)
	if ctx.Err() == nil && len(p.Blocks) > 0 {
		err = cmp.Or(r.retry(ctx, func() error { return r.post(ctx, p) }), refused)
	}
	p.Forget()
	r.packers.Put(p)
	return explain("post", "records", err)
}

// retry does again what a lost connection or another's transaction undid.
func (r *records) retry(ctx context.Context, do func() error) error {
	until := time.Now().Add(patience)
	for b := (backoff{}); ; {
		err := do()
		_, final := errors.AsType[*rouse.Error](err)
		if err == nil || final || !lost(err) && !conflict(err) || ctx.Err() != nil || time.Now().After(until) ||
			b.wait(ctx, r.store.closing) != nil {
			return err
		}
	}
}

func (r *records) post(ctx context.Context, p *block.Packer) error {
	for {
		d, err := r.prepare(ctx, p)
		if err != nil {
			return err
		}
		numbers, err := r.number(ctx, len(p.Blocks))
		if err != nil {
			return err
		}
		// What is sent together is one transaction.
		err = r.store.write.SendBatch(ctx, d.inserts(p, numbers)).Close()
		switch {
		case code(err) == undefinedTable && ctx.Err() == nil:
			r.forget(d)
			continue // Trim dropped it, at a node whose clock is ahead
		case err != nil && !refused(err):
			return rouse.Errorf(rouse.Unavailable, "post", "records",
				"the connection broke while they were committed, and they may or may not be there (%w)", err)
		}
		return err
	}
}

// inserts writes what p has packed.
func (d *day) inserts(p *block.Packer, numbers []int64) *pgx.Batch {
	var blocks struct {
		kind, last, first, id, statuses, ofFirst, ofLast, size []int64
		namespace, body                                        [][]byte
	}
	var parts struct {
		kind, last, block, start, length, statuses []int64
		namespace, function                        [][]byte
	}
	for i := range p.Blocks {
		b, id := &p.Blocks[i], numbers[i]
		ns := []byte(b.Namespace)
		blocks.kind, blocks.namespace = append(blocks.kind, int64(b.Kind)), append(blocks.namespace, ns)
		blocks.last, blocks.first = append(blocks.last, b.Span.Last), append(blocks.first, b.Span.First)
		blocks.id, blocks.statuses = append(blocks.id, id), append(blocks.statuses, b.Statuses)
		blocks.ofFirst, blocks.ofLast = append(blocks.ofFirst, b.Of.First), append(blocks.ofLast, b.Of.Last)
		blocks.body = append(blocks.body, b.Body)
		size := rowSize + len(b.Body)
		for _, pt := range b.Parts {
			size += rowSize + len(pt.Name)
			parts.kind, parts.namespace = append(parts.kind, int64(b.Kind)), append(parts.namespace, ns)
			parts.function, parts.last = append(parts.function, []byte(pt.Name)), append(parts.last, pt.Last)
			parts.block, parts.start = append(parts.block, id), append(parts.start, int64(pt.Start))
			parts.length, parts.statuses = append(parts.length, int64(pt.Length)), append(parts.statuses, pt.Statuses)
		}
		blocks.size = append(blocks.size, int64(size))
	}
	batch := &pgx.Batch{}
	batch.Queue("INSERT INTO "+d.blocks()+"(kind, namespace, last, first, id, statuses, of_first, of_last, size, body) SELECT * FROM "+
		"unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bytea[])",
		blocks.kind, blocks.namespace, blocks.last, blocks.first, blocks.id, blocks.statuses, blocks.ofFirst, blocks.ofLast, blocks.size, blocks.body)
	batch.Queue("INSERT INTO "+d.parts()+"(kind, namespace, function, last, block, start, length, statuses) SELECT * FROM "+
		"unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])",
		parts.kind, parts.namespace, parts.function, parts.last, parts.block, parts.start, parts.length, parts.statuses)
	return batch
}

// number takes n numbers, in ascending order.
func (r *records) number(ctx context.Context, n int) ([]int64, error) {
	r.numbering.Lock()
	defer r.numbering.Unlock()
	var numbers []int64
	for len(numbers) < n {
		if r.next == r.end {
			if err := r.store.write.QueryRow(ctx, "SELECT nextval('rouse.number')").Scan(&r.next); err != nil {
				return nil, err
			}
			r.end = r.next + numbersAtOnce
		}
		numbers = append(numbers, r.next)
		r.next++
	}
	return numbers, nil
}

// prepare returns the day of today, whose bounds hold what p has packed.
func (r *records) prepare(ctx context.Context, p *block.Packer) (*day, error) {
	name := r.now().UTC().Format(dayLayout)
	r.mu.Lock()
	d := r.today
	r.mu.Unlock()
	if d == nil || d.name != name {
		d = &day{store: r.store, name: name, bounds: [2]block.Span{block.Nothing, block.Nothing}}
		if err := d.make(ctx); err != nil {
			return nil, err
		}
		r.log.Info("records go to the tables of a day", "day", name)
	} else if d.holds(p) {
		return d, nil
	}
	wider, err := d.widen(ctx, p)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.today = wider
	return wider, nil
}

// forget lets the next posting make the tables of d where they are missing.
func (r *records) forget(d *day) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.today != nil && r.today.name == d.name {
		r.today = nil
	}
}

// Activations implements rouse.Records.
func (r *records) Activations(ctx context.Context, q rouse.ActivationQuery) ([]rouse.Activation, error) {
	const op = "list activations"
	days, err := r.days(ctx)
	if err != nil {
		return nil, explain(op, string(q.Namespace), err)
	}
	as, err := block.Activations(ctx, days, q)
	return as, explain(op, string(q.Namespace), err)
}

// Activation implements rouse.Records.
func (r *records) Activation(ctx context.Context, id string) (rouse.Activation, error) {
	const op = "get activation"
	days, err := r.days(ctx)
	if err != nil {
		return rouse.Activation{}, explain(op, id, err)
	}
	a, err := block.Activation(ctx, days, id)
	return a, explain(op, id, err)
}

// Lines implements rouse.Records.
func (r *records) Lines(ctx context.Context, q rouse.LineQuery) ([]rouse.Line, error) {
	const op = "list lines"
	days, err := r.days(ctx)
	if err != nil {
		return nil, explain(op, q.Function.String(), err)
	}
	ls, err := block.Lines(ctx, days, q)
	return ls, explain(op, cmp.Or(q.Activation, q.Function.String()), err)
}

// days returns all there are, oldest first.
func (r *records) days(ctx context.Context) ([]block.Day, error) {
	if r.store.closed() {
		return nil, errClosed
	}
	return readAll(ctx, r.store, "SELECT name, "+dayColumns+" FROM rouse.day ORDER BY name", nil, func(row pgx.CollectableRow) (block.Day, error) {
		d := &day{store: r.store}
		return d, row.Scan(append([]any{&d.name}, d.columns()...)...)
	})
}

// readAll returns what scan makes of each row. A lost connection makes it read
// again.
func readAll[T any](ctx context.Context, s *Store, query string, args []any, scan pgx.RowToFunc[T]) (all []T, err error) {
	err = s.records.retry(ctx, func() error {
		rows, err := s.read.Query(ctx, query, args...)
		if err == nil {
			all, err = pgx.CollectRows(rows, scan)
		}
		return err
	})
	return all, err
}
