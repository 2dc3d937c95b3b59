package stream

import (
	"context"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/tuple"
)

const (
	trimAtOnce  = 1000 // records that one transaction removes
	clearAtOnce = 4 << 20
	pageOfNames = 100
)

// Run removes what is too old, every Sweep, until ctx ends.
func (s *Streams) Run(ctx context.Context) error {
	t := time.NewTicker(s.Sweep)
	defer t.Stop()
	for {
		if err := s.Trim(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("remove old records", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// Trim removes the records that are too old by now, closed shards that are
// empty and what removed streams have left.
func (s *Streams) Trim(ctx context.Context) error {
	span := rouse.Span{From: []byte{documentKind}, To: []byte{documentKind + 1}, Limit: pageOfNames}
	for {
		var ds []*document
		more := false
		err := s.Keys.View(ctx, func(k rouse.KeyReader) error {
			pairs, err := k.Scan(span)
			if len(pairs) == 0 {
				return err
			}
			more = len(pairs) == span.Limit
			ds = s.decode(pairs, err)
			span.From = append(slices.Clip(pairs[len(pairs)-1].Key), 0)
			return nil
		})
		if err != nil {
			return err
		}
		for _, d := range ds {
			if err := s.trim(ctx, d); err != nil {
				return err
			}
		}
		if !more {
			return s.clear(ctx)
		}
	}
}

// trim removes old records of one stream.
func (s *Streams) trim(ctx context.Context, d *document) error {
	before := s.Now().Add(-time.Duration(d.Stream.Keep))
	for i := range d.Shards {
		j := d.journal(&d.Shards[i])
		for {
			old := false
			err := s.Keys.View(ctx, func(k rouse.KeyReader) error {
				first, _, err := j.Bounds(k)
				if err != nil {
					return err
				}
				after, err := j.Seek(k, before)
				old = after >= first
				return err
			})
			if err != nil {
				return err
			}
			if !old {
				break
			}
			err = s.Keys.Update(ctx, func(w rouse.KeyWriter) error {
				_, err := j.Trim(w, before, trimAtOnce)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	if !slices.ContainsFunc(d.Shards, func(sh shard) bool { return forgettable(sh, before) }) {
		return nil
	}
	return s.forget(ctx, d.Stream.Ref, before)
}

// forgettable reports whether all that a shard may hold is too old.
func forgettable(sh shard, before time.Time) bool {
	return !sh.Closed.IsZero() && sh.Closed.Before(before)
}

// forget takes shards out of a stream that were closed long ago and are empty.
func (s *Streams) forget(ctx context.Context, r rouse.Ref, before time.Time) error {
	return s.Keys.Update(ctx, func(w rouse.KeyWriter) error {
		d, err := s.documents.load(w, r)
		if rouse.KindOf(err) == rouse.NotFound {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		d = d.clone()
		var kept []shard
		for i := range d.Shards {
			sh := &d.Shards[i]
			j := d.journal(sh)
			first, next, err := j.Bounds(w)
			if err != nil {
				return err
			}
			if first == next && forgettable(*sh, before) {
				j.Remove(w)
				continue
			}
			kept = append(kept, *sh)
		}
		d.Shards = kept
		return d.save(w)
	})
}

// clear removes the journals of streams that were removed.
func (s *Streams) clear(ctx context.Context) error {
	for {
		done := false
		err := s.Keys.Update(ctx, func(w rouse.KeyWriter) error {
			garbage, err := w.Scan(rouse.Span{From: []byte{garbageKind}, To: []byte{garbageKind + 1}, Limit: 1})
			if done = len(garbage) == 0; done {
				return err
			}
			prefix := append([]byte{journalKind}, garbage[0].Key[1:]...)
			pairs, err := w.Scan(rouse.Span{From: prefix, To: tuple.After(prefix), Limit: trimAtOnce, Size: clearAtOnce})
			if len(pairs) == 0 {
				if err == nil {
					w.Delete(garbage[0].Key)
				}
				return err
			}
			w.Clear(prefix, append(slices.Clip(pairs[len(pairs)-1].Key), 0))
			return nil
		})
		if done || err != nil {
			return err
		}
	}
}
