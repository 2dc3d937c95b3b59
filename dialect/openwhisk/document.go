package openwhisk

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"sync"

	"github.com/rouse-run/rouse"
)

// documents are what the dialect keeps of one kind, in memory once read: rules
// and packages are asked for by each invocation.
type documents[T any] struct {
	meta rouse.Meta
	kind string

	// prepare, where not nil, is called before those of a namespace are read.
	prepare func(ctx context.Context, ns rouse.Namespace) error

	mu      sync.RWMutex
	known   map[rouse.Namespace]*whole[T] // guarded by mu; none that is empty
	size    int                           // guarded by mu; of known
	changes int                           // guarded by mu; how many there were
}

// Bounds of what is kept in memory of one kind, in namespaces and in bytes as they
// are stored.
const (
	maxKnown = 4096
	maxSize  = 128 << 20
	maxWhole = 16 << 20 // of one namespace
)

// pageOfDocuments is how many are read at once: each may have megabytes.
const pageOfDocuments = 32

// whole is what is known of a namespace: all that is in it, or that this is too
// much to be kept. It never changes.
type whole[T any] struct {
	all  map[string]stored[T] // nil where it is too much
	size int                  // bytes
}

type stored[T any] struct {
	name     string
	value    T
	revision int64
}

// each yields those of a namespace. Few are in memory at a time where they are too
// many to be kept.
func (d *documents[T]) each(ctx context.Context, ns rouse.Namespace) iter.Seq2[stored[T], error] {
	return func(yield func(stored[T], error) bool) {
		w, err := d.whole(ctx, ns)
		if err != nil {
			yield(stored[T]{}, err)
			return
		}
		if w.all == nil {
			d.read(ctx, ns, func(s stored[T], _ int, err error) bool { return yield(s, err) })
			return
		}
		for _, s := range w.all {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// whole returns what is in a namespace, from memory once it was read.
func (d *documents[T]) whole(ctx context.Context, ns rouse.Namespace) (*whole[T], error) {
	if d.prepare != nil {
		if err := d.prepare(ctx, ns); err != nil {
			return nil, err
		}
	}
	d.mu.RLock()
	w, changes := d.known[ns], d.changes
	d.mu.RUnlock()
	if w != nil {
		return w, nil
	}
	w = &whole[T]{all: map[string]stored[T]{}}
	var failed error
	d.read(ctx, ns, func(s stored[T], size int, err error) bool {
		failed = err
		w.size += size
		if err == nil && w.size <= maxWhole {
			w.all[s.name] = s
			return true
		}
		w.all, w.size = nil, 0
		return false
	})
	if failed != nil {
		return nil, failed
	}
	if w.all == nil || len(w.all) > 0 { // anybody may ask for any namespace
		d.keep(ns, w, changes)
	}
	return w, nil
}

// read hands those of a namespace to f with their sizes, in bytes as they are
// stored, for as long as f says so; an error is the last.
func (d *documents[T]) read(ctx context.Context, ns rouse.Namespace, f func(s stored[T], size int, err error) bool) {
	for after := ""; ; {
		docs, err := d.meta.List(ctx, rouse.DocQuery{Kind: d.kind, Namespace: ns, After: after, Limit: pageOfDocuments})
		if err != nil {
			f(stored[T]{}, 0, err)
			return
		}
		for _, doc := range docs {
			s, err := d.decode(doc)
			if !f(s, len(doc.Data), err) || err != nil {
				return
			}
			after = doc.Ref.Name
		}
		if len(docs) < pageOfDocuments {
			return
		}
	}
}

func (d *documents[T]) decode(doc rouse.Doc) (stored[T], error) {
	s := stored[T]{name: doc.Ref.Name, revision: doc.Revision}
	if err := json.Unmarshal(doc.Data, &s.value); err != nil {
		return s, fmt.Errorf("read %s %s: %w", d.kind, doc.Ref, err)
	}
	return s, nil
}

// keep keeps what was read of a namespace, unless something has changed since.
func (d *documents[T]) keep(ns rouse.Namespace, w *whole[T], changes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changes != changes {
		return
	}
	if d.known == nil {
		d.known = map[rouse.Namespace]*whole[T]{}
	}
	d.forget(ns)                 // who read it as well was first
	for other := range d.known { // any one of them
		if len(d.known) < maxKnown && d.size+w.size <= maxSize {
			break
		}
		d.forget(other)
	}
	d.known[ns] = w
	d.size += w.size
}

// forget forgets a namespace. The caller holds mu.
func (d *documents[T]) forget(ns rouse.Namespace) {
	if w := d.known[ns]; w != nil {
		d.size -= w.size
		delete(d.known, ns)
	}
}

// get returns one; ok is false where there is none.
func (d *documents[T]) get(ctx context.Context, ns rouse.Namespace, name string) (v T, revision int64, ok bool, err error) {
	w, err := d.whole(ctx, ns)
	if err != nil {
		return v, 0, false, err
	}
	s, ok := w.all[name]
	if w.all == nil {
		doc, err := d.meta.Get(ctx, d.kind, rouse.Ref{Namespace: ns, Name: name})
		if rouse.KindOf(err) == rouse.NotFound {
			return v, 0, false, nil
		}
		if err == nil {
			s, err = d.decode(doc)
		}
		return s.value, s.revision, err == nil, err
	}
	return s.value, s.revision, ok, nil
}

// put stores v over the one of a revision; 0 is none.
func (d *documents[T]) put(ctx context.Context, ns rouse.Namespace, name string, v T, revision int64) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return d.change(ctx, rouse.Change{Kind: d.kind, Ref: rouse.Ref{Namespace: ns, Name: name}, Revision: revision, Data: data})
}

func (d *documents[T]) remove(ctx context.Context, ns rouse.Namespace, name string, revision int64) error {
	return d.change(ctx, rouse.Change{Kind: d.kind, Ref: rouse.Ref{Namespace: ns, Name: name}, Revision: revision})
}

// change forgets the namespace, and what is being read: that may be what is no
// longer so.
func (d *documents[T]) change(ctx context.Context, c rouse.Change) error {
	err := d.meta.Apply(ctx, []rouse.Change{c})
	d.mu.Lock()
	d.forget(c.Ref.Namespace)
	d.changes++
	d.mu.Unlock()
	return err
}
