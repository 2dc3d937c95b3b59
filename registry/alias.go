package registry

import (
	"context"
	"regexp"
	"strconv"

	"github.com/rouse-run/rouse"
)

var digits = regexp.MustCompile(`^[0-9]+$`)

// SetAlias implements rouse.Registry. Errors: Invalid, NotFound.
func (g *Registry) SetAlias(ctx context.Context, a rouse.Alias) error {
	refuse := func(format string, args ...any) error {
		return rouse.Errorf(rouse.Invalid, "set alias", a.Function.String(), format, args...)
	}
	if err := rouse.CheckName(a.Name); err != nil {
		return err
	}
	switch {
	case a.Name == latest, digits.MatchString(a.Name):
		return refuse("an alias can't be called %s: that names a version", a.Name)
	case !(a.Weight >= 0 && a.Weight <= 1): // not a number, too
		return refuse("weight is %v: it must be from 0 to 1", a.Weight)
	case a.Other == 0 && a.Weight != 0:
		return refuse("weight is %v, but there is no other version to give it to", a.Weight)
	case a.Other == a.Version:
		return refuse("both versions are %d", a.Version)
	}
	defer g.known.forget(a.Function)
	return retry(ctx, func() error {
		// Storing the head as it is makes this fail where the function is
		// removed at the same time.
		var head rouse.Function
		revision, err := g.get(ctx, kindHead, a.Function, &head)
		if err != nil {
			return err
		}
		if revision == 0 {
			return notFound("set alias", a.Function)
		}
		for _, v := range []int{a.Version, a.Other} {
			if v == 0 && v == a.Other {
				continue
			}
			if _, err := g.version(ctx, a.Function, v); err != nil {
				return err
			}
		}
		old, err := g.get(ctx, kindAlias, aliasRef(a.Function, a.Name), &rouse.Alias{})
		if err != nil {
			return err
		}
		return g.cfg.Meta.Apply(ctx, []rouse.Change{
			change(kindHead, a.Function, revision, head),
			change(kindAlias, aliasRef(a.Function, a.Name), old, a),
		})
	})
}

// RemoveAlias implements rouse.Registry. Errors: NotFound.
func (g *Registry) RemoveAlias(ctx context.Context, r rouse.Ref, name string) error {
	defer g.known.forget(r)
	return retry(ctx, func() error {
		revision, err := g.get(ctx, kindAlias, aliasRef(r, name), &rouse.Alias{})
		if err != nil {
			return err
		}
		if revision == 0 {
			return g.missing(ctx, r, "alias "+strconv.Quote(name))
		}
		return g.cfg.Meta.Apply(ctx, []rouse.Change{{Kind: kindAlias, Ref: aliasRef(r, name), Revision: revision}})
	})
}

// Aliases implements rouse.Registry. Errors: NotFound.
func (g *Registry) Aliases(ctx context.Context, r rouse.Ref) ([]rouse.Alias, error) {
	if _, err := g.Function(ctx, r, ""); err != nil {
		return nil, err
	}
	docs, err := g.list(ctx, kindAlias, r)
	if err != nil {
		return nil, err
	}
	return decode[rouse.Alias](docs)
}

func (g *Registry) alias(ctx context.Context, r rouse.Ref, name string) (rouse.Alias, error) {
	a, ok, mark := g.known.alias(r, name)
	if ok {
		return a, nil
	}
	revision, err := g.get(ctx, kindAlias, aliasRef(r, name), &a)
	if err != nil {
		return a, err
	}
	if revision == 0 {
		return a, g.missing(ctx, r, "version or alias "+strconv.Quote(name))
	}
	g.known.learn(r, mark, func(e *entry) { e.setAlias(a) })
	return a, nil
}
