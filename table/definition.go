package table

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"sync"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
)

// A definition is a table as it is stored. Its id is new for each table that is
// created, and so are those of its indexes: what an earlier one left is not
// seen. It is never changed once made.
type definition struct {
	data.Table
	ID       uint64
	IndexIDs []uint64 // in the order of Indexes
	Filling  bool     // Run has to go over all items

	raw []byte // as stored
}

// encode writes gob and not JSON: names may hold any bytes.
func (d *definition) encode() ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(d)
	d.raw = b.Bytes()
	return d.raw, err
}

func decodeDefinition(raw []byte) (*definition, error) {
	d := &definition{raw: raw}
	if err := gob.NewDecoder(bytes.NewReader(raw)).Decode(d); err != nil {
		return nil, err
	}
	if len(d.IndexIDs) != len(d.Indexes) {
		return nil, errors.New("the table's definition is broken")
	}
	return d, nil
}

// maxCached is how many definitions are kept; one more forgets all.
const maxCached = 10_000

// A cache keeps definitions decoded. What it says must be checked against what
// is stored, in the transaction that uses it.
type cache struct {
	mu   sync.Mutex
	defs map[rouse.Ref]*definition // guarded by mu
}

func (c *cache) get(r rouse.Ref) *definition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.defs[r]
}

func (c *cache) put(d *definition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.defs == nil || len(c.defs) >= maxCached {
		c.defs = map[rouse.Ref]*definition{}
	}
	c.defs[d.Ref] = d
}

func (c *cache) drop(r rouse.Ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.defs, r)
}

// define returns what is stored as raw, from the cache where it is the same.
func (t *Tables) define(r rouse.Ref, raw []byte) (*definition, error) {
	if raw == nil {
		t.cache.drop(r)
		return nil, rouse.Errorf(rouse.NotFound, "find table", r.String(), "there is none")
	}
	if d := t.cache.get(r); d != nil && bytes.Equal(d.raw, raw) {
		return d, nil
	}
	d, err := decodeDefinition(raw)
	if err != nil {
		return nil, rouse.Errorf(rouse.Internal, "read table", r.String(), "%w", err)
	}
	t.cache.put(d)
	return d, nil
}

// load reads a definition in a transaction.
func (t *Tables) load(r rouse.KeyReader, ref rouse.Ref) (*definition, error) {
	values, err := r.Get(definitionKey(ref))
	if err != nil {
		return nil, err
	}
	return t.define(ref, values[0])
}

// errStale is that a cached definition is not what is stored any more.
var errStale = errors.New("the table was changed meanwhile")

// fresh checks definitions against what is stored.
func fresh(defs []*definition, raws [][]byte) error {
	for i, d := range defs {
		if !bytes.Equal(d.raw, raws[i]) {
			return errStale
		}
	}
	return nil
}

// defined calls f with the definitions of refs, which may be from the cache.
// Where f finds them stale it is called again with new ones.
func (t *Tables) defined(ctx context.Context, refs []rouse.Ref, f func([]*definition) error) error {
	for {
		defs := make([]*definition, len(refs))
		var missing []int
		var keys [][]byte
		for i, r := range refs {
			if defs[i] = t.cache.get(r); defs[i] == nil {
				missing, keys = append(missing, i), append(keys, definitionKey(r))
			}
		}
		if len(missing) > 0 {
			err := t.keys.View(ctx, func(r rouse.KeyReader) error {
				raws, err := r.Get(keys...)
				if err != nil {
					return err
				}
				for n, i := range missing {
					if defs[i], err = t.define(refs[i], raws[n]); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		err := f(defs)
		if err != errStale {
			return err
		}
		for _, r := range refs {
			t.cache.drop(r)
		}
		if ctx.Err() != nil {
			return rouse.Errorf(rouse.Unavailable, "use table", refs[0].String(), "%w", ctx.Err())
		}
	}
}
