package stream

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/stream/journal"
)

// A lane is where the Appends to one stream wait for the transaction before
// theirs: all that wait go into one, and so don't get into each other's way.
type lane struct{ waiting []*appending } // guarded by Streams.mu

// appending is one caller's Append.
type appending struct {
	ctx       context.Context
	records   []record
	size      int
	positions []data.Position
	err       error
	done      chan struct{}
}

const (
	maxAtOnce     = 8 << 20 // bytes of one transaction, but for a single Append of more
	maxRecords    = 10_000  // of one Append
	maxAppendSize = 24 << 20
)

// Append implements data.Streams.
func (s *Streams) Append(ctx context.Context, r rouse.Ref, rs []data.Record) ([]data.Position, error) {
	const op = "append to stream"
	if len(rs) == 0 {
		_, err := s.document(ctx, r)
		return nil, err
	}
	if len(rs) > maxRecords {
		return nil, rouse.Errorf(rouse.TooLarge, op, r.String(), "%d records at once are more than %d: append them in parts", len(rs), maxRecords)
	}
	a := &appending{ctx: ctx, done: make(chan struct{}), records: make([]record, len(rs))}
	cause := event.CauseOf(ctx)
	for i, rec := range rs {
		size := len(rec.Key) + len(rec.Data)
		if size > data.MaxRecord {
			return nil, rouse.Errorf(rouse.TooLarge, op, r.String(), "records[%d]: its key and data have %d bytes, %d are the most", i, size, data.MaxRecord)
		}
		if a.size += size; a.size > maxAppendSize {
			return nil, rouse.Errorf(rouse.TooLarge, op, r.String(), "the first %d records have more than %d bytes: append them in parts", i+1, maxAppendSize)
		}
		a.records[i] = encodeRecord(rec)
		a.records[i].body = cause.Wrap(a.records[i].body)
	}
	if err := s.enter(r, a); err != nil {
		return nil, err
	}
	select {
	case <-a.done:
		return a.positions, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enter has a go with the next transaction of its stream.
func (s *Streams) enter(r rouse.Ref, a *appending) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return rouse.Errorf(rouse.Unavailable, "append to stream", r.String(), "the streams are closed")
	}
	l := s.lanes[r]
	if l == nil {
		l = &lane{}
		s.lanes[r] = l
		s.work.Go(func() { s.drive(r, l) })
	}
	l.waiting = append(l.waiting, a)
	return nil
}

// drive appends what comes into a lane until nothing waits there.
func (s *Streams) drive(r rouse.Ref, l *lane) {
	for {
		s.mu.Lock()
		n, size := 0, 0
		for n < len(l.waiting) && (n == 0 || size+l.waiting[n].size <= maxAtOnce) {
			size += l.waiting[n].size
			n++
		}
		taken := slices.Clone(l.waiting[:n])
		if l.waiting = slices.Delete(l.waiting, 0, n); n == 0 {
			delete(s.lanes, r)
		}
		s.mu.Unlock()
		if n == 0 {
			return
		}
		taken = slices.DeleteFunc(taken, func(a *appending) bool {
			if a.err = a.ctx.Err(); a.err != nil {
				close(a.done)
			}
			return a.err != nil
		})
		if len(taken) == 0 {
			continue
		}
		err := s.append(r, taken)
		for _, a := range taken {
			if a.err = err; err != nil {
				a.positions = nil
			}
			close(a.done)
		}
	}
}

// append appends what several callers have, in one transaction.
func (s *Streams) append(r rouse.Ref, as []*appending) error {
	var ids []string
	// Not the context of one of them: its end would be the others' as well.
	err := s.Keys.Update(context.WithoutCancel(as[0].ctx), func(w rouse.KeyWriter) error {
		d, err := s.documents.load(w, r)
		if err != nil {
			return err
		}
		ids = nil
		var batches []journal.Batch
		batchOf := map[int]int{} // by index of the shard
		for _, a := range as {
			a.positions = make([]data.Position, len(a.records))
			for i, rec := range a.records {
				shard := d.route(rec.hash)
				b, ok := batchOf[shard]
				if !ok {
					b = len(batches)
					batchOf[shard] = b
					batches = append(batches, journal.Batch{Journal: d.journal(&d.Shards[shard])})
					ids = append(ids, d.Shards[shard].id)
				}
				a.positions[i] = data.Position{Shard: ids[b], Sequence: uint64(len(batches[b].Bodies))}
				batches[b].Bodies = append(batches[b].Bodies, rec.body)
			}
		}
		firsts, err := journal.AppendAll(w, s.Now(), batches)
		if err != nil {
			return err
		}
		for _, a := range as {
			for i, p := range a.positions {
				a.positions[i].Sequence += firsts[slices.Index(ids, p.Shard)]
			}
		}
		return nil
	})
	if err == nil {
		for _, id := range ids {
			s.waiters.Wake(r, id)
		}
	}
	return err
}

// A record is one as it is stored.
type record struct {
	hash uint64
	body []byte
}

const (
	flagPlain = iota
	flagJSON
)

var errBrokenRecord = errors.New("what is stored is not a record")

// encodeRecord finds out, once, whether the data are JSON.
func encodeRecord(r data.Record) record {
	flag := byte(flagPlain)
	if json.Valid(r.Data) {
		flag = flagJSON
	}
	b := make([]byte, 0, 1+binary.MaxVarintLen32+len(r.Key)+len(r.Data))
	b = binary.AppendUvarint(append(b, flag), uint64(len(r.Key)))
	b = append(append(b, r.Key...), r.Data...)
	if r.HashKey != nil {
		return record{*r.HashKey, b}
	}
	sum := md5.Sum([]byte(r.Key))
	return record{binary.BigEndian.Uint64(sum[:]), b}
}

func decodeRecord(b []byte) (key string, payload []byte, isJSON bool, err error) {
	if len(b) == 0 || b[0] > flagJSON {
		return "", nil, false, errBrokenRecord
	}
	n, k := binary.Uvarint(b[1:])
	if k <= 0 || n > uint64(len(b)-1-k) {
		return "", nil, false, errBrokenRecord
	}
	rest := b[1+k:]
	return string(rest[:n]), rest[n:], b[0] == flagJSON, nil
}
