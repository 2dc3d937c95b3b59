package openwhisk

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/rouse-run/rouse"
)

// An origin says of which action of a package, in another namespace or behind a
// binding, a Function is the copy. What somebody uses of another's runs in his
// own namespace: its activations, instances and quota are his.
type origin struct {
	Path       string    `json:"path"`
	Version    int       `json:"version"`         // of the Function
	Created    int64     `json:"created"`         // of that version, ns since 1970
	Bound      int64     `json:"bound,omitempty"` // when the binding was updated, ms
	Binding    *pathLike `json:"binding,omitempty"`
	Parameters pairs     `json:"parameters,omitempty"` // package, binding and action merged
}

// same reports whether a copy made of o is still that of p.
func (o origin) same(p origin) bool {
	return o.Path == p.Path && o.Version == p.Version && o.Created == p.Created && o.Bound == p.Bound
}

// find returns the action of a path as who owns the namespace own may run it.
func (d *Door) find(ctx context.Context, own rouse.Namespace, p path) (*action, error) {
	if p.ns != own {
		return d.copied(ctx, own, p, rouse.Ref{Namespace: own, Name: string(p.ns) + ":" + p.ref().Name})
	}
	f, err := d.Registry.Function(ctx, p.ref(), "")
	switch {
	case rouse.KindOf(err) == rouse.NotFound && p.pack != "":
		return d.copied(ctx, own, p, p.ref())
	case err != nil:
		return nil, err
	}
	a, err := d.actionOf(f)
	if err == nil && a.Of != nil {
		return d.copied(ctx, own, p, p.ref())
	}
	return a, err
}

// copied returns the copy, named ref, of an action behind a binding or of
// another namespace; it makes it where it is not there, or no longer the same.
func (d *Door) copied(ctx context.Context, own rouse.Namespace, p path, ref rouse.Ref) (*action, error) {
	pk, _, ok, err := d.packages.get(ctx, p.ns, p.pack)
	if err != nil {
		return nil, err
	}
	if !ok || p.pack == "" {
		return nil, d.hidden(own, p)
	}
	if p.ns != own && !pk.Publish {
		return nil, d.hidden(own, p)
	}
	from, around := p, pk.Parameters
	o := origin{}
	if pk.Binding != nil {
		from = path{rouse.Namespace(pk.Binding.Namespace), pk.Binding.Name, p.name}
		provider, err := d.provider(ctx, p.ns, pk)
		if err != nil {
			return nil, err
		}
		around = merged(provider.Parameters, pk.Parameters)
		o.Bound, o.Binding = pk.Updated, &pathLike{string(p.ns), p.pack}
	} else if p.ns == own {
		return nil, errNotFound
	}
	f, err := d.Registry.Function(ctx, from.ref(), "")
	if err != nil {
		return nil, err
	}
	if pk.Binding != nil && p.ns != own && acts(f) { // with what another has bound to it
		return nil, d.hidden(own, p)
	}
	o.Path, o.Version, o.Created = from.String(), f.Version, f.Created.UnixNano()
	if have, err := d.copyOf(ctx, ref); err != nil || have != nil && have.Of.same(o) {
		return have, err
	}
	defer d.locks.hold("copy " + ref.String())()
	if have, err := d.copyOf(ctx, ref); err != nil || have != nil && have.Of.same(o) {
		return have, err // somebody has made it meanwhile
	}
	return d.copy(ctx, f, ref, around, o)
}

// provider is the package that a binding in a namespace leads to, as long as it
// is shared.
func (d *Door) provider(ctx context.Context, ns rouse.Namespace, binding pack) (pack, error) {
	at := binding.Binding.path()
	p, _, ok, err := d.packages.get(ctx, at.ns, at.pack)
	if err == nil && (!ok || at.ns != ns && !p.Publish) {
		err = d.hidden(ns, at)
	}
	return p, err
}

// copyOf is the copy that is there; nil where there is none.
func (d *Door) copyOf(ctx context.Context, ref rouse.Ref) (*action, error) {
	f, err := d.Registry.Function(ctx, ref, "")
	if rouse.KindOf(err) == rouse.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a, err := d.actionOf(f)
	if err == nil && a.Of == nil {
		return nil, refuse(http.StatusConflict, textElsewhere)
	}
	return a, err
}

// copy deploys f once more, under another name.
func (d *Door) copy(ctx context.Context, f rouse.Function, ref rouse.Ref, around pairs, o origin) (*action, error) {
	source, err := d.actionOf(f)
	if err != nil {
		return nil, err
	}
	n := source.note
	o.Parameters = merged(around, n.Parameters)
	n.Of = &o
	n.Arguments, n.Env = arguments(o.Parameters)
	raw, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	f.Ref, f.Notes = ref, rouse.Notes{Name: raw}
	f.Version, f.Deps = 0, ""
	if f.Recorded, err = recorded(n, f); err != nil {
		return nil, err
	}
	deployed, err := d.Registry.Deploy(ctx, f, nil, nil)
	if err != nil {
		return nil, err
	}
	return d.actionOf(deployed)
}

// hidden is the error for what is not there, or not for everybody.
func (d *Door) hidden(own rouse.Namespace, p path) error {
	if p.ns == own {
		return errNotFound
	}
	return refuse(http.StatusForbidden, "The supplied authentication is not authorized to access '%s'.", p)
}
