// Package table keeps items by key, with indexes, conditions, transactions,
// expiry and a feed of changes, all of it in one rouse.Keys.
package table

import (
	"context"
	"log/slog"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/stream/journal"
)

const (
	maxWrites   = 100     // of one transaction
	maxGets     = 100     // keys of one GetItems
	maxSegments = 1 << 16 // of a scan
	pageSize    = 1 << 20 // bytes of items that one page looks at
	stepSize    = 200     // items that one transaction of Run works on
	feedShards  = 4       // of a table
)

// Config is what Tables are made of.
type Config struct {
	Keys     rouse.Keys       // nothing else may write to it
	Now      func() time.Time // nil is time.Now
	Log      *slog.Logger     // nil discards
	MaxItem  int              // bytes of an item's names and values; 0 is 400 KiB
	Interval time.Duration    // between two sweeps of Run; 0 is a second
}

// Tables implements data.Tables.
type Tables struct {
	keys     rouse.Keys
	now      func() time.Time
	log      *slog.Logger
	maxItem  int
	interval time.Duration
	cache    cache
	waiters  journal.Waiters
	work     chan struct{} // holds one where Run has something to do
}

// New returns Tables. Items that have expired, and tables that were removed,
// leave the Keys only while Run runs; nobody sees them before.
func New(c Config) *Tables {
	t := &Tables{keys: c.Keys, now: c.Now, log: c.Log, maxItem: c.MaxItem, interval: c.Interval, work: make(chan struct{}, 1)}
	if t.now == nil {
		t.now = time.Now
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if t.maxItem <= 0 {
		t.maxItem = 400 << 10
	}
	if t.interval <= 0 {
		t.interval = time.Second
	}
	return t
}

// Run removes what has expired, what is too old in the feeds and what is left of
// removed tables, and fills indexes whose filling was cut short, until ctx ends.
// Of several nodes with the same Keys any number may run it.
func (t *Tables) Run(ctx context.Context) error {
	tick := time.NewTicker(t.interval)
	defer tick.Stop()
	for n := 0; ; n++ {
		if err := t.Sweep(ctx, n%60 == 0); err != nil && ctx.Err() == nil {
			t.log.Warn("sweep tables", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-t.work:
		}
	}
}

// Sweep does once what Run does again and again: always what has expired and
// what was removed, and the feeds and indexes where all is set.
func (t *Tables) Sweep(ctx context.Context, all bool) error {
	if err := t.expire(ctx); err != nil {
		return err
	}
	if err := t.collect(ctx); err != nil {
		return err
	}
	if !all {
		return nil
	}
	return t.tend(ctx)
}

// poke makes Run look at once.
func (t *Tables) poke() {
	select {
	case t.work <- struct{}{}:
	default:
	}
}
