// Package stream keeps records in order, shard by shard, for as long as each
// stream says. It implements data.Streams over any rouse.Keys.
package stream

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/tuple"
	"github.com/rouse-run/rouse/stream/journal"
)

const maxShards = data.MaxShards

// A Config says what Streams stand on.
type Config struct {
	Keys  rouse.Keys       // of which nobody else has a part
	Now   func() time.Time // nil is time.Now
	Log   *slog.Logger     // nil discards
	Sweep time.Duration    // how often Run looks for what is too old; 0 is a minute
}

// Streams implement data.Streams. Records are removed only while Run runs.
type Streams struct {
	Config
	documents documents
	waiters   journal.Waiters
	work      sync.WaitGroup // the lanes

	mu     sync.Mutex
	lanes  map[rouse.Ref]*lane // guarded by mu; those where something waits
	closed bool                // guarded by mu
}

// New returns the Streams that are in c.Keys.
func New(c Config) *Streams {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Sweep <= 0 {
		c.Sweep = time.Minute
	}
	return &Streams{Config: c, lanes: map[rouse.Ref]*lane{}}
}

// Close refuses what is appended from now on and returns when what came before
// is done.
func (s *Streams) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.work.Wait()
	return nil
}

// Create implements data.Streams.
func (s *Streams) Create(ctx context.Context, c data.Stream) (data.Stream, error) {
	if err := c.Check(); err != nil {
		return data.Stream{}, rouse.Errorf(rouse.Invalid, "create stream", c.Ref.String(), "%w", err)
	}
	c.Created = s.Now().UTC()
	d := &document{Stream: c, ID: rand.Uint64()}
	d.scale(c.Shards, c.Created)
	err := s.Keys.Update(ctx, func(w rouse.KeyWriter) error {
		switch _, err := s.documents.load(w, c.Ref); {
		case err == nil:
			return rouse.Errorf(rouse.Conflict, "create stream", c.Ref.String(), "there is a stream of this name: remove it or choose another name")
		case rouse.KindOf(err) != rouse.NotFound:
			return err
		}
		return d.save(w)
	})
	if err != nil {
		return data.Stream{}, err
	}
	return d.stream(), nil
}

func checkShards(op string, r rouse.Ref, n int) error {
	if n < 1 || n > maxShards {
		return rouse.Errorf(rouse.Invalid, op, r.String(), "shards: %d is not from 1 to %d", n, maxShards)
	}
	return nil
}

// Update implements data.Streams.
func (s *Streams) Update(ctx context.Context, c data.Stream) (data.Stream, error) {
	c.Shards = 0 // Scale changes them
	if err := c.Check(); err != nil {
		return data.Stream{}, rouse.Errorf(rouse.Invalid, "update stream", c.Ref.String(), "%w", err)
	}
	var d *document
	err := s.change(ctx, c.Ref, func(old *document) error {
		d, old.Stream.Keep, old.Stream.Notes = old, c.Keep, c.Notes
		return nil
	})
	if err != nil {
		return data.Stream{}, err
	}
	return d.stream(), nil
}

// change saves what f makes of a stream's document.
func (s *Streams) change(ctx context.Context, r rouse.Ref, f func(*document) error) error {
	return s.Keys.Update(ctx, func(w rouse.KeyWriter) error {
		d, err := s.documents.load(w, r)
		if err != nil {
			return err
		}
		d = d.clone()
		if err := f(d); err != nil {
			return err
		}
		return d.save(w)
	})
}

// Stream implements data.Streams.
func (s *Streams) Stream(ctx context.Context, r rouse.Ref) (data.Stream, error) {
	d, err := s.document(ctx, r)
	if err != nil {
		return data.Stream{}, err
	}
	return d.stream(), nil
}

// document returns a stream's document, which must not be changed.
func (s *Streams) document(ctx context.Context, r rouse.Ref) (d *document, err error) {
	err = s.Keys.View(ctx, func(k rouse.KeyReader) error {
		d, err = s.documents.load(k, r)
		return err
	})
	return d, err
}

// List implements data.Streams. Streams whose documents are damaged are left
// out, and logged.
func (s *Streams) List(ctx context.Context, ns rouse.Namespace, after string, limit int) ([]data.Stream, error) {
	prefix := tuple.String([]byte{documentKind}, ns)
	span := rouse.Span{From: prefix, To: tuple.After(prefix), Limit: limit}
	if after != "" {
		span.From = append(tuple.String(prefix, after), 0)
	}
	var list []data.Stream
	err := s.Keys.View(ctx, func(k rouse.KeyReader) error {
		list = nil
		pairs, err := k.Scan(span)
		if len(pairs) == 0 {
			return err
		}
		for _, d := range s.decode(pairs, err) {
			list = append(list, d.stream())
		}
		return nil
	})
	return list, err
}

// decode returns the documents that are whole of what a Scan returned.
func (s *Streams) decode(pairs []rouse.Pair, damage error) []*document {
	var ds []*document
	if damage != nil {
		s.Log.Error("a stream is damaged", "error", damage)
	}
	for _, p := range pairs {
		if p.Value == nil {
			continue
		}
		d, err := decodeDocument(p)
		if err != nil {
			s.Log.Error("a stream is damaged", "error", err)
			continue
		}
		ds = append(ds, d)
	}
	return ds
}

// Remove implements data.Streams. The records are cleared away by Run.
func (s *Streams) Remove(ctx context.Context, r rouse.Ref) error {
	var d *document
	err := s.Keys.Update(ctx, func(w rouse.KeyWriter) (err error) {
		if d, err = s.documents.load(w, r); err != nil {
			return err
		}
		w.Delete(documentKey(r))
		w.Put(tuple.Uint([]byte{garbageKind}, d.ID), nil)
		return nil
	})
	if err == nil {
		s.wakeAll(r, d)
	}
	return err
}

// Split implements data.Streams.
func (s *Streams) Split(ctx context.Context, r rouse.Ref, shard string, at uint64) error {
	return s.reshape(ctx, r, func(d *document) error { return d.split(shard, at, s.Now().UTC()) })
}

// Merge implements data.Streams.
func (s *Streams) Merge(ctx context.Context, r rouse.Ref, a, b string) error {
	return s.reshape(ctx, r, func(d *document) error { return d.merge(a, b, s.Now().UTC()) })
}

// Scale implements data.Streams.
func (s *Streams) Scale(ctx context.Context, r rouse.Ref, n int) error {
	if err := checkShards("scale stream", r, n); err != nil {
		return err
	}
	return s.reshape(ctx, r, func(d *document) error { d.scale(n, s.Now().UTC()); return nil })
}

// reshape changes the shards, and lets those know who wait for more of one that
// is closed now.
func (s *Streams) reshape(ctx context.Context, r rouse.Ref, f func(*document) error) error {
	var changed *document
	err := s.change(ctx, r, func(d *document) error { changed = d; return f(d) })
	if err == nil {
		s.wakeAll(r, changed)
	}
	return err
}

func (s *Streams) wakeAll(r rouse.Ref, d *document) {
	for i := range d.Shards {
		s.waiters.Wake(r, d.Shards[i].id)
	}
}
