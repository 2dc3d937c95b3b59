package bucket

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"slices"
	"sync"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/tuple"
)

// A definition is a bucket as it is stored. Its id is new for each bucket that
// is created: what an earlier one left is not seen. It is never changed once
// made.
type definition struct {
	data.Bucket
	ID   uint64
	Ever bool // it was versioned once: a key may have several versions

	raw []byte // as stored
}

// putDefinition writes gob and not JSON: names may hold any bytes.
func putDefinition(w rouse.KeyWriter, d *definition) error {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(d)
	w.Put(definitionKey(d.Ref), b.Bytes())
	return err
}

func decodeDefinition(raw []byte) (*definition, error) {
	d := &definition{raw: raw}
	return d, gob.NewDecoder(bytes.NewReader(raw)).Decode(d)
}

// maxCached is how many definitions are kept; one more forgets all.
const maxCached = 10_000

// A cache keeps definitions decoded, to be compared with what is stored.
type cache struct {
	mu   sync.Mutex
	defs map[rouse.Ref]*definition // guarded by mu
}

// decode returns what is stored as raw, from the cache where it is the same.
func (c *cache) decode(r rouse.Ref, raw []byte) (*definition, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.defs[r]; d != nil && bytes.Equal(d.raw, raw) {
		return d, nil
	}
	d, err := decodeDefinition(raw)
	if err != nil {
		return nil, rouse.Errorf(rouse.Internal, "read bucket", r.String(), "%w", err)
	}
	if c.defs == nil || len(c.defs) >= maxCached {
		c.defs = map[rouse.Ref]*definition{}
	}
	c.defs[r] = d
	return d, nil
}

// load reads a definition in a transaction.
func (b *Buckets) load(r rouse.KeyReader, ref rouse.Ref) (*definition, error) {
	values, err := r.Get(definitionKey(ref))
	if err != nil {
		return nil, err
	}
	if values[0] == nil {
		return nil, rouse.Errorf(rouse.NotFound, "find bucket", ref.String(), "there is none")
	}
	return b.cache.decode(ref, values[0])
}

// CreateBucket implements data.BucketAdmin.
func (b *Buckets) CreateBucket(ctx context.Context, in data.Bucket) (data.Bucket, error) {
	if in.Name == "" {
		return in, rouse.Errorf(rouse.Invalid, "create bucket", in.Ref.String(), "name: a bucket has one")
	}
	in.Created = b.now().UTC()
	err := b.keys.Update(ctx, func(w rouse.KeyWriter) error {
		values, err := w.Get(definitionKey(in.Ref), []byte{nextKind})
		if err != nil {
			return err
		}
		if values[0] != nil {
			return rouse.Errorf(rouse.Conflict, "create bucket", in.Ref.String(), "there is one of this name")
		}
		id := uint64(1)
		if values[1] != nil {
			if len(values[1]) != 8 {
				return rouse.Errorf(rouse.Internal, "create bucket", in.Ref.String(), "the next id is broken")
			}
			id = binary.BigEndian.Uint64(values[1])
		}
		w.Put([]byte{nextKind}, tuple.Uint(nil, id+1))
		return putDefinition(w, &definition{Bucket: in, ID: id, Ever: in.Versioned})
	})
	return in, err
}

// ChangeBucket implements data.BucketAdmin.
func (b *Buckets) ChangeBucket(ctx context.Context, in data.Bucket) (data.Bucket, error) {
	err := b.keys.Update(ctx, func(w rouse.KeyWriter) error {
		old, err := b.load(w, in.Ref)
		if err != nil {
			return err
		}
		in.Created = old.Created
		return putDefinition(w, &definition{Bucket: in, ID: old.ID, Ever: old.Ever || in.Versioned})
	})
	return in, err
}

// Bucket implements data.BucketAdmin.
func (b *Buckets) Bucket(ctx context.Context, r rouse.Ref) (out data.Bucket, err error) {
	err = b.keys.View(ctx, func(k rouse.KeyReader) error {
		d, err := b.load(k, r)
		if err == nil {
			out = d.Bucket
		}
		return err
	})
	return out, err
}

// Buckets implements data.BucketAdmin.
func (b *Buckets) Buckets(ctx context.Context, ns rouse.Namespace, after string, limit int) (out []data.Bucket, err error) {
	prefix := namespaceKey(ns)
	s := rouse.Span{From: prefix, To: tuple.After(prefix), Limit: limit}
	if after != "" {
		s.From = append(tuple.String(slices.Clip(prefix), after), 0)
	}
	err = b.keys.View(ctx, func(k rouse.KeyReader) error {
		pairs, err := k.Scan(s)
		if err != nil {
			return err
		}
		out = make([]data.Bucket, 0, len(pairs))
		for _, p := range pairs {
			d, err := decodeDefinition(p.Value)
			if err != nil {
				return rouse.Errorf(rouse.Internal, "list buckets", string(ns), "key %x: %w", p.Key, err)
			}
			out = append(out, d.Bucket)
		}
		return nil
	})
	return out, err
}

// RemoveBucket implements data.BucketAdmin. What its uploads have stored is
// deleted when they would have ended.
func (b *Buckets) RemoveBucket(ctx context.Context, r rouse.Ref) error {
	return b.keys.Update(ctx, func(w rouse.KeyWriter) error {
		d, err := b.load(w, r)
		if err != nil {
			return err
		}
		all := idKey(versionKind, d.ID)
		some, err := w.Scan(rouse.Span{From: all, To: tuple.After(all), Limit: 1})
		if err != nil && len(some) == 0 {
			return err
		}
		if len(some) > 0 {
			why := errors.New("it is not empty: delete its objects first")
			if d.Ever {
				why = errors.New("it is not empty: delete its objects, their versions and markers first")
			}
			return rouse.Errorf(rouse.Conflict, "remove bucket", r.String(), "%w", why)
		}
		w.Delete(definitionKey(r))
		journals := idKey(journalKind, d.ID)
		w.Clear(journals, tuple.After(journals))
		return nil
	})
}
