package wasm

import (
	"context"
	"sync"
	"sync/atomic"
)

// A runContext is the context of one run of code. It ends with its caller's, with the
// sandbox's, or when end is called. Running code asks it Err each time its meter
// runs out; only what waits for its Done costs a timer and a goroutine, and most
// runs wait for nothing.
type runContext struct {
	context.Context // the caller's
	alive           context.Context
	over            atomic.Bool

	mu   sync.Mutex
	done context.Context // guarded by mu; nil until somebody waits
	stop func()          // guarded by mu
}

// end ends the run before its time.
func (r *runContext) end() {
	r.over.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		r.stop()
	}
}

// Err implements context.Context.
func (r *runContext) Err() error {
	if r.over.Load() || r.alive.Err() != nil {
		return context.Canceled
	}
	return r.Context.Err()
}

// Value implements context.Context: code has no use for what its caller's context
// carries, and the way to the end of that is long.
func (r *runContext) Value(any) any { return nil }

// Done implements context.Context.
func (r *runContext) Done() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		done, cancel := context.WithCancel(r.Context)
		unlink := context.AfterFunc(r.alive, cancel)
		r.done, r.stop = done, func() { unlink(); cancel() }
		if r.over.Load() {
			cancel()
		}
	}
	return r.done.Done()
}
