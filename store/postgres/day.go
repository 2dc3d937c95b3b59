package postgres

import (
	"context"
	"math/bits"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/store/block"
)

const (
	dayLayout  = "20060102"
	dayColumns = "activations_first, activations_last, lines_first, lines_last, lag, lead"
	hour       = int64(time.Hour / time.Millisecond)
	rowSize    = 150 // bytes that a row takes beside its texts, indexes included; about
)

// daySchema is that of one day, whose name stands for D. A row of block holds
// what one posting has of a namespace within a second, with a row of part for
// each function in it. Times are milliseconds, statuses a bit for each; -3 is all
// but answered. Names may be any bytes.
var daySchema = []string{
	`CREATE TABLE IF NOT EXISTS rouse.block_D(id BIGINT PRIMARY KEY, kind BIGINT NOT NULL, namespace BYTEA NOT NULL,
		last BIGINT NOT NULL, first BIGINT NOT NULL, statuses BIGINT NOT NULL, of_first BIGINT NOT NULL, of_last BIGINT NOT NULL,
		size BIGINT NOT NULL, body BYTEA NOT NULL)`,
	"CREATE INDEX IF NOT EXISTS block_D_time ON rouse.block_D(kind, namespace, last, id)",
	"CREATE INDEX IF NOT EXISTS block_D_unusual ON rouse.block_D(namespace, last, id) WHERE statuses & -3 <> 0",
	"CREATE INDEX IF NOT EXISTS block_D_last ON rouse.block_D(last)",
	`CREATE TABLE IF NOT EXISTS rouse.part_D(kind BIGINT NOT NULL, namespace BYTEA NOT NULL, function BYTEA NOT NULL,
		last BIGINT NOT NULL, block BIGINT NOT NULL, start BIGINT NOT NULL, length BIGINT NOT NULL, statuses BIGINT NOT NULL,
		PRIMARY KEY(kind, namespace, function, last, block, start))`,
	"CREATE INDEX IF NOT EXISTS part_D_unusual ON rouse.part_D(namespace, function, last, block, start) WHERE statuses & -3 <> 0",
	"CREATE INDEX IF NOT EXISTS part_D_block ON rouse.part_D(block)",
}

// A day is what was posted on one, and its bounds as they are stored: wider than
// need be, so that they are seldom written. It does not change.
type day struct {
	store     *Store
	name      string
	bounds    [2]block.Span // of each kind
	lag, lead int64
}

func (d *day) blocks() string { return "rouse.block_" + d.name }
func (d *day) parts() string  { return "rouse.part_" + d.name }

// columns are where dayColumns are.
func (d *day) columns() []any {
	a, l := &d.bounds[block.OfActivations], &d.bounds[block.OfLines]
	return []any{&a.First, &a.Last, &l.First, &l.Last, &d.lag, &d.lead}
}

// end is when the next day begins.
func (d *day) end() time.Time {
	t, err := time.Parse(dayLayout, d.name)
	if err != nil {
		return time.Unix(1<<40, 0) // not ours: it never ends
	}
	return t.AddDate(0, 0, 1)
}

// make makes the tables where they are missing.
func (d *day) make(ctx context.Context) error {
	for _, query := range daySchema {
		if err := d.store.define(ctx, strings.ReplaceAll(query, "_D", "_"+d.name)); err != nil {
			return err
		}
	}
	_, err := d.store.write.Exec(ctx, "INSERT INTO rouse.day(name, "+dayColumns+") VALUES($1,$2,$3,$4,$5,0,0) ON CONFLICT(name) DO NOTHING",
		d.name, block.Nothing.First, block.Nothing.Last, block.Nothing.First, block.Nothing.Last)
	return err
}

// holds reports whether the bounds hold what p has packed.
func (d *day) holds(p *block.Packer) bool {
	for _, b := range p.Blocks {
		if s := d.bounds[b.Kind]; b.Span.First < s.First || b.Span.Last > s.Last {
			return false
		}
	}
	return p.Lag <= d.lag && p.Lead <= d.lead
}

// widen stores bounds that hold what p has packed, to the hour, and returns the
// day that has them. They are durable before what they hold can be seen.
func (d *day) widen(ctx context.Context, p *block.Packer) (*day, error) {
	wider := &day{store: d.store, name: d.name}
	want := [2]block.Span{block.Nothing, block.Nothing}
	for _, b := range p.Blocks {
		want[b.Kind].Include(b.Span.First-mod(b.Span.First, hour), b.Span.Last-mod(b.Span.Last, hour)+hour-1)
	}
	// It may be gone, with a day that Trim forgot.
	row := d.store.write.QueryRow(ctx, "INSERT INTO rouse.day AS d(name, "+dayColumns+`) VALUES($1,$2,$3,$4,$5,$6,$7) ON CONFLICT(name) DO UPDATE SET
		activations_first=least(d.activations_first, excluded.activations_first), activations_last=greatest(d.activations_last, excluded.activations_last),
		lines_first=least(d.lines_first, excluded.lines_first), lines_last=greatest(d.lines_last, excluded.lines_last),
		lag=greatest(d.lag, excluded.lag), lead=greatest(d.lead, excluded.lead) RETURNING `+dayColumns,
		d.name, want[0].First, want[0].Last, want[1].First, want[1].Last, roundUp(p.Lag), roundUp(p.Lead))
	return wider, row.Scan(wider.columns()...)
}

// mod is not negative, also for times before 1970.
func mod(a, b int64) int64 { return (a%b + b) % b }

// roundUp returns the next power of two.
func roundUp(n int64) int64 {
	if n <= 0 {
		return 0
	}
	return 1 << min(bits.Len64(uint64(n-1)), 62)
}

// Name implements block.Day.
func (d *day) Name() string { return d.blocks() }

// Bounds implements block.Day.
func (d *day) Bounds(k block.Kind) (s block.Span, lag, lead int64) { return d.bounds[k], d.lag, d.lead }

// Page implements block.Day.
func (d *day) Page(ctx context.Context, p block.Page) ([]block.Row, error) {
	query, args := d.page(p)
	rows, err := readAll(ctx, d.store, query, args, func(row pgx.CollectableRow) (r block.Row, err error) {
		return r, row.Scan(&r.Last, &r.Block, &r.Start, &r.Body)
	})
	return rows, d.unlessForgotten(err)
}

func (d *day) page(p block.Page) (query string, args []any) {
	query = "SELECT b.last, b.id, 0::bigint, b.body FROM " + d.blocks() + ` b WHERE b.kind=$1 AND b.namespace=$2
		AND b.last>=$3 AND (b.last, b.id)<($4, $5)`
	order, statuses := " ORDER BY b.last DESC, b.id DESC", "b.statuses"
	args = []any{int64(p.Kind), []byte(p.Namespace), p.First, p.Before.Last, p.Before.Block, p.Limit}
	if p.Function != "" {
		query = "SELECT p.last, p.block, p.start, substring(b.body FROM p.start::int+1 FOR p.length::int) FROM " + d.parts() + " p JOIN " + d.blocks() + ` b ON b.id=p.block
			WHERE p.kind=$1 AND p.namespace=$2 AND p.function=$7 AND p.last>=$3 AND (p.last, p.block, p.start)<($4, $5, $8)`
		order, statuses = " ORDER BY p.last DESC, p.block DESC, p.start DESC", "p.statuses"
		args = append(args, []byte(p.Function), p.Before.Start)
	}
	if p.Statuses != 0 {
		if p.Unusual() {
			query += " AND " + statuses + " & -3 <> 0" // which picks the index
		}
		query += " AND " + statuses + " & " + placeholder(len(args)+1) + " <> 0"
		args = append(args, p.Statuses)
	}
	return query + order + " LIMIT $6", args
}

func placeholder(n int) string { return "$" + string(rune('0'+n)) }

// unlessForgotten takes a day that Trim has forgotten meanwhile for one without
// records.
func (d *day) unlessForgotten(err error) error {
	if code(err) == undefinedTable {
		return nil
	}
	return err
}

// Around implements block.Day.
func (d *day) Around(ctx context.Context, k block.Kind, last block.Span, ms int64, f func(rouse.Namespace, block.Row)) error {
	query := "SELECT namespace, last, id, body FROM " + d.blocks() + " WHERE kind=$1 AND last BETWEEN $2 AND $3 AND first<=$4"
	if k == block.OfLines {
		query = "SELECT namespace, last, id, body FROM " + d.blocks() + " WHERE kind=$1 AND last BETWEEN $2 AND $3 AND of_first<=$4 AND of_last>=$4"
	}
	type found struct {
		namespace []byte
		row       block.Row
	}
	all, err := readAll(ctx, d.store, query, []any{int64(k), last.First, last.Last, ms}, func(row pgx.CollectableRow) (r found, err error) {
		return r, row.Scan(&r.namespace, &r.row.Last, &r.row.Block, &r.row.Body)
	})
	for _, r := range all {
		f(rouse.Namespace(r.namespace), r.row)
	}
	return d.unlessForgotten(err)
}
