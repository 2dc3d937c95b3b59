package rule

import (
	"context"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/tuple"
)

// How far rules have come is kept by shard. "f" is the front: what was read and
// handed to all rules. A rule that has not done with all of that has a position
// of its own, "r", up to which it has. So what ten thousand rules cost that have
// nothing to do is one number.

func shardKey(kind byte, f feed, shard string) []byte {
	k := tuple.String([]byte{kind}, f.kind)
	return tuple.String(tuple.String(tuple.String(k, f.ref.Namespace), f.ref.Name), shard)
}

func frontKey(f feed, shard string) []byte { return shardKey('f', f, shard) }

func positionKey(f feed, shard string, rule string) []byte {
	return tuple.String(shardKey('r', f, shard), rule)
}

// positions are what is stored of one shard.
type positions struct {
	front uint64
	known bool // there is a front
	rules map[string]uint64
}

func (e *Engine) positions(ctx context.Context, f feed, shard string) (p positions, err error) {
	prefix := shardKey('r', f, shard)
	err = e.Keys.View(ctx, func(r rouse.KeyReader) error {
		p = positions{rules: map[string]uint64{}}
		vs, err := r.Get(frontKey(f, shard))
		if err != nil {
			return err
		}
		if p.known = vs[0] != nil; p.known {
			if p.front, _, err = tuple.ReadUint(vs[0]); err != nil {
				return err
			}
		}
		ps, err := r.Scan(rouse.Span{From: prefix, To: tuple.After(prefix)})
		if err != nil {
			return err
		}
		for _, pair := range ps {
			name, _, err := tuple.ReadString(pair.Key[len(prefix):])
			if err != nil {
				return err
			}
			if p.rules[string(name)], _, err = tuple.ReadUint(pair.Value); err != nil {
				return err
			}
		}
		return nil
	})
	return p, err
}

// move stores how far a shard's rules are: front, and for each rule its
// position, or none where it is at the front.
func (e *Engine) move(ctx context.Context, f feed, shard string, front uint64, rules map[string]*uint64) error {
	return e.Keys.Update(ctx, func(w rouse.KeyWriter) error {
		w.Put(frontKey(f, shard), tuple.Uint(nil, front))
		for name, at := range rules {
			if at == nil {
				w.Delete(positionKey(f, shard, name))
			} else {
				w.Put(positionKey(f, shard, name), tuple.Uint(nil, *at))
			}
		}
		return nil
	})
}

// source returns the port of a feed.
func (e *Engine) source(f feed) data.Feed {
	switch f.kind {
	case "stream":
		return e.Data.Streams
	case "table":
		return e.Data.Tables
	case "bucket":
		return e.Data.Buckets
	}
	return e.Inbox
}

// begin stores where a new rule begins.
func (e *Engine) begin(ctx context.Context, c *compiled) error {
	f := c.feed()
	if f == (feed{}) {
		return nil
	}
	shards, err := e.source(f).Shards(ctx, f.ref)
	if err != nil {
		return err
	}
	at := map[string]uint64{}
	for _, s := range shards {
		if at[s.ID] = 0; c.From == "oldest" {
			continue
		}
		b, err := e.source(f).Read(ctx, data.FeedQuery{Ref: f.ref, Shard: s.ID, Limit: 1})
		if err != nil {
			return err
		}
		at[s.ID] = b.Newest
	}
	return e.Keys.Update(ctx, func(w rouse.KeyWriter) error {
		for shard, n := range at {
			w.Put(positionKey(f, shard, c.Name), tuple.Uint(nil, n))
		}
		return nil
	})
}

// forget removes the positions of a rule that is no more.
func (e *Engine) forget(ctx context.Context, c *compiled) error {
	f := c.feed()
	if f == (feed{}) {
		return nil
	}
	all := tuple.String(tuple.String(tuple.String([]byte{'r'}, f.kind), f.ref.Namespace), f.ref.Name)
	return e.Keys.Update(ctx, func(w rouse.KeyWriter) error {
		ps, err := w.Scan(rouse.Span{From: all, To: tuple.After(all)})
		if err != nil {
			return err
		}
		for _, p := range ps {
			_, rest, err := tuple.ReadString(p.Key[len(all):]) // the shard
			if err != nil {
				return err
			}
			name, _, err := tuple.ReadString(rest)
			if err != nil {
				return err
			}
			if string(name) == c.Name {
				w.Delete(p.Key)
			}
		}
		return nil
	})
}
