package bucket

import (
	"bytes"
	"context"
	"crypto/md5" // an ETag, and no secret
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/internal/tuple"
)

const uploadSize = 12 // bytes of an upload's ID, which outside is their hex

// uploadID returns the bytes of an ID; ok is false for what is none.
func uploadID(s string) (id string, ok bool) {
	b, err := hex.DecodeString(s)
	return string(b), err == nil && len(b) == uploadSize
}

// StartUpload implements data.Uploads. The conditions of p are those of
// CompleteUpload, and left out.
func (b *Buckets) StartUpload(ctx context.Context, p data.ObjectPut) (data.Upload, error) {
	if err := checkPut(p); err != nil {
		return data.Upload{}, invalid("start upload", p.Bucket, p.Key, err)
	}
	raw := make([]byte, uploadSize)
	rand.Read(raw) // never fails
	id := string(raw)
	up := data.Upload{UploadRef: data.UploadRef{Bucket: p.Bucket, Key: p.Key, ID: hex.EncodeToString(raw)}, Header: p.Header, Meta: p.Meta, Tags: p.Tags}
	err := b.keys.Update(ctx, func(w rouse.KeyWriter) error {
		d, err := b.load(w, p.Bucket)
		if err != nil {
			return err
		}
		rec := fromPut(p)
		rec.modified = b.now().UnixMicro()
		up.Started = time.UnixMicro(rec.modified).UTC()
		w.Put(uploadKey(d.ID, p.Key, id), rec.encode())
		w.Put(staleKey(rec.modified+keepUploads.Microseconds(), d.ID, id), []byte(p.Key))
		return nil
	})
	if err != nil {
		return data.Upload{}, err
	}
	return up, nil
}

// upload finds an upload in a transaction.
func (b *Buckets) upload(r rouse.KeyReader, u data.UploadRef) (*definition, *record, error) {
	d, err := b.load(r, u.Bucket)
	if err != nil {
		return nil, nil, err
	}
	none := rouse.Errorf(rouse.NotFound, "find upload", place(u.Bucket, u.Key), "there is no upload %q: it was completed, ended or never began", u.ID)
	id, ok := uploadID(u.ID)
	if !ok || checkKey(u.Key) != nil {
		return nil, nil, none
	}
	values, err := r.Get(uploadKey(d.ID, u.Key, id))
	if err != nil {
		return nil, nil, err
	}
	if values[0] == nil {
		return nil, nil, none
	}
	rec, err := d.decode(u.Key, values[0])
	return d, rec, err
}

// A part is stored as its chunk, MD5 and time.
type part struct {
	chunk
	md5      [md5.Size]byte
	modified int64 // microseconds
}

func (p part) encode() []byte {
	b := append([]byte{recordVersion}, p.digest[:]...)
	b = binary.AppendUvarint(b, uint64(p.size))
	return tuple.Int(append(b, p.md5[:]...), p.modified)
}

func decodePart(b []byte) (p part, err error) {
	d := decoder{rest: b}
	version := d.byte()
	p.chunk = d.chunk()
	copy(p.md5[:], d.take(len(p.md5)))
	if d.broken || version != recordVersion || len(d.rest) != 8 {
		return p, errBroken
	}
	p.modified, _, err = tuple.ReadInt(d.rest)
	return p, err
}

func (p part) outside(number int) data.Part {
	return data.Part{Number: number, Size: p.size, ETag: hex.EncodeToString(p.md5[:]), Modified: time.UnixMicro(p.modified).UTC()}
}

// PutPart implements data.Uploads.
func (b *Buckets) PutPart(ctx context.Context, u data.UploadRef, in data.PartPut, body io.Reader) (data.Part, error) {
	on := place(u.Bucket, u.Key)
	if in.Number < 1 || in.Number > maxPart {
		return data.Part{}, rouse.Errorf(rouse.Invalid, "put part", on, "number: it is from 1 to %d, not %d", maxPart, in.Number)
	}
	if in.MD5 != nil && len(in.MD5) != md5.Size {
		return data.Part{}, rouse.Errorf(rouse.Invalid, "put part", on, "md5: it has %d bytes, not %d", len(in.MD5), md5.Size)
	}
	err := b.keys.View(ctx, func(r rouse.KeyReader) error {
		_, _, err := b.upload(r, u)
		return err
	})
	if err != nil {
		return data.Part{}, err
	}
	s, err := b.store(ctx, "put part", on, body, in.MD5)
	if err != nil {
		return data.Part{}, err
	}
	var p part
	err = b.commit(ctx, s, func(w rouse.KeyWriter) error {
		if _, _, err := b.upload(w, u); err != nil {
			return err
		}
		id, _ := uploadID(u.ID)
		key := partKey(id, in.Number)
		values, err := w.Get(key)
		if err != nil {
			return err
		}
		count := refs{s.digest: 1}
		if values[0] != nil {
			old, err := decodePart(values[0])
			if err != nil {
				return rouse.Errorf(rouse.Internal, "read part", on, "%w", err)
			}
			count.add([]chunk{old.chunk}, -1)
		}
		p = part{chunk: s.chunk, md5: [md5.Size]byte(s.md5), modified: b.now().UnixMicro()}
		w.Put(key, p.encode())
		return b.refer(w, count, s)
	})
	if err != nil {
		b.abandon(ctx, s)
		return data.Part{}, err
	}
	return p.outside(in.Number), nil
}

// parts reads the parts of an upload, at most limit (0 is all) after one.
func (b *Buckets) parts(r rouse.KeyReader, id string, after, limit int) (numbers []int, ps []part, err error) {
	all := partsOf(id)
	pairs, err := r.Scan(rouse.Span{From: partKey(id, max(after, 0)+1), To: tuple.After(all), Limit: limit})
	if err != nil {
		return nil, nil, err
	}
	for _, pair := range pairs {
		number, rest, err := tuple.ReadUint(pair.Key[len(all):])
		p, bad := decodePart(pair.Value)
		if err != nil || bad != nil || len(rest) > 0 {
			return nil, nil, rouse.Errorf(rouse.Internal, "read parts", fmt.Sprintf("key %x", pair.Key), "%w", errBroken)
		}
		numbers, ps = append(numbers, int(number)), append(ps, p)
	}
	return numbers, ps, nil
}

// Parts implements data.Uploads.
func (b *Buckets) Parts(ctx context.Context, u data.UploadRef, after, limit int) (out []data.Part, err error) {
	err = b.keys.View(ctx, func(r rouse.KeyReader) error {
		if _, _, err := b.upload(r, u); err != nil {
			return err
		}
		id, _ := uploadID(u.ID)
		numbers, ps, err := b.parts(r, id, after, limit)
		out = make([]data.Part, len(ps))
		for i, p := range ps {
			out[i] = p.outside(numbers[i])
		}
		return err
	})
	return out, err
}

// CompleteUpload implements data.Uploads.
func (b *Buckets) CompleteUpload(ctx context.Context, u data.UploadRef, parts []data.Part, cond data.ObjectIf) (data.Object, error) {
	t := &task{op: "complete upload", bucket: u.Bucket, cause: event.CauseOf(ctx)}
	var rec *record
	err := b.keys.Update(ctx, func(w rouse.KeyWriter) error {
		return b.run(w, t, func() error {
			_, started, err := b.upload(w, u)
			if err != nil {
				return err
			}
			id, _ := uploadID(u.ID)
			numbers, have, err := b.parts(w, id, 0, 0)
			if err != nil {
				return err
			}
			stored := make(map[int]part, len(have))
			for i, p := range have {
				stored[numbers[i]] = p
				t.refs.add([]chunk{p.chunk}, -1) // and those that are used, once more
			}
			t.drop(u.Key, id, started)
			rec = started
			if err := rec.assemble(parts, stored); err != nil {
				return invalid("complete upload", u.Bucket, u.Key, err)
			}
			return t.install(u.Key, rec, cond)
		})
	})
	if err != nil {
		return data.Object{}, err
	}
	b.wake(t)
	return rec.object(u.Key, true), nil
}

// assemble makes a record of the parts that its sender lists.
func (r *record) assemble(listed []data.Part, stored map[int]part) error {
	if len(listed) == 0 {
		return errors.New("parts: there are none")
	}
	r.uploaded, r.chunks = true, nil
	sum := md5.New()
	for i, l := range listed {
		if i > 0 && l.Number <= listed[i-1].Number {
			return fmt.Errorf("parts: number %d comes after %d; they must be in ascending order", l.Number, listed[i-1].Number)
		}
		p, ok := stored[l.Number]
		if !ok {
			return fmt.Errorf("parts: there is no part %d", l.Number)
		}
		if etag := hex.EncodeToString(p.md5[:]); l.ETag != etag {
			return fmt.Errorf("parts: part %d has the ETag %s, not %q", l.Number, etag, l.ETag)
		}
		sum.Write(p.md5[:])
		r.chunks = append(r.chunks, p.chunk)
	}
	r.etag = fmt.Sprintf("%x-%d", sum.Sum(nil), len(listed))
	return nil
}

// drop removes the upload, and not the counts of its parts.
func (t *task) drop(key, id string, started *record) {
	all := partsOf(id)
	t.w.Clear(all, tuple.After(all))
	t.w.Delete(uploadKey(t.def.ID, key, id))
	t.w.Delete(staleKey(started.modified+keepUploads.Microseconds(), t.def.ID, id))
}

// AbortUpload implements data.Uploads.
func (b *Buckets) AbortUpload(ctx context.Context, u data.UploadRef) error {
	t := &task{op: "abort upload", bucket: u.Bucket}
	return b.keys.Update(ctx, func(w rouse.KeyWriter) error {
		return b.run(w, t, func() error {
			_, started, err := b.upload(w, u)
			if err != nil {
				return err
			}
			id, _ := uploadID(u.ID)
			_, ps, err := b.parts(w, id, 0, 0)
			if err != nil {
				return err
			}
			for _, p := range ps {
				t.refs.add([]chunk{p.chunk}, -1)
			}
			t.drop(u.Key, id, started)
			return nil
		})
	})
}

// ListUploads implements data.Uploads.
func (b *Buckets) ListUploads(ctx context.Context, bucket rouse.Ref, prefix string, after data.UploadRef, limit int) (out []data.Upload, err error) {
	if limit <= 0 {
		limit = maxList
	}
	err = b.keys.View(ctx, func(r rouse.KeyReader) error {
		out = nil
		d, err := b.load(r, bucket)
		if err != nil {
			return err
		}
		all := tuple.Prefix(idKey(uploadKind, d.ID), prefix)
		from := all
		if id, ok := uploadID(after.ID); after.Key != "" && ok {
			from = append(uploadKey(d.ID, after.Key, id), 0)
		} else if after.Key != "" {
			from = tuple.After(uploadKey(d.ID, after.Key, ""))
		}
		if bytes.Compare(from, all) < 0 {
			from = all
		}
		pairs, err := r.Scan(rouse.Span{From: from, To: tuple.After(all), Limit: limit})
		if err != nil {
			return err
		}
		for _, p := range pairs {
			key, id, err := tuple.ReadString(p.Key[9:])
			if err != nil {
				return rouse.Errorf(rouse.Internal, "list uploads", bucket.String(), "key %x: %w", p.Key, err)
			}
			rec, err := d.decode(string(key), p.Value)
			if err != nil {
				return err
			}
			out = append(out, data.Upload{UploadRef: data.UploadRef{Bucket: bucket, Key: string(key), ID: hex.EncodeToString(id)},
				Started: time.UnixMicro(rec.modified).UTC(), Header: rec.header, Meta: rec.meta, Tags: rec.tags})
		}
		return nil
	})
	return out, err
}
