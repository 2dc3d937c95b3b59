// Package bucket keeps objects by key: their bytes in rouse.Blobs, and all else,
// with versions, uploads in parts and a feed of events, in one rouse.Keys.
package bucket

import (
	"context"
	"log/slog"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/stream/journal"
)

const (
	maxKey       = 1024     // bytes of an object's key
	maxList      = 1000     // entries of one Listing
	maxDeletes   = 1000     // of one DeleteObjects
	maxMeta      = 64 << 10 // bytes of an object's Header, Meta and Tags
	maxPart      = 50_000   // the highest number of a part
	stepSize     = 100      // things that one transaction works on
	keepChanges  = 24 * time.Hour
	keepUploads  = 7 * 24 * time.Hour
	adoptBetween = 24 * time.Hour // two searches for blobs that nobody knows
)

// Config is what Buckets are made of.
type Config struct {
	Keys     rouse.Keys       // nothing else may write to it
	Blobs    rouse.Blobs      // nothing else may use it: what no object refers to is deleted
	Now      func() time.Time // nil is time.Now
	Log      *slog.Logger     // nil discards
	Grace    time.Duration    // before a blob that nothing refers to is deleted; 0 is an hour
	Interval time.Duration    // between two sweeps of Run; 0 is a minute
}

// Buckets implements data.Buckets.
type Buckets struct {
	keys     rouse.Keys
	blobs    rouse.Blobs
	now      func() time.Time
	log      *slog.Logger
	grace    time.Duration
	interval time.Duration
	cache    cache
	waiters  journal.Waiters
}

// New returns Buckets. The bytes of what was deleted leave the Blobs only while
// Run runs.
func New(c Config) *Buckets {
	b := &Buckets{keys: c.Keys, blobs: c.Blobs, now: c.Now, log: c.Log, grace: c.Grace, interval: c.Interval}
	if b.now == nil {
		b.now = time.Now
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.grace <= 0 {
		b.grace = time.Hour
	}
	if b.interval <= 0 {
		b.interval = time.Minute
	}
	return b
}

// Run ends uploads that are too old, deletes blobs that nothing refers to, and
// trims the feeds, until ctx ends. Of several nodes with the same Keys any
// number may run it.
func (b *Buckets) Run(ctx context.Context) error {
	tick := time.NewTicker(b.interval)
	defer tick.Stop()
	var adopted time.Time
	for {
		all := b.now().Sub(adopted) >= adoptBetween
		if err := b.Sweep(ctx, all); err != nil && ctx.Err() == nil {
			b.log.Warn("sweep buckets", "error", err)
		} else if all {
			adopted = b.now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sweep does once what Run does again and again. Where all is set it also looks
// through the Blobs for those that a process left that ended in the middle of
// storing an object.
func (b *Buckets) Sweep(ctx context.Context, all bool) error {
	if err := b.endUploads(ctx); err != nil {
		return err
	}
	if err := b.collect(ctx); err != nil {
		return err
	}
	if err := b.trim(ctx); err != nil || !all {
		return err
	}
	return b.adopt(ctx)
}
