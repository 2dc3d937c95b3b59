package journal

import "sync"

// Waiters wait, in one process, for something to be appended. The zero value
// has none. Its methods may be called concurrently.
type Waiters struct {
	mu    sync.Mutex
	bells map[string]*bell // guarded by mu
}

// A bell rings once, for all who hold it.
type bell struct {
	rung    chan struct{}
	holders int
}

// Wait returns a channel that the next Wake of what closes, and a function to
// be called when it is no longer waited for. What is to be waited for must be
// looked at between the two.
func (w *Waiters) Wait(what string) (woken <-chan struct{}, done func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.bells[what]
	if b == nil {
		b = &bell{rung: make(chan struct{})}
		if w.bells == nil {
			w.bells = map[string]*bell{}
		}
		w.bells[what] = b
	}
	b.holders++
	return b.rung, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if b.holders--; b.holders == 0 && w.bells[what] == b {
			delete(w.bells, what)
		}
	}
}

// Wake wakes all who wait for what.
func (w *Waiters) Wake(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b := w.bells[what]; b != nil {
		close(b.rung)
		delete(w.bells, what)
	}
}
