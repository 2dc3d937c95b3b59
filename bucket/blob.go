package bucket

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/tuple"
)

// What is known of a blob goes from state to state, each in a transaction:
//
//	(none) -> counted -> idle -> deleting -> deleted -> (none)
//	            ^_________/                     |
//	            ^_______________________________/
//
// An object's bytes are stored first, and then counted in the transaction that
// makes the object. Blobs.Put does not store what is there already: who has
// stored the same bytes just before they are deleted must not count on them.
// Therefore a blob is deleted only after it was idle for the grace time, and is
// "deleting" from before that until it is done; who wants to count it then is
// refused. It stays "deleted" for the grace time: who wants to count it then
// has to look whether it is there. And who needs more than half of the grace
// time from the last byte that Blobs.Put read to its transaction is refused as
// well, so that nobody comes after that mark is forgotten.
const (
	counted  = 'c' // referred to by count chunks of objects and uploads
	idle     = 'p' // by none
	deleting = 'd'
	deleted  = 'x'
)

// deleteWithin is how long one deletion may take; doubled, when another sweep
// may take it over.
const deleteWithin = 30 * time.Second

// A blob is what is known of one. The zero blob is not known.
type blob struct {
	state byte
	count uint64 // of counted
	due   int64  // of the others: the microsecond of the dueKey that it has
}

func (x blob) encode() []byte {
	if x.state == counted {
		return tuple.Uint([]byte{x.state}, x.count)
	}
	return tuple.Int([]byte{x.state}, x.due)
}

func decodeBlob(b []byte) (x blob, err error) {
	if b == nil {
		return x, nil
	}
	if len(b) != 9 {
		return x, errBroken
	}
	x.state = b[0]
	switch x.state {
	case counted:
		x.count = binary.BigEndian.Uint64(b[1:])
	case idle, deleting, deleted:
		x.due, _, err = tuple.ReadInt(b[1:])
	default:
		err = errBroken
	}
	return x, err
}

// become writes what is known of a blob now.
func (x blob) become(w rouse.KeyWriter, d digest, next blob) {
	if x.state != counted && x.state != 0 {
		w.Delete(dueKey(x.due, d))
	}
	if next.state == 0 {
		w.Delete(blobKey(d))
		return
	}
	w.Put(blobKey(d), next.encode())
	if next.state != counted {
		w.Put(dueKey(next.due, d), nil)
	}
}

var (
	errDeleting = errors.New("the same bytes are being deleted at this moment: store them again")
	errDeleted  = errors.New("the same bytes were deleted")
	errLate     = errors.New("the bytes were stored too long ago: store them again")
)

// A stored is bytes that were just put into the Blobs.
type stored struct {
	chunk
	md5     []byte
	at      time.Time // when Blobs.Put had read all: before it looked whether they are there
	found   blob      // the deleted state that the last transaction found
	checked blob      // the one after which the blob was seen to be there
}

// refs counts references that a transaction adds and takes away.
type refs map[digest]int

func (r refs) add(cs []chunk, n int) {
	for _, c := range cs {
		r[c.digest] += n
	}
}

// refer writes the counts. fresh is what was stored for this transaction; may
// be nil.
func (b *Buckets) refer(w rouse.KeyWriter, r refs, fresh *stored) error {
	ds := slices.SortedFunc(maps.Keys(r), func(a, b digest) int { return slices.Compare(a[:], b[:]) })
	ds = slices.DeleteFunc(ds, func(d digest) bool { return r[d] == 0 && (fresh == nil || d != fresh.digest) })
	if len(ds) == 0 {
		return nil
	}
	keys := make([][]byte, len(ds))
	for i, d := range ds {
		keys[i] = blobKey(d)
	}
	values, err := w.Get(keys...)
	if err != nil {
		return err
	}
	now := b.now()
	for i, d := range ds {
		x, err := decodeBlob(values[i])
		if err != nil {
			return rouse.Errorf(rouse.Internal, "count blob", d.String(), "%w", err)
		}
		if fresh != nil && d == fresh.digest {
			if err := fresh.usable(x, now, b.grace); err != nil {
				return err
			}
		} else if x.state != counted {
			return rouse.Errorf(rouse.Internal, "count blob", d.String(), "an object refers to it and it is not counted")
		}
		n := int64(x.count) + int64(r[d])
		switch {
		case n < 0:
			return rouse.Errorf(rouse.Internal, "count blob", d.String(), "it would be referred to %d times", n)
		case n == 0:
			x.become(w, d, blob{state: idle, due: now.Add(b.grace).UnixMicro()})
		default:
			x.become(w, d, blob{state: counted, count: uint64(n)})
		}
	}
	return nil
}

// usable fails where bytes may have been deleted since they were stored.
func (s *stored) usable(x blob, now time.Time, grace time.Duration) error {
	switch {
	case now.Sub(s.at) > grace/2:
		return errLate
	case x.state == deleting:
		return errDeleting
	case x.state == deleted && s.checked != x:
		s.found = x
		return errDeleted
	}
	return nil
}

// commit runs a transaction that refers to what was just stored, and sees to it
// that it is there.
func (b *Buckets) commit(ctx context.Context, s *stored, f func(rouse.KeyWriter) error) error {
	for {
		err := b.keys.Update(ctx, f)
		if err == errDeleted {
			_, statErr := b.blobs.Stat(ctx, s.digest.name())
			if statErr == nil {
				s.checked = s.found
				continue
			}
			if rouse.KindOf(statErr) != rouse.NotFound {
				return statErr
			}
		}
		if err == errDeleted || err == errDeleting || err == errLate {
			return rouse.Errorf(rouse.Unavailable, "store object", s.digest.String(), "%w", err)
		}
		return err
	}
}

// abandon leaves bytes that were stored and then not needed to the sweep.
// Where they are marked as deleted the mark must stay: it is for others who
// stored them, and adopt finds them once it is gone.
func (b *Buckets) abandon(ctx context.Context, s *stored) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteWithin)
	defer cancel()
	if err := b.idle(ctx, []digest{s.digest}); err != nil { // adopt finds it later
		b.log.Warn("abandon blob", "digest", s.digest.String(), "error", err)
	}
}

// idle makes blobs that are not known idle.
func (b *Buckets) idle(ctx context.Context, ds []digest) error {
	return b.keys.Update(ctx, func(w rouse.KeyWriter) error {
		keys := make([][]byte, len(ds))
		for i, d := range ds {
			keys[i] = blobKey(d)
		}
		values, err := w.Get(keys...)
		if err != nil {
			return err
		}
		due := b.now().Add(b.grace).UnixMicro()
		for i, d := range ds {
			x, err := decodeBlob(values[i])
			if err == nil && x.state == 0 {
				x.become(w, d, blob{state: idle, due: due})
			}
		}
		return nil
	})
}

// collect deletes the blobs that were idle for the grace time, and goes on with
// deletions that were cut short.
func (b *Buckets) collect(ctx context.Context) error {
	for {
		end := tuple.Int([]byte{dueKind}, b.now().UnixMicro()+1)
		var due []rouse.Pair
		err := b.keys.View(ctx, func(r rouse.KeyReader) (err error) {
			due, err = r.Scan(rouse.Span{From: []byte{dueKind}, To: end, Limit: stepSize})
			return err
		})
		if err != nil || len(due) == 0 {
			return err
		}
		began := time.Now()
		var doomed map[digest]blob
		err = b.keys.Update(ctx, func(w rouse.KeyWriter) (err error) {
			doomed, err = b.doom(w, due)
			return err
		})
		if err != nil {
			return err
		}
		if err := b.delete(ctx, doomed, began); err != nil {
			return err
		}
	}
}

// doom says which of the blobs that are due are to be deleted, and marks them.
func (b *Buckets) doom(w rouse.KeyWriter, due []rouse.Pair) (map[digest]blob, error) {
	now := b.now()
	doomed := map[digest]blob{}
	for _, p := range due {
		if len(p.Key) != 9+len(digest{}) {
			w.Delete(p.Key)
			continue
		}
		at, _, err := tuple.ReadInt(p.Key[1:])
		if err != nil {
			return nil, err
		}
		d := digest(p.Key[9:])
		values, err := w.Get(blobKey(d))
		if err != nil && rouse.KindOf(err) != rouse.Internal {
			return nil, err
		}
		var x blob
		if err == nil {
			x, err = decodeBlob(values[0])
		}
		if err != nil { // damaged: to keep the blob for ever harms less than to delete it
			b.log.Error("delete blob", "digest", d.String(), "error", err)
			w.Delete(p.Key)
			continue
		}
		switch {
		case x.state == 0 || x.state == counted || x.due != at: // another's key
			w.Delete(p.Key)
		case x.state == deleted:
			x.become(w, d, blob{})
		default:
			doomed[d] = blob{state: deleting, due: now.Add(2 * deleteWithin).UnixMicro()}
			x.become(w, d, doomed[d])
		}
	}
	return doomed, nil
}

// delete deletes blobs that were marked since began. It must be done, or have
// given up, before another sweep may believe that it was cut short.
func (b *Buckets) delete(ctx context.Context, doomed map[digest]blob, began time.Time) error {
	if len(doomed) == 0 {
		return nil
	}
	limited, cancel := context.WithDeadline(ctx, began.Add(deleteWithin))
	defer cancel()
	done := map[digest]blob{}
	var failed error
	for d, x := range doomed {
		if failed = limited.Err(); failed != nil {
			break
		}
		if failed = b.blobs.Delete(limited, d.name()); failed != nil {
			break
		}
		done[d] = x
	}
	err := b.keys.Update(ctx, func(w rouse.KeyWriter) error {
		due := b.now().Add(b.grace).UnixMicro()
		for d, was := range done {
			values, err := w.Get(blobKey(d))
			if err != nil {
				return err
			}
			if x, err := decodeBlob(values[0]); err == nil && x == was {
				x.become(w, d, blob{state: deleted, due: due})
			}
		}
		return nil
	})
	return errors.Join(failed, err)
}

// adopt makes blobs idle that are stored and not known.
func (b *Buckets) adopt(ctx context.Context) error {
	var found []digest
	var failed error
	check := func() bool {
		failed = b.adoptSome(ctx, found)
		found = found[:0]
		return failed == nil
	}
	err := b.blobs.List(ctx, func(name rouse.Digest, _ int64) bool {
		if d, err := digestOf(name); err == nil {
			found = append(found, d)
		}
		return len(found) < stepSize || check()
	})
	if err == nil && failed == nil {
		check()
	}
	return errors.Join(err, failed)
}

func (b *Buckets) adoptSome(ctx context.Context, found []digest) error {
	var unknown []digest
	err := b.keys.View(ctx, func(r rouse.KeyReader) error {
		unknown = nil
		keys := make([][]byte, len(found))
		for i, d := range found {
			keys[i] = blobKey(d)
		}
		values, err := r.Get(keys...)
		for i, v := range values {
			if v == nil && err == nil {
				unknown = append(unknown, found[i])
			}
		}
		return err
	})
	if err != nil || len(unknown) == 0 {
		return err
	}
	return b.idle(ctx, unknown)
}
