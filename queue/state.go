package queue

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/internal/tuple"
)

var errBroken = errors.New("what is stored is not what a queue writes")

// A tick is a microsecond and a number of ten bits, which makes the epochs of a
// message differ though two of its leases end at the same time. Ticks last until
// the year 2255, which stands for all later ones.
func tick(t time.Time, number int64) int64 { return min(t.UnixMicro(), 1<<53-1)<<10 | number&1023 }

// lastTick is the last of a microsecond.
func lastTick(t time.Time) int64 { return tick(t, 1023) }

func timeOf(tick int64) time.Time { return time.UnixMicro(tick >> 10).UTC() }

// later is t after d; a sum that no time holds is one far away.
func later(t time.Time, d time.Duration) time.Time {
	return t.Add(max(d, 0))
}

// A group is what is left of a Message.Group in keys: the first half of its
// SHA-256.
type group [16]byte

func groupOf(name string) group {
	sum := sha256.Sum256([]byte(name))
	return group(sum[:16])
}

// A state is what is stored of a message apart from its body, so that a lease
// rewrites some forty bytes. All times are microseconds.
type state struct {
	epoch   int64 // that of the last receipt; 0 where there was none
	count   uint32
	sent    int64
	first   int64 // when it was first received; 0 is never
	expires int64 // 0 is as the queue's Keep says, forever is never
	group   group // in a Fifo queue
	held    bool  // leased by the server itself, and so free when that has ended
}

const forever = math.MaxInt64

func (s state) encode(fifo bool) []byte {
	b := make([]byte, 0, 53)
	b = tuple.Int(tuple.Int(tuple.Int(tuple.Int(b, s.epoch), s.sent), s.first), s.expires)
	b = binary.BigEndian.AppendUint32(b, s.count)
	if fifo {
		b = append(b, s.group[:]...)
	}
	if s.held {
		b = append(b, 1)
	}
	return b
}

func decodeState(b []byte) (state, error) {
	var s state
	switch n := len(b) - 1; {
	case (n == 36 || n == 52) && b[n] == 1:
		s.held, b = true, b[:n]
	case n != 35 && n != 51:
		return state{}, errBroken
	}
	for _, n := range []*int64{&s.epoch, &s.sent, &s.first, &s.expires} {
		*n, b, _ = tuple.ReadInt(b)
	}
	s.count = binary.BigEndian.Uint32(b)
	copy(s.group[:], b[4:])
	return s, nil
}

// expiry returns when a message of a queue is too old; forever is never.
func (s state) expiry(q data.Queue) int64 {
	switch {
	case s.expires != 0:
		return s.expires
	case q.Keep > 0:
		return s.sent + time.Duration(q.Keep).Microseconds()
	}
	return forever
}

// A content is what a message carries: as it is stored, its body follows a
// header, which is empty where there is nothing to say.
type content struct {
	body       []byte
	attributes map[string]string
	group      string
	dedup      string
	origin     *data.Origin
}

func (c content) encode() []byte {
	var h []byte
	if len(c.attributes) > 0 || c.group != "" || c.dedup != "" || c.origin != nil {
		h = appendString(appendString(h, c.group), c.dedup)
		if o := c.origin; o != nil {
			h = appendString(appendString(append(h, 1), string(o.Queue.Namespace)), o.Queue.Name)
			h = binary.AppendUvarint(binary.AppendUvarint(h, uint64(o.ID)), uint64(o.Count))
		} else {
			h = append(h, 0)
		}
		for _, k := range slices.Sorted(maps.Keys(c.attributes)) {
			h = appendString(appendString(h, k), c.attributes[k])
		}
	}
	b := make([]byte, 0, binary.MaxVarintLen32+len(h)+len(c.body))
	return append(append(binary.AppendUvarint(b, uint64(len(h))), h...), c.body...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A cursor reads what is written with uvarints; after an error it reads zeros.
type cursor struct {
	rest []byte
	err  error
}

func (c *cursor) uint() uint64 {
	n, k := binary.Uvarint(c.rest)
	if k <= 0 {
		c.rest, c.err = nil, errBroken
		return 0
	}
	c.rest = c.rest[k:]
	return n
}

func (c *cursor) bytes() []byte {
	n := c.uint()
	if n > uint64(len(c.rest)) {
		c.rest, c.err = nil, errBroken
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

// decodeContent returns a content whose body is a part of b.
func decodeContent(b []byte) (content, error) {
	all := cursor{rest: b}
	h := cursor{rest: all.bytes()}
	if all.err != nil {
		return content{}, all.err
	}
	c := content{body: slices.Clip(all.rest)}
	if len(h.rest) == 0 {
		return c, nil
	}
	c.group, c.dedup = string(h.bytes()), string(h.bytes())
	if h.uint() != 0 {
		o := &data.Origin{Queue: rouse.Ref{Namespace: rouse.Namespace(h.bytes()), Name: string(h.bytes())}}
		o.ID, o.Count = int64(h.uint()), int(h.uint())
		c.origin = o
	}
	for h.err == nil && len(h.rest) > 0 {
		if c.attributes == nil {
			c.attributes = map[string]string{}
		}
		k := string(h.bytes())
		c.attributes[k] = string(h.bytes())
	}
	return c, h.err
}

// A dead is a message that was given up.
type dead struct {
	sent    int64
	buried  int64
	count   uint32
	damaged bool
	reason  string
	content []byte // encoded
}

func (d dead) encode() []byte {
	b := binary.BigEndian.AppendUint32(tuple.Int(tuple.Int(nil, d.sent), d.buried), d.count)
	flag := byte(0)
	if d.damaged {
		flag = 1
	}
	return append(appendString(append(b, flag), d.reason), d.content...)
}

func decodeDead(b []byte) (dead, error) {
	if len(b) < 21 || b[20] > 1 {
		return dead{}, errBroken
	}
	d := dead{count: binary.BigEndian.Uint32(b[16:]), damaged: b[20] == 1}
	d.sent, _, _ = tuple.ReadInt(b)
	d.buried, _, _ = tuple.ReadInt(b[8:])
	c := cursor{rest: b[21:]}
	d.reason = string(c.bytes())
	d.content = slices.Clip(c.rest)
	return d, c.err
}

// idEpoch is the millisecond from which IDs count: with it they stay below 2 to
// the 53, which JSON's readers can bear, until the year 2093.
const idEpoch = 1_704_067_200_000 // 2024-01-01

const (
	slots    = 16 // of a queue, one for each process that writes to it
	slotBits = 4
)

// A slot is the part of a queue's counters that one process writes, so that
// several don't get into each other's way. It also makes IDs: a number, which
// is the time in 256ths of a millisecond or, where those run out, one more than
// the last, and the slot.
type slot struct {
	owner   uint64
	written int64 // microseconds
	number  int64 // of the last ID
	alive   int64 // messages, those less that were removed by way of this slot
	dead    int64
}

func (s slot) encode() []byte {
	b := tuple.Uint(make([]byte, 0, 40), s.owner)
	return tuple.Int(tuple.Int(tuple.Int(tuple.Int(b, s.written), s.number), s.alive), s.dead)
}

func decodeSlot(b []byte) (slot, error) {
	if len(b) != 40 {
		return slot{}, errBroken
	}
	var s slot
	s.owner, b, _ = tuple.ReadUint(b)
	for _, n := range []*int64{&s.written, &s.number, &s.alive, &s.dead} {
		*n, b, _ = tuple.ReadInt(b)
	}
	if s.number < 0 || s.number > math.MaxInt64>>slotBits-1 {
		return slot{}, errBroken
	}
	return s, nil
}
