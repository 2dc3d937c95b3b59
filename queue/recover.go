package queue

import (
	"context"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/internal/tuple"
)

// Recover makes visible at once what a server that has ended held: messages of
// the plain queues, and of those of taken that Take leased, if their time is
// over within d, the lease that the server took. What others have received
// stays theirs. It must be called while nobody holds anything: before the first
// Receive of a server that has the store to itself. It says how many there were.
//
// What waits for another attempt within d can't be told from what is held, and
// is visible as well.
func (q *Queues) Recover(ctx context.Context, d time.Duration, taken ...rouse.Ref) (int, error) {
	all, err := q.plainSources(ctx)
	if err != nil {
		return 0, err
	}
	for _, r := range taken {
		all = append(all, source{Ref: r})
	}
	sum := 0
	for _, s := range all {
		n, err := q.recover(ctx, s, d)
		if sum += n; err != nil && rouse.KindOf(err) != rouse.NotFound {
			return sum, err
		}
	}
	return sum, nil
}

// plainSources returns the plain queues that hold messages.
func (q *Queues) plainSources(ctx context.Context) (all []source, err error) {
	err = q.Keys.View(ctx, func(r rouse.KeyReader) error {
		all = nil
		alive := map[string]int64{}
		kind := []byte{counterKind, plainBox}
		pairs, err := q.scan(r, rouse.Span{From: kind, To: tuple.After(kind)})
		for _, p := range pairs {
			name, _, err := tuple.ReadString(p.Key[len(kind):])
			if err != nil {
				continue
			}
			s, broken := decodeSlot(p.Value)
			if alive[string(name)] += s.alive; broken != nil {
				alive[string(name)] = 1 << 40 // perhaps
			}
		}
		for name, n := range alive {
			if n > 0 {
				all = append(all, plainSource(name))
			}
		}
		return err
	})
	return all, err
}

// recover makes visible what a server held of one queue, some in each
// transaction.
func (q *Queues) recover(ctx context.Context, s source, d time.Duration) (sum int, err error) {
	var after []byte
	for {
		n := 0
		var end []byte
		err := q.do(s, &op{ctx: ctx, rank: settles, run: func(b *box) (err error) {
			n, end, err = b.recover(after, d)
			return err
		}})
		if err != nil {
			return sum, err
		}
		if sum += n; end == nil {
			return sum, nil
		}
		after = end
	}
}

// recover makes some of the held messages visible whose keys come after one. It
// returns where to go on; nil is the end.
func (b *box) recover(after []byte, d time.Duration) (n int, end []byte, err error) {
	span := rouse.Span{From: b.key(leasedKind), To: tuple.After(b.idKey(leasedKind, lastTick(later(b.now, d)))), Limit: dueAtOnce}
	if after != nil {
		span.From = append(append([]byte(nil), after...), 0)
	}
	pairs, err := b.scan(span)
	if err != nil {
		return 0, nil, err
	}
	for _, p := range pairs {
		id, until, s, broken := decodeLeased(p)
		if broken != nil || id == 0 || !s.held { // who receives next looks at broken ones
			continue
		}
		if err := b.back(id, until, s); err != nil {
			return n, nil, err
		}
		n++
	}
	if len(pairs) == dueAtOnce {
		end = pairs[len(pairs)-1].Key
	}
	return n, end, nil
}
