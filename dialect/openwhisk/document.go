package openwhisk

import (
	"context"
	"encoding/json"
	"fmt"
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
	known   map[rouse.Namespace]map[string]stored[T] // guarded by mu; whole namespaces, none that is empty
	changes int                                      // guarded by mu; how many there were
}

// maxKnown is how many namespaces are kept in memory, of one kind.
const maxKnown = 4096

type stored[T any] struct {
	value    T
	revision int64
}

// all returns those of a namespace by name. The map must not be changed.
func (d *documents[T]) all(ctx context.Context, ns rouse.Namespace) (map[string]stored[T], error) {
	if d.prepare != nil {
		if err := d.prepare(ctx, ns); err != nil {
			return nil, err
		}
	}
	d.mu.RLock()
	all, ok := d.known[ns]
	changes := d.changes
	d.mu.RUnlock()
	if ok {
		return all, nil
	}
	docs, err := d.meta.List(ctx, rouse.DocQuery{Kind: d.kind, Namespace: ns})
	if err != nil {
		return nil, err
	}
	all = make(map[string]stored[T], len(docs))
	for _, doc := range docs {
		s := stored[T]{revision: doc.Revision}
		if err := json.Unmarshal(doc.Data, &s.value); err != nil {
			return nil, fmt.Errorf("read %s %s: %w", d.kind, doc.Ref, err)
		}
		all[doc.Ref.Name] = s
	}
	if len(all) > 0 { // anybody may ask for any namespace
		d.keep(ns, all, changes)
	}
	return all, nil
}

// keep keeps what was read of a namespace, unless something has changed since.
func (d *documents[T]) keep(ns rouse.Namespace, all map[string]stored[T], changes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changes != changes {
		return
	}
	if d.known == nil {
		d.known = map[rouse.Namespace]map[string]stored[T]{}
	}
	for other := range d.known { // any one of them
		if len(d.known) < maxKnown {
			break
		}
		delete(d.known, other)
	}
	d.known[ns] = all
}

// get returns one; ok is false where there is none.
func (d *documents[T]) get(ctx context.Context, ns rouse.Namespace, name string) (v T, revision int64, ok bool, err error) {
	all, err := d.all(ctx, ns)
	s, ok := all[name]
	return s.value, s.revision, ok, err
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
	delete(d.known, c.Ref.Namespace)
	d.changes++
	d.mu.Unlock()
	return err
}
