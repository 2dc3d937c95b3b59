// Package route knows which functions answer which paths of the server.
package route

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rouse-run/rouse"
)

// A Config says what a Table stands on.
type Config struct {
	Meta     rouse.Meta
	Registry rouse.Registry
	Reserved []string         // paths that are the server's own, such as "/v1", with all below
	Now      func() time.Time // nil is time.Now
}

// kind is that of the documents. All are in one namespace: their patterns share
// the paths of one server.
const kind = "route"

// maxPattern bounds the bytes of a pattern.
const maxPattern = 1024

// A Table implements rouse.Routes. It is in memory as a whole; all methods may
// be called concurrently.
type Table struct {
	Config
	turn chan struct{} // holds one; who takes it may change the table
	now  atomic.Pointer[state]
}

// A state is a Table at one time. It never changes.
type state struct {
	entries map[string]*entry // by pattern
	mux     *mux
}

// An entry is one stored Route.
type entry struct {
	rouse.Route
	revision int64
	pattern  pattern
}

// Open returns the Table of what is stored.
func Open(ctx context.Context, c Config) (*Table, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	t := &Table{Config: c, turn: make(chan struct{}, 1)}
	docs, err := c.Meta.List(ctx, rouse.DocQuery{Kind: kind})
	if err != nil {
		return nil, err
	}
	entries := map[string]*entry{}
	for _, d := range docs {
		e := &entry{revision: d.Revision}
		if err := json.Unmarshal(d.Data, &e.Route); err != nil {
			return nil, rouse.Errorf(rouse.Internal, "read route", d.Ref.Name, "it is not what was stored: %w", err)
		}
		if e.pattern, err = parse(e.Name); err != nil {
			return nil, rouse.Errorf(rouse.Internal, "read route", d.Ref.Name, "it is not what was stored: %w", err)
		}
		entries[e.Name] = e
	}
	t.use(entries)
	t.turn <- struct{}{}
	return t, nil
}

// use makes entries the Table's from now on.
func (t *Table) use(entries map[string]*entry) { t.now.Store(&state{entries, newMux(entries)}) }

// change has f make the next entries of what it is given, one caller at a time.
func (t *Table) change(ctx context.Context, f func(entries map[string]*entry) error) error {
	select {
	case <-t.turn:
		defer func() { t.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	next := map[string]*entry{}
	for k, e := range t.now.Load().entries {
		next[k] = e
	}
	if err := f(next); err != nil {
		return err
	}
	t.use(next)
	return nil
}

// SetRoute implements rouse.Routes.
func (t *Table) SetRoute(ctx context.Context, r rouse.Route) (rouse.Route, error) {
	p, err := t.check(r)
	if err != nil {
		return r, err
	}
	if _, err := t.Registry.Function(ctx, rouse.Ref{Namespace: r.Namespace, Name: r.To}, r.Qualifier); err != nil {
		return r, err
	}
	err = t.change(ctx, func(entries map[string]*entry) error {
		e := &entry{pattern: p}
		if err := t.place(&r, p, entries); err != nil {
			return err
		}
		if old := entries[r.Name]; old != nil {
			e.revision = old.revision
		}
		e.Route = r
		b, err := json.Marshal(r)
		if err != nil {
			return rouse.Errorf(rouse.Invalid, opSet, r.Name, "it can't be written as JSON: %w", err)
		}
		if err := t.Meta.Apply(ctx, []rouse.Change{{Kind: kind, Ref: rouse.Ref{Name: r.Name}, Revision: e.revision, Data: b}}); err != nil {
			return err
		}
		e.revision++
		entries[r.Name] = e
		return nil
	})
	return r, err
}

const opSet = "set route"

// check refuses what can be said of a route by itself.
func (t *Table) check(r rouse.Route) (pattern, error) {
	p, err := parse(r.Name)
	if err != nil {
		return p, err
	}
	if own := t.owner(p); own != "" {
		return p, rouse.Errorf(rouse.Invalid, opSet, r.Name, "%s and all below it is the server's own; choose another path", own)
	}
	if r.To == "" {
		return p, rouse.Errorf(rouse.Invalid, opSet, r.Name, "to is missing: the name of a function")
	}
	return p, nil
}

// place says since when r is there, and refuses it beside those that are.
func (t *Table) place(r *rouse.Route, p pattern, entries map[string]*entry) error {
	r.Created = t.Now().UTC()
	if old := entries[r.Name]; old != nil {
		if old.Namespace != r.Namespace {
			return rouse.Errorf(rouse.Conflict, opSet, r.Name, "there is one of the same pattern in the namespace %s", old.Namespace)
		}
		r.Created = old.Created
	}
	if other := p.conflict(entries); other != "" {
		return rouse.Errorf(rouse.Conflict, opSet, r.Name, "some requests match both %q and %q, and neither is the more special; change one of them", r.Name, other)
	}
	return nil
}

// CheckRoute implements rouse.Routes.
func (t *Table) CheckRoute(_ context.Context, r rouse.Route, soon map[string]*rouse.Route) (rouse.Route, error) {
	p, err := t.check(r)
	if err != nil {
		return r, err
	}
	entries := maps.Clone(t.now.Load().entries)
	for name, other := range soon {
		if name == r.Name {
			continue // what there is now says since when
		}
		delete(entries, name)
		if other == nil {
			continue
		}
		if q, err := parse(name); err == nil {
			entries[name] = &entry{Route: *other, pattern: q}
		}
	}
	err = t.place(&r, p, entries)
	return r, err
}

// owner returns which of the server's own paths a pattern is in; "" is none.
func (t *Table) owner(p pattern) string {
	for _, own := range t.Reserved {
		pieces := strings.Split(strings.Trim(own, "/"), "/")
		if len(p.literal) >= len(pieces) && slices.Equal(p.literal[:len(pieces)], pieces) {
			return own
		}
	}
	return ""
}

// Route implements rouse.Routes.
func (t *Table) Route(_ context.Context, r rouse.Ref) (rouse.Route, error) {
	if e := t.now.Load().entries[r.Name]; e != nil && e.Namespace == r.Namespace {
		return e.Route, nil
	}
	return rouse.Route{}, unknown("find route", r)
}

func unknown(op string, r rouse.Ref) error {
	return rouse.Errorf(rouse.NotFound, op, r.Name, "there is no route of this pattern in the namespace %s", r.Namespace)
}

// Routes implements rouse.Routes.
func (t *Table) Routes(_ context.Context, ns rouse.Namespace, after string, limit int) ([]rouse.Route, error) {
	var all []rouse.Route
	for _, e := range t.now.Load().entries {
		if e.Namespace == ns && e.Name > after {
			all = append(all, e.Route)
		}
	}
	slices.SortFunc(all, func(a, b rouse.Route) int { return strings.Compare(a.Name, b.Name) })
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all, nil
}

// RemoveRoute implements rouse.Routes.
func (t *Table) RemoveRoute(ctx context.Context, r rouse.Ref) error {
	return t.change(ctx, func(entries map[string]*entry) error {
		e := entries[r.Name]
		if e == nil || e.Namespace != r.Namespace {
			return unknown("remove route", r)
		}
		if err := t.Meta.Apply(ctx, []rouse.Change{{Kind: kind, Ref: rouse.Ref{Name: r.Name}, Revision: e.revision}}); err != nil {
			return err
		}
		delete(entries, r.Name)
		return nil
	})
}

// Match implements rouse.Routes.
func (t *Table) Match(method, path string) (rouse.Match, bool) {
	s := t.now.Load()
	if len(s.entries) == 0 || t.reserved(path) {
		return rouse.Match{}, false
	}
	return s.mux.match(method, path)
}

// reserved reports whether an escaped path is the server's own: a route such as
// "/{any}/{thing}" must not answer what is below those.
func (t *Table) reserved(path string) bool {
	for _, own := range t.Reserved {
		if rest, ok := strings.CutPrefix(path, own); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}
