package queue

import "sync"

// holds keep the transactions of this process on one queue apart: on a store
// that lets transactions overlap, those would get into each other's way and be
// done again and again. The zero value holds nothing.
type holds struct {
	mu  sync.Mutex
	all map[source]*hold // guarded by mu; those that somebody has or waits for
}

type hold struct {
	sync.Mutex
	users int // guarded by holds.mu
}

// take waits for queues and returns what gives them back. Several must be in an
// order that is always the same, and each there once.
func (hs *holds) take(ss ...source) (giveBack func()) {
	taken := make([]*hold, len(ss))
	hs.mu.Lock()
	if hs.all == nil {
		hs.all = map[source]*hold{}
	}
	for i, s := range ss {
		h := hs.all[s]
		if h == nil {
			h = &hold{}
			hs.all[s] = h
		}
		h.users++
		taken[i] = h
	}
	hs.mu.Unlock()
	for _, h := range taken {
		h.Lock()
	}
	return func() {
		hs.mu.Lock()
		defer hs.mu.Unlock()
		for i, h := range taken {
			h.Unlock()
			if h.users--; h.users == 0 {
				delete(hs.all, ss[i])
			}
		}
	}
}
