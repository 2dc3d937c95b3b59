package bucket

import (
	"context"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
)

// DeleteObjects implements data.Objects.
func (b *Buckets) DeleteObjects(ctx context.Context, bucket rouse.Ref, ds []data.ObjectDelete) ([]data.Deleted, error) {
	if len(ds) > maxDeletes {
		return nil, rouse.Errorf(rouse.Invalid, "delete objects", bucket.String(), "there are %d, %d are the most at once", len(ds), maxDeletes)
	}
	for _, d := range ds {
		if err := checkKey(d.Key); err != nil {
			return nil, invalid("delete object", bucket, d.Key, err)
		}
	}
	all := make([]data.Deleted, 0, len(ds))
	for len(all) < len(ds) {
		step := ds[len(all):min(len(all)+stepSize, len(ds))]
		t := &task{op: "delete object", bucket: bucket, cause: event.CauseOf(ctx)}
		var done []data.Deleted
		err := b.keys.Update(ctx, func(w rouse.KeyWriter) error {
			done = make([]data.Deleted, len(step))
			return b.run(w, t, func() (err error) {
				for i := range step {
					if done[i], err = t.delete(step[i]); err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil {
			return all, err
		}
		b.wake(t)
		all = append(all, done...)
	}
	return all, nil
}

// delete does one ObjectDelete.
func (t *task) delete(d data.ObjectDelete) (data.Deleted, error) {
	old, err := t.def.newest(t.w, d.Key)
	if err != nil {
		return data.Deleted{}, err
	}
	var rec *record // to be removed
	if d.Version != "" {
		if rec, err = t.def.version(t.w, d.Key, d.Version); err != nil {
			return data.Deleted{}, err
		}
		old = rec
	}
	if err := allow(t.op, t.bucket, d.Key, d.If, old); err != nil {
		return data.Deleted{Err: err}, nil
	}
	switch {
	case rec != nil:
	case d.Version != "" || !t.def.Ever && old == nil:
		return data.Deleted{}, nil // there is nothing
	case t.def.Ever:
		marker := &record{marker: true}
		err := t.install(d.Key, marker, data.ObjectIf{})
		return data.Deleted{Version: marker.version(), Marker: true}, err
	default:
		rec = old
	}
	t.removeVersion(d.Key, rec)
	if err := t.renew(d.Key); err != nil {
		return data.Deleted{}, err
	}
	if !rec.marker {
		t.log.add(t.def, d.Key, rec, change{removed: true, version: rec.version()})
	}
	return data.Deleted{Version: rec.version(), Marker: rec.marker}, nil
}

// renew makes the object what its newest version is.
func (t *task) renew(key string) error {
	last, err := t.def.versions(t.w, key, 1)
	if err != nil {
		return err
	}
	if len(last) == 0 || last[0].marker {
		t.w.Delete(objectKey(t.def.ID, key))
	} else {
		t.w.Put(objectKey(t.def.ID, key), last[0].encode())
	}
	return nil
}

// CopyObject implements data.Objects.
func (b *Buckets) CopyObject(ctx context.Context, c data.ObjectCopy) (data.Object, error) {
	if c.To.MD5 != nil || c.From.Range != nil {
		return data.Object{}, rouse.Errorf(rouse.Invalid, "copy object", place(c.To.Bucket, c.To.Key), "a copy is of a whole object and has neither a range nor an md5")
	}
	if err := checkPut(c.To); err != nil {
		return data.Object{}, invalid("copy object", c.To.Bucket, c.To.Key, err)
	}
	t := &task{op: "copy object", bucket: c.To.Bucket, cause: event.CauseOf(ctx)}
	var rec *record
	err := b.keys.Update(ctx, func(w rouse.KeyWriter) error {
		return b.run(w, t, func() error {
			from, err := b.source(w, c.From)
			if err != nil {
				return err
			}
			rec = fromPut(c.To)
			if !c.Replace {
				rec.header, rec.meta, rec.tags = from.header, from.meta, from.tags
			}
			rec.etag, rec.chunks, rec.uploaded, rec.copied = from.etag, from.chunks, from.uploaded, true
			return t.install(c.To.Key, rec, c.To.If)
		})
	})
	if err != nil {
		return data.Object{}, err
	}
	b.wake(t)
	return rec.object(c.To.Key, true), nil
}

// source finds what is to be copied.
func (b *Buckets) source(r rouse.KeyReader, g data.ObjectGet) (*record, error) {
	d, err := b.load(r, g.Bucket)
	if err != nil {
		return nil, err
	}
	rec, _, err := b.find(r, d, g.Key, g.Version)
	if err != nil {
		return nil, err
	}
	if rec.marker {
		return nil, rouse.Errorf(rouse.NotFound, "copy object", place(g.Bucket, g.Key), "it was deleted: this version is a marker")
	}
	return rec, allow("copy object", g.Bucket, g.Key, g.If, rec)
}

// ChangeObject implements data.Objects.
func (b *Buckets) ChangeObject(ctx context.Context, p data.ObjectPut) (data.Object, error) {
	if err := checkPut(p); err != nil {
		return data.Object{}, invalid("change object", p.Bucket, p.Key, err)
	}
	var out data.Object
	err := b.keys.Update(ctx, func(w rouse.KeyWriter) error {
		d, err := b.load(w, p.Bucket)
		if err != nil {
			return err
		}
		rec, newest, err := b.find(w, d, p.Key, p.Version)
		if err != nil {
			return err
		}
		if rec.marker {
			return rouse.Errorf(rouse.NotFound, "change object", place(p.Bucket, p.Key), "it was deleted: this version is a marker")
		}
		if err := allow("change object", p.Bucket, p.Key, p.If, rec); err != nil {
			return err
		}
		with := fromPut(p)
		rec.header, rec.meta, rec.tags = with.header, with.meta, with.tags
		w.Put(versionKey(d.ID, p.Key, rec.revision), rec.encode())
		if newest {
			w.Put(objectKey(d.ID, p.Key), rec.encode())
		}
		out = rec.object(p.Key, newest)
		return nil
	})
	if err != nil {
		return data.Object{}, err
	}
	return out, nil
}
