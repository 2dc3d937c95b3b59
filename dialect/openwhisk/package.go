package openwhisk

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/rouse-run/rouse"
)

// A pack is a package, or a binding to one.
type pack struct {
	Version     string    `json:"version"`
	Publish     bool      `json:"publish,omitempty"`
	Parameters  pairs     `json:"parameters,omitempty"`
	Annotations pairs     `json:"annotations,omitempty"`
	Binding     *pathLike `json:"binding,omitempty"`
	Updated     int64     `json:"updated"`

	Source rouse.Digest `json:"source,omitempty"` // what it was made of, where it is the system's
}

// UnmarshalJSON reads a package as it was stored.
func (p *pack) UnmarshalJSON(b []byte) error {
	type plain pack
	err := json.Unmarshal(b, (*plain)(p))
	p.Parameters, p.Annotations = p.Parameters.keyed(), p.Annotations.keyed()
	return err
}

// pathLike is how a binding names its package.
type pathLike struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func (p *pathLike) path() path { return path{ns: rouse.Namespace(p.Namespace), pack: p.Name} }

// A packBody is what a client puts.
type packBody struct {
	Version     string    `json:"version"`
	Publish     *bool     `json:"publish"`
	Parameters  *pairs    `json:"parameters"`
	Annotations pairs     `json:"annotations"`
	Binding     *pathLike `json:"binding"`
}

// A packSeen is a package as clients see it.
type packSeen struct {
	Namespace   string       `json:"namespace"`
	Name        string       `json:"name"`
	Version     string       `json:"version"`
	Publish     bool         `json:"publish"`
	Annotations pairs        `json:"annotations"`
	Parameters  pairs        `json:"parameters"`
	Binding     any          `json:"binding"` // {} where it is none
	Updated     int64        `json:"updated"`
	Actions     []memberSeen `json:"actions,omitzero"`
	Feeds       []memberSeen `json:"feeds,omitzero"`
}

// A memberSeen is an action in its package.
type memberSeen struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	Annotations pairs  `json:"annotations"`
	Parameters  pairs  `json:"parameters"`
}

func (p pack) seen(ns rouse.Namespace, name string) packSeen {
	s := packSeen{Namespace: string(ns), Name: name, Version: p.Version, Publish: p.Publish, Annotations: p.Annotations.orEmpty(),
		Parameters: p.Parameters.orEmpty(), Binding: struct{}{}, Updated: p.Updated}
	if p.Binding != nil {
		s.Binding = p.Binding
	}
	return s
}

// namePath is the name in the path of a request that must be one's own.
func (c *call) namePath(collection string) (rouse.Namespace, string, error) {
	ns, err := c.mine()
	if err == nil {
		err = c.owner()
	}
	if err != nil {
		return ns, "", err
	}
	name := c.rest(collection)
	return ns, name, checkName(name)
}

func (d *Door) putPackage(c *call) error {
	ns, name, err := c.namePath("packages")
	if err != nil {
		return err
	}
	if name == "default" {
		return refuse(http.StatusBadRequest, "Package name 'default' is reserved.")
	}
	var in packBody
	if err := c.read(&in, maxEntity); err != nil {
		return err
	}
	ctx := c.r.Context()
	defer d.locks.hold(string(ns) + "/" + name)()
	old, revision, exists, err := d.packages.get(ctx, ns, name)
	switch {
	case err != nil:
		return err
	case exists && c.r.URL.Query().Get("overwrite") != "true":
		return refuse(http.StatusConflict, textExists)
	case !exists:
		if err := d.elsewhere(c, ns, name, "packages"); err != nil {
			return err
		}
	}
	if in.Binding != nil && in.Binding.Name == "" && in.Binding.Namespace == "" {
		in.Binding = nil // {} is none
	}
	if in.Binding != nil {
		if exists && old.Binding == nil {
			return refuse(http.StatusConflict, "Resource is a package and cannot be converted into a binding.")
		}
		if err := d.checkBinding(c, in.Binding); err != nil {
			return err
		}
		old.Binding = in.Binding
	}
	if old.Version, err = nextVersion(in.Version, old.Version); err != nil {
		return err
	}
	if in.Publish != nil {
		old.Publish = *in.Publish
	}
	changed := in.Parameters != nil
	if changed {
		old.Parameters = merged(*in.Parameters)
	}
	old.Annotations = old.Annotations.with(in.Annotations...)
	if old.Binding != nil {
		binding, _ := json.Marshal(old.Binding) // strings always marshal
		old.Annotations = old.Annotations.with(keyValue{Key: "binding", Value: binding})
	}
	for what, list := range map[string]pairs{"parameters": old.Parameters, "annotations": old.Annotations} {
		if err := checkPairs(what, list); err != nil {
			return err
		}
	}
	old.Updated = max(d.millis(), old.Updated+1)
	if err := d.packages.put(ctx, ns, name, old, revision); err != nil {
		return err
	}
	if exists && changed && old.Binding == nil {
		if err := d.pass(ctx, ns, name, old.Parameters); err != nil {
			return err
		}
	}
	return c.answer(http.StatusOK, old.seen(ns, name))
}

// checkBinding refuses what can't be bound to, and fills in whose it is.
func (d *Door) checkBinding(c *call, b *pathLike) error {
	if b.Namespace == "_" || b.Namespace == "" {
		b.Namespace = string(c.own())
	}
	ns := rouse.Namespace(b.Namespace)
	to, _, ok, err := d.packages.get(c.r.Context(), ns, b.Name)
	switch {
	case err != nil:
		return err
	case !ok && ns == c.own():
		if d.elsewhere(c, ns, b.Name, "packages") != nil {
			return refuse(http.StatusConflict, "Cannot bind to a resource that is not a package.")
		}
		return refuse(http.StatusBadRequest, "Binding references a package that does not exist.")
	case !ok:
		return refuse(http.StatusBadRequest, "Binding references a package that does not exist.")
	case to.Binding != nil:
		return refuse(http.StatusBadRequest, "Cannot bind to another package binding.")
	case ns != c.own() && !to.Publish:
		return refuse(http.StatusForbidden, "The supplied authentication is not authorized to access '%s/%s'.", ns, b.Name)
	}
	return nil
}

// pass hands changed parameters of a package on to its actions: each has them
// among its defaults, so that it needs no package when it runs.
func (d *Door) pass(ctx context.Context, ns rouse.Namespace, name string, parameters pairs) error {
	for a, err := range d.own(ctx, ns) {
		if err != nil {
			return err
		}
		if a.path.pack != name {
			continue
		}
		next := *a
		if _, err := d.deploy(ctx, &next, parameters, nil); err != nil {
			return err
		}
	}
	return nil
}

// shared is the package that a request names, where who asks may see it.
func (d *Door) shared(c *call) (ns rouse.Namespace, name string, p pack, err error) {
	if ns, err = c.namespace(); err != nil {
		return ns, "", p, err
	}
	name = c.rest("packages")
	if err := checkName(name); err != nil {
		return ns, name, p, err
	}
	p, _, ok, err := d.packages.get(c.r.Context(), ns, name)
	switch {
	case err != nil:
		return ns, name, p, err
	case ok && (ns == c.own() || c.who.Operator || p.Publish):
		return ns, name, p, nil
	case ns != c.own():
		return ns, name, p, refuse(http.StatusForbidden, "The supplied authentication is not authorized to access '%s/%s'.", ns, name)
	case d.elsewhere(c, ns, name, "packages") != nil:
		return ns, name, p, refuse(http.StatusConflict, textElsewhere)
	}
	return ns, name, p, errNotFound
}

func (d *Door) getPackage(c *call) error {
	ns, name, p, err := d.shared(c)
	if err != nil {
		return err
	}
	s := p.seen(ns, name)
	at := path{ns: ns, pack: name}
	if p.Binding != nil {
		at = p.Binding.path()
		provider, err := d.provider(c.r.Context(), ns, p)
		if err != nil {
			return err
		}
		s.Parameters = merged(provider.Parameters, p.Parameters).orEmpty()
	}
	s.Actions, s.Feeds = []memberSeen{}, []memberSeen{}
	for a, err := range d.own(c.r.Context(), at.ns) {
		if err != nil {
			return err
		}
		if a.path.pack != at.pack {
			continue
		}
		m := memberSeen{a.path.name, a.Version, a.Annotations.orEmpty(), a.Parameters.orEmpty()}
		if a.Annotations.get("feed") != nil {
			s.Feeds = append(s.Feeds, m)
		} else {
			s.Actions = append(s.Actions, m)
		}
	}
	return c.answer(http.StatusOK, s)
}

func (d *Door) deletePackage(c *call) error {
	ns, name, err := c.namePath("packages")
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	defer d.locks.hold(string(ns) + "/" + name)()
	p, revision, ok, err := d.packages.get(ctx, ns, name)
	if err != nil {
		return err
	}
	if !ok {
		if d.elsewhere(c, ns, name, "packages") != nil {
			return refuse(http.StatusConflict, textElsewhere)
		}
		return errNotFound
	}
	fs, err := d.members(ctx, ns, name)
	if err != nil {
		return err
	}
	if n := len(fs); n > 0 && p.Binding == nil && c.r.URL.Query().Get("force") != "true" {
		entities := "1 entity"
		if n > 1 {
			entities = itoa(n) + " entities"
		}
		return refuse(http.StatusConflict, "Package not empty (contains %s). Set force param or delete package contents.", entities)
	}
	for _, f := range fs {
		if err := d.Registry.Remove(ctx, f); err != nil && rouse.KindOf(err) != rouse.NotFound {
			return err
		}
		d.actions.drop(f)
	}
	if err := d.packages.remove(ctx, ns, name, revision); err != nil {
		return err
	}
	return c.answer(http.StatusOK, p.seen(ns, name))
}

// members are the functions of a package, copies behind a binding included.
func (d *Door) members(ctx context.Context, ns rouse.Namespace, name string) ([]rouse.Ref, error) {
	prefix := encode(name) + "/"
	var all []rouse.Ref
	for f, err := range d.functions(ctx, ns, prefix) {
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(f.Name, prefix) {
			break
		}
		all = append(all, f.Ref)
	}
	return all, nil
}

func (d *Door) listPackages(c *call) error {
	ns, err := c.namespace()
	if err != nil {
		return err
	}
	var items []item
	for s, err := range d.packages.each(c.r.Context(), ns) {
		if err != nil {
			return err
		}
		if ns != c.own() && !c.who.Operator && !s.value.Publish {
			continue
		}
		i := item{Namespace: string(ns), Name: s.name, Version: s.value.Version, Publish: s.value.Publish, Updated: s.value.Updated, Binding: false}
		i.fill = func(i *item) error {
			p, _, _, err := d.packages.get(c.r.Context(), ns, i.Name)
			i.Annotations = p.Annotations.orEmpty()
			return err
		}
		if s.value.Binding != nil {
			i.Binding = s.value.Binding
		}
		items = append(items, i)
	}
	return c.list("packages", items)
}
