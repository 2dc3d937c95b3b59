package bucket

import (
	"bytes"
	"context"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/tuple"
)

// endUploads ends those that were not completed in time, also of buckets that
// were removed.
func (b *Buckets) endUploads(ctx context.Context) error {
	for {
		end := tuple.Int([]byte{staleKind}, b.now().UnixMicro()+1)
		var due []rouse.Pair
		err := b.keys.View(ctx, func(r rouse.KeyReader) (err error) {
			due, err = r.Scan(rouse.Span{From: []byte{staleKind}, To: end, Limit: stepSize})
			return err
		})
		if err != nil || len(due) == 0 {
			return err
		}
		for _, p := range due {
			if err := b.keys.Update(ctx, func(w rouse.KeyWriter) error { return b.endUpload(w, p) }); err != nil {
				return err
			}
		}
	}
}

func (b *Buckets) endUpload(w rouse.KeyWriter, stale rouse.Pair) error {
	w.Delete(stale.Key)
	if len(stale.Key) != 1+8+8+uploadSize {
		return nil
	}
	bucket, rest, err := tuple.ReadUint(stale.Key[9:])
	if err != nil {
		return err
	}
	id := string(rest)
	_, ps, err := b.parts(w, id, 0, 0)
	if err != nil {
		return err
	}
	count := refs{}
	for _, p := range ps {
		count.add([]chunk{p.chunk}, -1)
	}
	all := partsOf(id)
	w.Clear(all, tuple.After(all))
	w.Delete(uploadKey(bucket, string(stale.Value), id))
	return b.refer(w, count, nil)
}

// trim removes events that are too old; all of them where none are kept.
func (b *Buckets) trim(ctx context.Context) error {
	from := []byte{definitionKind}
	for {
		var pairs []rouse.Pair
		err := b.keys.View(ctx, func(r rouse.KeyReader) (err error) {
			pairs, err = r.Scan(rouse.Span{From: from, To: []byte{definitionKind + 1}, Limit: stepSize})
			return err
		})
		if err != nil || len(pairs) == 0 {
			return err
		}
		for _, p := range pairs {
			d, err := decodeDefinition(p.Value)
			if err != nil {
				return rouse.Errorf(rouse.Internal, "read bucket", "", "key %x: %w", p.Key, err)
			}
			if err := b.trimOne(ctx, d); err != nil {
				return err
			}
		}
		from = append(bytes.Clone(pairs[len(pairs)-1].Key), 0)
	}
}

func (b *Buckets) trimOne(ctx context.Context, d *definition) error {
	before := b.now().Add(-d.kept())
	for shard := range feedShards {
		j := journalOf(feedShard{d.ID, shard})
		old := false
		err := b.keys.View(ctx, func(r rouse.KeyReader) error {
			first, next, err := j.Bounds(r)
			if err != nil || first == next {
				return err
			}
			after, err := j.Seek(r, before)
			old = after >= first
			return err
		})
		if err != nil {
			return err
		}
		for n := stepSize; old && n == stepSize; {
			err := b.keys.Update(ctx, func(w rouse.KeyWriter) (err error) {
				n, err = j.Trim(w, before, stepSize)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
