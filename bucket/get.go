package bucket

import (
	"context"
	"fmt"
	"io"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
)

// find returns the version that g asks for, newest being whether it is that.
func (b *Buckets) find(r rouse.KeyReader, d *definition, key, version string) (rec *record, newest bool, err error) {
	none := rouse.Errorf(rouse.NotFound, "find object", place(d.Ref, key), "there is none")
	now, err := d.newest(r, key)
	if err != nil {
		return nil, false, err
	}
	if version == "" || now != nil && now.version() == version {
		if now == nil {
			return nil, false, none
		}
		return now, true, nil
	}
	if rec, err = d.version(r, key, version); err != nil {
		return nil, false, err
	}
	if rec == nil {
		return nil, false, rouse.Errorf(rouse.NotFound, "find object", place(d.Ref, key), "there is no version %q", version)
	}
	if now == nil {
		last, err := d.versions(r, key, 1)
		return rec, err == nil && len(last) > 0 && last[0].revision == rec.revision, err
	}
	return rec, false, nil
}

// version returns one version of an object, nil where there is none.
func (d *definition) version(r rouse.KeyReader, key, version string) (*record, error) {
	if version == data.NullVersion {
		all, err := d.versions(r, key, 0)
		for _, rec := range all {
			if rec.null {
				return rec, err
			}
		}
		return nil, err
	}
	n, ok := readVersion(version)
	if !ok {
		return nil, nil
	}
	values, err := r.Get(versionKey(d.ID, key, n))
	if err != nil || values[0] == nil {
		return nil, err
	}
	rec, err := d.decode(key, values[0])
	if err == nil && rec.null { // which has another name
		rec = nil
	}
	return rec, err
}

// look finds an object and checks the conditions of its reader.
func (b *Buckets) look(ctx context.Context, g data.ObjectGet) (rec *record, newest bool, err error) {
	err = b.keys.View(ctx, func(r rouse.KeyReader) error {
		d, err := b.load(r, g.Bucket)
		if err != nil {
			return err
		}
		rec, newest, err = b.find(r, d, g.Key, g.Version)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	if rec.marker {
		return nil, false, rouse.Errorf(rouse.NotFound, "get object", place(g.Bucket, g.Key), "it was deleted: this version is a marker")
	}
	if err := unmet(g.If, rec, true); err != nil {
		return nil, false, rouse.Errorf(rouse.Conflict, "get object", place(g.Bucket, g.Key), "%w", err)
	}
	return rec, newest, nil
}

// StatObject implements data.Objects.
func (b *Buckets) StatObject(ctx context.Context, g data.ObjectGet) (data.Object, error) {
	rec, newest, err := b.look(ctx, g)
	if err != nil {
		return data.Object{}, err
	}
	if _, _, err := cut(g.Range, rec.size()); err != nil {
		return data.Object{}, rouse.Errorf(rouse.Invalid, "stat object", place(g.Bucket, g.Key), "%w", err)
	}
	return rec.object(g.Key, newest), nil
}

// GetObject implements data.Objects. The body can be read for at least the
// grace time, also where the object is deleted meanwhile.
func (b *Buckets) GetObject(ctx context.Context, g data.ObjectGet) (data.Object, io.ReadCloser, error) {
	rec, newest, err := b.look(ctx, g)
	if err != nil {
		return data.Object{}, nil, err
	}
	from, length, err := cut(g.Range, rec.size())
	if err != nil {
		return data.Object{}, nil, rouse.Errorf(rouse.Invalid, "get object", place(g.Bucket, g.Key), "%w", err)
	}
	r := &reader{ctx: ctx, blobs: b.blobs, chunks: rec.chunks, skip: from, left: length}
	if err := r.open(); err != nil && err != io.EOF {
		return data.Object{}, nil, fmt.Errorf("open object: %w", err)
	}
	return rec.object(g.Key, newest), r, nil
}

// cut returns the first byte and the number of bytes that a range stands for.
func cut(r *data.ByteRange, size int64) (from, length int64, err error) {
	if r == nil {
		return 0, size, nil
	}
	if from = r.From; from < 0 {
		from = max(size+from, 0)
	}
	if from >= size {
		return 0, 0, fmt.Errorf("%w: it has %d bytes", data.ErrRange, size)
	}
	if length = r.Length; length <= 0 || length > size-from {
		length = size - from
	}
	return from, length, nil
}

// A reader reads chunks one after the other. A chunk that is read whole is read
// to its end, where the Blobs say whether its bytes are those that were stored.
type reader struct {
	ctx    context.Context // of GetObject
	blobs  rouse.Blobs
	chunks []chunk // that are not open yet
	skip   int64   // bytes, before the first that is wanted
	left   int64   // bytes that are wanted
	now    io.ReadCloser
	inNow  int64 // bytes that the open chunk still has
}

// open opens the next chunk; io.EOF is that no more is wanted.
func (r *reader) open() error {
	for len(r.chunks) > 0 && r.skip >= r.chunks[0].size && r.left > 0 {
		r.skip -= r.chunks[0].size
		r.chunks = r.chunks[1:]
	}
	if r.left <= 0 {
		return io.EOF
	}
	if len(r.chunks) == 0 {
		return io.ErrUnexpectedEOF
	}
	c := r.chunks[0]
	body, err := r.blobs.Open(r.ctx, c.digest.name())
	if err != nil {
		return err
	}
	if r.skip > 0 {
		if s, ok := body.(io.Seeker); ok {
			_, err = s.Seek(r.skip, io.SeekStart)
		} else {
			_, err = io.CopyN(io.Discard, body, r.skip)
		}
		if err != nil {
			_ = body.Close() // the first error is the one to tell
			return err
		}
	}
	r.now, r.inNow, r.skip, r.chunks = body, c.size-r.skip, 0, r.chunks[1:]
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	for {
		if r.now == nil {
			if err := r.open(); err != nil {
				return 0, err
			}
		}
		if r.left <= 0 && r.inNow > 0 { // the rest of the chunk is not wanted
			return 0, r.next(io.EOF)
		}
		if len(p) == 0 {
			return 0, nil
		}
		if r.left > 0 {
			p = p[:min(int64(len(p)), r.left)]
		}
		n, err := r.now.Read(p)
		if int64(n) > r.inNow {
			return 0, rouse.Errorf(rouse.Internal, "read object", "", "a blob is longer than it was")
		}
		r.inNow, r.left = r.inNow-int64(n), r.left-int64(n)
		switch {
		case err == io.EOF && r.inNow > 0:
			return n, io.ErrUnexpectedEOF
		case err == io.EOF:
			if err := r.next(nil); err != nil || n > 0 {
				return n, err
			}
		case err != nil || n > 0:
			return n, err
		}
	}
}

// next closes the open chunk.
func (r *reader) next(end error) error {
	err := r.now.Close()
	r.now = nil
	if err != nil {
		return err
	}
	return end
}

func (r *reader) Close() error {
	r.left = 0
	if r.now == nil {
		return nil
	}
	return r.next(nil)
}
