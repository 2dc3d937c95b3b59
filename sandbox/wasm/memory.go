package wasm

import (
	"sync"
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// pageSize is that of WebAssembly.
const pageSize = 64 << 10

// memory counts what all instances in one Sandbox hold and refuses to grow them
// beyond a limit.
type memory struct {
	limit  int64
	held   atomic.Int64
	peak   atomic.Int64
	denied atomic.Bool // growing was refused since it was last cleared

	mu   sync.Mutex
	live map[*linear]struct{} // guarded by mu
}

// Allocate implements experimental.MemoryAllocator.
func (m *memory) Allocate(_, most uint64) experimental.LinearMemory {
	l := &linear{of: m, most: min(most, uint64(m.limit))}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live == nil {
		m.live = map[*linear]struct{}{}
	}
	m.live[l] = struct{}{}
	return l
}

// free gives back what the runtime has forgotten, as it does with the memory of
// a module that can't be instantiated. No code may run any more.
func (m *memory) free() {
	m.mu.Lock()
	live := m.live
	m.live = nil
	m.mu.Unlock()
	for l := range live {
		l.Free()
	}
}

func (m *memory) take(n int64) bool {
	held := m.held.Add(n)
	if n > 0 && held > m.limit {
		m.held.Add(-n)
		m.denied.Store(true)
		return false
	}
	for peak := m.peak.Load(); held > peak && !m.peak.CompareAndSwap(peak, held); peak = m.peak.Load() {
	}
	return true
}

// linear is the memory of one instance. All that it may become is reserved at
// once: growing neither moves nor copies, and what is not touched costs nothing.
// It is outside of Go's heap, so that it is free at once and not scanned.
type linear struct {
	of   *memory
	most uint64
	all  []byte
	size uint64
}

// Reallocate implements experimental.LinearMemory.
func (l *linear) Reallocate(size uint64) []byte {
	if size > l.most {
		l.of.denied.Store(true)
		return nil
	}
	if l.all == nil {
		all, err := unix.Mmap(-1, 0, int(max(l.most, pageSize)), unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
		if err != nil {
			l.of.denied.Store(true)
			return nil
		}
		l.all = all
	}
	if !l.of.take(int64(size) - int64(l.size)) {
		return nil
	}
	l.size = size
	return l.all[:size:size]
}

// Free implements experimental.LinearMemory.
func (l *linear) Free() {
	if l.all != nil {
		// It can fail only for a range that was not mapped.
		_ = unix.Munmap(l.all)
		l.all = nil
	}
	l.of.take(-int64(l.size))
	l.size = 0
	l.of.mu.Lock()
	delete(l.of.live, l)
	l.of.mu.Unlock()
}
