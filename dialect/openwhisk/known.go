package openwhisk

import (
	"sync"
	"sync/atomic"

	"github.com/rouse-run/rouse"
)

// maxActions is how many actions are kept in memory. One with a large note counts
// as more.
const maxActions = 65_536

// weight is as how many an action counts.
func (a *action) weight() int64 { return 1 + int64(len(a.f.Notes[Name])>>10) }

// actions are those that were read, each in its newest version. Concurrent calls
// are safe.
type actions struct {
	known sync.Map     // of *action by rouse.Ref
	n     atomic.Int64 // their weight
}

// get returns the one of a function, in whichever version; nil is none.
func (k *actions) get(r rouse.Ref) *action {
	if a, ok := k.known.Load(r); ok {
		return a.(*action)
	}
	return nil
}

// add keeps a, unless that is an older version than what is kept. Functions may
// be removed by other doors, so all are forgotten where there are too many.
func (k *actions) add(a *action) {
	if old := k.get(a.f.Ref); old != nil && old.f.Created.After(a.f.Created) {
		return
	}
	more := a.weight()
	if old, was := k.known.Swap(a.f.Ref, a); was {
		more -= old.(*action).weight()
	}
	if k.n.Add(more) > maxActions {
		k.n.Store(0)
		k.known.Clear()
	}
}

// drop forgets the one of a function that was removed.
func (k *actions) drop(r rouse.Ref) {
	if a, was := k.known.LoadAndDelete(r); was {
		k.n.Add(-a.(*action).weight())
	}
}

// locks let one change of a name happen at a time. Nobody waits for
// another in a circle: lockSequences is taken first, that of an action before that
// of its package, and those whose keys begin with a word and a space come last.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock // guarded by mu
}

type lock struct {
	sync.Mutex
	wanted int // by how many, who holds it included; guarded by locks.mu
}

func (l *locks) hold(key string) (release func()) {
	l.mu.Lock()
	k := l.held[key]
	if k == nil {
		if l.held == nil {
			l.held = map[string]*lock{}
		}
		k = &lock{}
		l.held[key] = k
	}
	k.wanted++
	l.mu.Unlock()
	k.Lock()
	return func() {
		k.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.wanted--; k.wanted == 0 {
			delete(l.held, key)
		}
	}
}

// lockSequences is held while a sequence, of whatever namespace, is looked through
// for itself and stored.
const lockSequences = "sequences"
