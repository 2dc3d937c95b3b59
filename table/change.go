package table

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/event"
	"github.com/rouse-run/rouse/stream/journal"
)

// A ledger gathers the changes that a transaction makes, for the feeds.
type ledger struct {
	now     time.Time
	cause   event.Cause
	batches []journal.Batch
	at      map[feedShard]int // of a shard's batch
}

// add notes that an item became another; nil is none.
func (l *ledger) add(c *change, from, to data.Item, expired bool) {
	if from == nil && to == nil || from != nil && to != nil && equal(data.MapOf(from), data.MapOf(to)) {
		return
	}
	shard := feedShard{c.def.ID, shardOf(c.tail)}
	n, ok := l.at[shard]
	if !ok {
		if l.at == nil {
			l.at = map[feedShard]int{}
		}
		n = len(l.batches)
		l.at[shard] = n
		l.batches = append(l.batches, journal.Batch{Journal: journalOf(shard)})
	}
	b := &l.batches[n]
	b.Bodies = append(b.Bodies, l.cause.Wrap(encodeChange(from, to, expired)))
}

func (l *ledger) append(w rouse.KeyWriter) error {
	if len(l.batches) == 0 {
		return nil
	}
	_, err := journal.AppendAll(w, l.now, l.batches)
	return err
}

// shardOf returns the shard of the feed that a tail belongs to.
func shardOf(tail []byte) int {
	return int(binary.BigEndian.Uint16(tail)) * feedShards >> 16
}

func journalOf(f feedShard) journal.Journal {
	return journal.Journal{Prefix: append(idKey(journalKind, f.table), byte(f.shard))}
}

// A change is stored as a version, whether it expired, and the two items, each
// with its length in front; the length 0 is none.
const changeVersion = 1

func encodeChange(from, to data.Item, expired bool) []byte {
	b := []byte{changeVersion, byte(btoi(expired))}
	for _, item := range []data.Item{from, to} {
		if item == nil {
			b = append(b, 0)
			continue
		}
		b = appendBytes(b, encodeItem(item))
	}
	return b
}

func decodeChange(b []byte) (from, to data.Item, expired bool, err error) {
	broken := errors.New("what is stored is not a change")
	if len(b) < 2 || b[0] != changeVersion || b[1] > 1 {
		return nil, nil, false, broken
	}
	rest := b[2:]
	var items [2]data.Item
	for i := range items {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return nil, nil, false, broken
		}
		if n > 0 {
			if items[i], err = decodeItem(rest[size : size+int(n)]); err != nil {
				return nil, nil, false, err
			}
		}
		rest = rest[size+int(n):]
	}
	if len(rest) > 0 || items[0] == nil && items[1] == nil {
		return nil, nil, false, broken
	}
	return items[0], items[1], b[1] == 1, nil
}
