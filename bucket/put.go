package bucket

import (
	"bytes"
	"context"
	"crypto/md5" // an ETag, and no secret
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/internal/tuple"
)

// checkPut fails where p can't be an object.
func checkPut(p data.ObjectPut) error {
	if err := checkKey(p.Key); err != nil {
		return err
	}
	if !utf8.ValidString(p.Key) { // neither JSON nor XML, and so no listing, could name it
		return errors.New("key: it is no UTF-8")
	}
	n := 0
	for _, m := range []map[string]string{p.Header, p.Meta, p.Tags} {
		for k, v := range m {
			n += len(k) + len(v)
		}
	}
	if n > maxMeta {
		return fmt.Errorf("header, meta and tags: they have %d bytes, %d are the most", n, maxMeta)
	}
	if p.MD5 != nil && len(p.MD5) != md5.Size {
		return fmt.Errorf("md5: it has %d bytes, not %d", len(p.MD5), md5.Size)
	}
	return nil
}

func place(r rouse.Ref, key string) string { return r.String() + "/" + key }

func invalid(op string, r rouse.Ref, key string, err error) error {
	return rouse.Errorf(rouse.Invalid, op, place(r, key), "%w", err)
}

// write stores a body, and fails where it is not what its sender says.
func (b *Buckets) write(ctx context.Context, body *source, want []byte) (*stored, error) {
	sum := md5.New()
	d, size, err := b.blobs.Put(ctx, io.TeeReader(body, sum))
	if err != nil {
		return nil, err
	}
	s := &stored{md5: sum.Sum(nil), at: body.last}
	s.size = size
	if s.digest, err = digestOf(d); err != nil {
		return nil, rouse.Errorf(rouse.Internal, "store object", string(d), "%w", err)
	}
	if want != nil && !bytes.Equal(want, s.md5) {
		b.abandon(ctx, s)
		return nil, fmt.Errorf("md5: the body has %x and was said to have %x: send it again", s.md5, want)
	}
	return s, nil
}

// store is write, with errors as its caller's caller wants them: those of the
// body as they are.
func (b *Buckets) store(ctx context.Context, op, on string, body io.Reader, want []byte) (*stored, error) {
	r := &source{Reader: body, now: b.now}
	s, err := b.write(ctx, r, want)
	switch {
	case err == nil:
		return s, nil
	case r.err != nil:
		return nil, r.err
	}
	if _, ok := errors.AsType[*rouse.Error](err); ok {
		return nil, err
	}
	return nil, rouse.Errorf(rouse.Invalid, op, on, "%w", err)
}

// A source remembers when it was read last, and why it could not be.
type source struct {
	io.Reader
	now  func() time.Time
	last time.Time
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.last = s.now()
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// PutObject implements data.Objects.
func (b *Buckets) PutObject(ctx context.Context, p data.ObjectPut, body io.Reader) (data.Object, error) {
	if err := checkPut(p); err != nil {
		return data.Object{}, invalid("put object", p.Bucket, p.Key, err)
	}
	// Who will be refused learns it before all of the body was sent.
	err := b.keys.View(ctx, func(r rouse.KeyReader) error {
		d, err := b.load(r, p.Bucket)
		if err != nil {
			return err
		}
		old, err := d.newest(r, p.Key)
		if err != nil {
			return err
		}
		return allow("put object", p.Bucket, p.Key, p.If, old)
	})
	if err != nil {
		return data.Object{}, err
	}
	s, err := b.store(ctx, "put object", place(p.Bucket, p.Key), body, p.MD5)
	if err != nil {
		return data.Object{}, err
	}
	t := &task{op: "put object", bucket: p.Bucket, fresh: s, cause: event.CauseOf(ctx)}
	var rec *record
	err = b.commit(ctx, s, func(w rouse.KeyWriter) error {
		rec = fromPut(p)
		rec.etag, rec.chunks = hex.EncodeToString(s.md5), []chunk{s.chunk}
		return b.run(w, t, func() error { return t.install(p.Key, rec, p.If) })
	})
	if err != nil {
		b.abandon(ctx, s)
		return data.Object{}, err
	}
	b.wake(t)
	return rec.object(p.Key, true), nil
}

func fromPut(p data.ObjectPut) *record {
	return &record{header: maps.Clone(p.Header), meta: maps.Clone(p.Meta), tags: maps.Clone(p.Tags)}
}

// A task is one transaction on one bucket: the counts of blobs and the events
// are gathered and written at its end.
type task struct {
	op     string
	bucket rouse.Ref
	fresh  *stored // nil is none
	cause  event.Cause

	// Made anew by each run.
	w    rouse.KeyWriter
	def  *definition
	now  time.Time
	refs refs
	log  ledger
}

// run does the work of a task in a transaction.
func (b *Buckets) run(w rouse.KeyWriter, t *task, work func() error) (err error) {
	t.w, t.now, t.refs = w, b.now(), refs{}
	t.log = ledger{now: t.now, cause: t.cause}
	if t.def, err = b.load(w, t.bucket); err != nil {
		return err
	}
	if err := work(); err != nil {
		return err
	}
	if err := b.refer(w, t.refs, t.fresh); err != nil {
		return err
	}
	return t.log.append(w)
}

// newest returns the record of an object; nil where there is none.
func (d *definition) newest(r rouse.KeyReader, key string) (*record, error) {
	values, err := r.Get(objectKey(d.ID, key))
	if err != nil || values[0] == nil {
		return nil, err
	}
	return d.decode(key, values[0])
}

func (d *definition) decode(key string, stored []byte) (*record, error) {
	rec, err := decodeRecord(stored)
	if err != nil {
		return nil, rouse.Errorf(rouse.Internal, "read object", place(d.Ref, key), "%w", err)
	}
	return rec, nil
}

// versions returns the newest versions of an object, Markers included, up to
// limit; 0 is all.
func (d *definition) versions(r rouse.KeyReader, key string, limit int) ([]*record, error) {
	prefix := versionsOf(d.ID, key)
	pairs, err := r.Scan(rouse.Span{From: prefix, To: tuple.After(prefix), Limit: limit})
	if err != nil {
		return nil, err
	}
	recs := make([]*record, len(pairs))
	for i, p := range pairs {
		if recs[i], err = d.decode(key, p.Value); err != nil {
			return nil, err
		}
	}
	return recs, nil
}

// install makes rec, which may be a Marker, the newest version of an object.
func (t *task) install(key string, rec *record, cond data.ObjectIf) error {
	old, err := t.def.newest(t.w, key)
	if err != nil {
		return err
	}
	if err := allow(t.op, t.bucket, key, cond, old); err != nil {
		return err
	}
	rec.modified = t.now.UnixMicro()
	rec.null = !t.def.Versioned
	last := old
	if t.def.Ever {
		if last, err = t.replaceNull(key, rec.null); err != nil {
			return err
		}
	} else if old != nil {
		t.removeVersion(key, old)
	}
	rec.revision = uint64(max(t.now.UnixNano(), 1))
	if last != nil { // also where the clock went back
		rec.revision = max(rec.revision, last.revision+1)
	}
	t.refs.add(rec.chunks, 1)
	b := rec.encode()
	t.w.Put(versionKey(t.def.ID, key, rec.revision), b)
	if rec.marker {
		t.w.Delete(objectKey(t.def.ID, key))
		if old != nil {
			t.log.add(t.def, key, old, change{removed: true, marker: true, version: rec.version()})
		}
		return nil
	}
	t.w.Put(objectKey(t.def.ID, key), b)
	t.log.add(t.def, key, rec, change{version: rec.version(), copied: rec.copied})
	return nil
}

// replaceNull returns the newest version of a key in a bucket that has or had
// versions, nil where there is none; the null version is removed where a new one
// comes.
func (t *task) replaceNull(key string, comes bool) (*record, error) {
	limit := 1
	if comes {
		limit = 0
	}
	all, err := t.def.versions(t.w, key, limit)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	if n := slices.IndexFunc(all, func(r *record) bool { return r.null }); comes && n >= 0 {
		t.removeVersion(key, all[n])
	}
	return all[0], nil
}

// removeVersion removes a version, and not what the newest is.
func (t *task) removeVersion(key string, rec *record) {
	t.w.Delete(versionKey(t.def.ID, key, rec.revision))
	t.refs.add(rec.chunks, -1)
}

// allow fails where a condition on the newest object, nil where there is none,
// does not hold for a change.
func allow(op string, r rouse.Ref, key string, c data.ObjectIf, old *record) error {
	if err := unmet(c, old, false); err != nil {
		return rouse.Errorf(rouse.Conflict, op, place(r, key), "%w", err)
	}
	return nil
}

// unmet returns ErrCondition or, for a reader who has the object already,
// ErrUnchanged.
func unmet(c data.ObjectIf, rec *record, reading bool) error {
	if len(c.Match) > 0 && (rec == nil || !matches(c.Match, rec)) {
		return data.ErrCondition
	}
	if rec == nil {
		return nil
	}
	second := time.UnixMicro(rec.modified).Truncate(time.Second)
	if !c.NotSince.IsZero() && second.After(c.NotSince) {
		return data.ErrCondition
	}
	if len(c.NoMatch) > 0 && matches(c.NoMatch, rec) || !c.Since.IsZero() && !second.After(c.Since) {
		if reading {
			return data.ErrUnchanged
		}
		return data.ErrCondition
	}
	return nil
}

func matches(etags []string, rec *record) bool {
	return slices.Contains(etags, "*") || slices.Contains(etags, rec.etag)
}
