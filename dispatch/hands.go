package dispatch

import (
	"slices"
	"sync"

	"github.com/rouse-run/rouse"
)

// hands are the messages that a Dispatcher has in its hands: those that it holds,
// that are being handled, and that were handled and are not deleted. Where the
// lease of one ends all the same, as the clock was put forward, the machine slept
// or the store stood still, it is received once more: that is a new receipt for
// what is under way, not work to be done twice.
type hands struct {
	mu  sync.Mutex
	all map[inHand]rouse.Receipt // guarded by mu; the latest of each
}

type inHand struct {
	queue string
	id    int64
}

// take takes what was received, and returns those of it that were not in hand
// before.
func (h *hands) take(queue string, ls []rouse.Lease) []rouse.Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(ls, func(l rouse.Lease) bool {
		k := inHand{queue, l.ID}
		_, before := h.all[k]
		h.all[k] = l.Receipt
		return before
	})
}

// valid returns the receipt that is valid now of a message in hand.
func (h *hands) valid(queue string, id int64) rouse.Receipt {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all[inHand{queue, id}]
}

// renew notes that a receipt was replaced, unless there is another since.
func (h *hands) renew(queue string, old, new rouse.Receipt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k := (inHand{queue, old.ID}); h.all[k] == old {
		h.all[k] = new
	}
}

// leave lets go of a message, and returns its receipt.
func (h *hands) leave(queue string, id int64) rouse.Receipt {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := inHand{queue, id}
	r := h.all[k]
	delete(h.all, k)
	return r
}
