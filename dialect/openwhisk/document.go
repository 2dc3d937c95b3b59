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

	mu    sync.RWMutex
	known map[rouse.Namespace]map[string]stored[T] // guarded by mu; whole namespaces
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
	d.mu.RUnlock()
	if ok {
		return all, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
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
	if d.known == nil || len(d.known) >= maxKnown { // anybody may ask for any namespace
		d.known = map[rouse.Namespace]map[string]stored[T]{}
	}
	d.known[ns] = all
	return all, nil
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

// change forgets the namespace before and after: who reads meanwhile may learn
// what is no longer so.
func (d *documents[T]) change(ctx context.Context, c rouse.Change) error {
	err := d.meta.Apply(ctx, []rouse.Change{c})
	d.mu.Lock()
	delete(d.known, c.Ref.Namespace)
	d.mu.Unlock()
	return err
}
