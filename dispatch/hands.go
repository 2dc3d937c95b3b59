package dispatch

import (
	"sync"

	"github.com/rouse-run/rouse"
)

// hands are the messages that a Dispatcher has in its hands: those that it holds,
// that are being handled, and that were handled and are not deleted. Where the
// lease of one ends all the same, as the clock was put forward, the machine slept
// or the store stood still, it is received once more: that is a new receipt for
// what is under way, not work to be done twice. Of its group, others may be
// received as well then: they wait until it is done with.
type hands struct {
	mu     sync.Mutex
	all    map[inHand]grasp // guarded by mu
	groups map[inGroup]int  // guarded by mu; how many of each are in all
}

type inHand struct {
	queue string
	id    int64
}

type inGroup struct{ queue, group string }

// A grasp is the latest receipt of a message, and its group; "" is none.
type grasp struct {
	receipt rouse.Receipt
	group   string
}

func newHands() hands { return hands{all: map[inHand]grasp{}, groups: map[inGroup]int{}} }

// take takes what was received. It returns those that were not in hand before, and
// those that are to be given back as another of their group is.
func (h *hands) take(queue string, ls []rouse.Lease, group func(rouse.Lease) string) (fresh, others []rouse.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fresh = ls[:0] // mostly all are
	for _, l := range ls {
		k := inHand{queue, l.ID}
		g, before := h.all[k]
		switch {
		case before:
			h.all[k] = grasp{l.Receipt, g.group}
		case group != nil && h.groups[inGroup{queue, group(l)}] > 0:
			others = append(others, l)
		default:
			fresh = append(fresh, l)
		}
	}
	for _, l := range fresh {
		g := grasp{receipt: l.Receipt}
		if group != nil {
			g.group = group(l)
		}
		h.all[inHand{queue, l.ID}] = g
		if g.group != "" {
			h.groups[inGroup{queue, g.group}]++
		}
	}
	return fresh, others
}

// valid returns the receipt that is valid now of a message in hand.
func (h *hands) valid(queue string, id int64) rouse.Receipt {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all[inHand{queue, id}].receipt
}

// renew notes that a receipt was replaced, unless there is another since.
func (h *hands) renew(queue string, old, new rouse.Receipt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := inHand{queue, old.ID}
	if g, ok := h.all[k]; ok && g.receipt == old {
		h.all[k] = grasp{new, g.group}
	}
}

// leave lets go of a message, and returns its receipt.
func (h *hands) leave(queue string, id int64) rouse.Receipt {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := inHand{queue, id}
	g := h.all[k]
	delete(h.all, k)
	if g.group != "" {
		in := inGroup{queue, g.group}
		if h.groups[in]--; h.groups[in] <= 0 {
			delete(h.groups, in)
		}
	}
	return g.receipt
}
