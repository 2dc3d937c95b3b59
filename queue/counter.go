package queue

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/tuple"
)

// busy is how long after its last use by a process a slot is that process's.
const busy = time.Minute

// maxHomes bounds how many homes are remembered.
const maxHomes = 10_000

// A home is the slot that this process uses of a queue.
type home struct {
	slot  byte
	floor int64 // numbers up to it were given out before
}

// homes remember where this process is at home, by what boxes are called. The
// zero value remembers nothing.
type homes struct {
	mu  sync.Mutex
	all map[string]home // guarded by mu
}

func (hs *homes) get(box []byte) (home, bool) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h, ok := hs.all[string(box)]
	return h, ok
}

func (hs *homes) set(box []byte, h home) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.all == nil || len(hs.all) >= maxHomes {
		hs.all = map[string]home{}
	}
	hs.all[string(box)] = h
}

func (hs *homes) forget(box []byte) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	delete(hs.all, string(box))
}

func counterPrefix(box []byte) []byte { return append([]byte{counterKind}, box...) }

// counters returns the slot of this process. It must be asked for before
// anything is written that it counts.
func (b *box) counters() (*slot, error) {
	if b.slot != nil {
		return b.slot, nil
	}
	q := b.queues
	h, known := q.homes.get(b.name)
	if !known {
		var err error
		if h, err = b.settle(); err != nil {
			return nil, err
		}
		q.homes.set(b.name, h)
	}
	b.slotKey = append(counterPrefix(b.name), h.slot)
	values, damage := b.w.Get(b.slotKey)
	if len(values) != 1 || unread(damage) {
		return nil, damage
	}
	var s slot
	var broken error
	if values[0] != nil {
		s, broken = decodeSlot(values[0])
	}
	if damage != nil || broken != nil {
		var err error
		if s, err = b.recount(h.slot); err != nil {
			return nil, err
		}
		q.Log.Error("the counters of a queue were damaged and counted again", "queue", b.source, "error", damage)
	}
	b.occupy(h, s, known)
	return b.slot, nil
}

// occupy makes s, as it is stored, this process's, which was at home there where
// known.
func (b *box) occupy(h home, s slot, known bool) {
	q := b.queues
	if known && s.owner != q.owner && b.now.Sub(time.UnixMicro(s.written)) < busy {
		q.homes.forget(b.name) // another process has it as well: next time another slot
	}
	s.owner, s.number = q.owner, max(s.number, h.floor)
	b.slot, b.slotKey, b.number = &s, append(counterPrefix(b.name), h.slot), h.slot
}

// settle chooses a slot that no other process uses, where there is one.
func (b *box) settle() (home, error) {
	pairs, err := b.scan(rouse.Span{From: counterPrefix(b.name), To: append(counterPrefix(b.name), slots)})
	if err != nil {
		return home{}, err
	}
	return b.choose(pairs), nil
}

// choose chooses a slot where pairs are those that there are: the first that is
// free, or else the first that nobody ever had.
func (b *box) choose(pairs []rouse.Pair) home {
	prefix := counterPrefix(b.name)
	var taken [slots]bool
	h := home{slot: slots}
	for _, p := range pairs {
		if len(p.Key) != len(prefix)+1 {
			continue
		}
		n := p.Key[len(prefix)]
		taken[n] = true
		s, err := decodeSlot(p.Value)
		if err != nil || b.free(s) { // a damaged one is counted again by who uses it
			h.slot = min(h.slot, n)
		}
		if err == nil {
			h.floor = max(h.floor, s.number)
		}
	}
	for n := byte(0); h.slot == slots && n < slots; n++ {
		if !taken[n] {
			h.slot = n
		}
	}
	if h.slot == slots {
		h.slot = byte(rand.IntN(slots))
	}
	return h
}

// free reports whether no other process uses a slot of the box.
func (b *box) free(s slot) bool {
	return s.owner == b.queues.owner || b.now.Sub(time.UnixMicro(s.written)) >= busy
}

// recount makes a slot of what there is, where its own bytes are damaged.
func (b *box) recount(number byte) (slot, error) {
	var s slot
	for kind, n := range map[byte]*int64{b.waitingKind(): &s.alive, leasedKind: &s.alive, deadKind: &s.dead} {
		count, err := b.w.Count(b.key(kind), tuple.After(b.key(kind)))
		if err != nil {
			return s, err
		}
		*n += count
	}
	prefix := counterPrefix(b.name)
	pairs, err := b.scan(rouse.Span{From: prefix, To: append(counterPrefix(b.name), slots)})
	if err != nil {
		return s, err
	}
	for _, p := range pairs {
		if other, err := decodeSlot(p.Value); err == nil && p.Key[len(p.Key)-1] != number {
			s.alive -= other.alive
			s.dead -= other.dead
			s.number = max(s.number, other.number)
		}
	}
	last, err := b.scan(rouse.Span{From: b.key(bodyKind), To: tuple.After(b.key(bodyKind)), Limit: 1, Reverse: true})
	if err != nil {
		return s, err
	}
	if len(last) > 0 {
		if id, err := idOf(last[0].Key); err == nil {
			s.number = max(s.number, id>>slotBits)
		}
	}
	return s, nil
}

// id makes the next ID.
func (b *box) id() (int64, error) {
	s, err := b.counters()
	if err != nil {
		return 0, err
	}
	s.number = max(s.number+1, (b.now.UnixMilli()-idEpoch)<<8)
	b.dirty = true
	return s.number<<slotBits | int64(b.number), nil
}

// count adds to the numbers of messages and of dead letters.
func (b *box) count(alive, dead int64) error {
	s, err := b.counters()
	if err != nil {
		return err
	}
	s.alive, s.dead, b.dirty = s.alive+alive, s.dead+dead, true
	return nil
}
