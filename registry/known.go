package registry

import (
	"container/list"
	"strconv"
	"sync"

	"github.com/rouse-run/rouse"
)

const (
	// maxKnown is how many functions are kept in memory, and maxParts how many
	// versions and aliases of each.
	maxKnown = 4096
	maxParts = 32
)

// known keeps what was read of the functions used last, so that an invocation
// costs no reading.
type known struct {
	mu     sync.Mutex
	byRef  map[rouse.Ref]*list.Element // guarded by mu
	order  *list.List                  // of *entry, the last used first; guarded by mu
	change uint64                      // counts what was forgotten; guarded by mu
}

// An entry is what is known of one function. A qualifier that is not in it may
// still exist.
type entry struct {
	ref      rouse.Ref
	versions []version
	aliases  map[string]rouse.Alias // nil is none
}

// A version is what a qualifier means; "" is the newest. There are few of one
// function mostly, which are found sooner in a list than in a map.
type version struct {
	qualifier string
	function  *rouse.Function // never changed
}

func newKnown() *known { return &known{byRef: map[rouse.Ref]*list.Element{}, order: list.New()} }

// version returns what is known of a version, and a mark for learn.
func (k *known) version(r rouse.Ref, qualifier string) (f rouse.Function, ok bool, mark uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.entry(r); e != nil {
		for _, v := range e.versions {
			if v.qualifier == qualifier {
				return *v.function, true, k.change
			}
		}
	}
	return f, false, k.change
}

func (k *known) alias(r rouse.Ref, name string) (a rouse.Alias, ok bool, mark uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e := k.entry(r); e != nil {
		a, ok = e.aliases[name]
	}
	return a, ok, k.change
}

// entry is called with mu held.
func (k *known) entry(r rouse.Ref) *entry {
	el := k.byRef[r]
	if el == nil {
		return nil
	}
	k.order.MoveToFront(el)
	return el.Value.(*entry)
}

// learn calls f with r's entry, unless something was forgotten since mark: what
// was read may then be out of date.
func (k *known) learn(r rouse.Ref, mark uint64, f func(*entry)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.change != mark {
		return
	}
	e := k.entry(r)
	if e == nil {
		e = k.add(r)
	}
	if len(e.versions) > maxParts-2 { // the newest is two of them
		e.versions = nil
	}
	if len(e.aliases) >= maxParts {
		e.aliases = nil
	}
	f(e)
}

// add makes an entry. The caller holds mu.
func (k *known) add(r rouse.Ref) *entry {
	e := &entry{ref: r}
	k.byRef[r] = k.order.PushFront(e)
	if k.order.Len() > maxKnown {
		old := k.order.Remove(k.order.Back()).(*entry)
		delete(k.byRef, old.ref)
	}
	return e
}

// mark is what learn and replace want to know when a change or a reading began.
func (k *known) mark() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.change
}

// replace is called after f's change was stored as the newest of what is known of
// it: who calls next need not read it. Where another change came to an end since
// mark, nobody knows which of the two is the later one, and it is to be read.
func (k *known) replace(f rouse.Function, mark uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	alone := k.change == mark
	k.drop(f.Ref)
	if alone {
		k.add(f.Ref).newest(f)
	}
}

// newest makes f what is known as the newest version.
func (e *entry) newest(f rouse.Function) {
	e.set("", &f)
	e.set(strconv.Itoa(f.Version), &f)
}

func (e *entry) set(qualifier string, f *rouse.Function) {
	for i := range e.versions {
		if e.versions[i].qualifier == qualifier {
			e.versions[i].function = f
			return
		}
	}
	e.versions = append(e.versions, version{qualifier, f})
}

func (e *entry) setAlias(a rouse.Alias) {
	if e.aliases == nil {
		e.aliases = map[string]rouse.Alias{}
	}
	e.aliases[a.Name] = a
}

// forget is called after a change of r was stored, or may have been.
func (k *known) forget(r rouse.Ref) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(r)
}

// drop forgets r. The caller holds mu.
func (k *known) drop(r rouse.Ref) {
	k.change++
	if el := k.byRef[r]; el != nil {
		k.order.Remove(el)
		delete(k.byRef, r)
	}
}
