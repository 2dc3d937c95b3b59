package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/rouse-run/rouse"
)

// latest names the newest version, as "" does.
const latest = "latest"

// Function implements rouse.Registry. The maps in the result must not be
// changed. What was asked for before costs no reading.
func (g *Registry) Function(ctx context.Context, r rouse.Ref, qualifier string) (rouse.Function, error) {
	if qualifier == latest {
		qualifier = ""
	}
	f, ok, mark := g.known.version(r, qualifier)
	if ok {
		return f, nil
	}
	if qualifier == "" {
		return g.load(ctx, kindHead, r, r, "", mark)
	}
	if c := qualifier[0]; c >= '0' && c <= '9' { // only then: an error of Atoi costs memory
		if n, err := strconv.Atoi(qualifier); err == nil {
			return g.version(ctx, r, n)
		}
	}
	a, err := g.alias(ctx, r, qualifier)
	if err != nil {
		return rouse.Function{}, err
	}
	version := a.Version
	if a.Other != 0 && rand.Float64() < a.Weight {
		version = a.Other
	}
	return g.version(ctx, r, version)
}

func (g *Registry) version(ctx context.Context, r rouse.Ref, version int) (rouse.Function, error) {
	qualifier := strconv.Itoa(version) // "007" is 7
	f, ok, mark := g.known.version(r, qualifier)
	if ok {
		return f, nil
	}
	return g.load(ctx, kindVersion, versionRef(r, version), r, qualifier, mark)
}

func (g *Registry) load(ctx context.Context, kind string, doc, r rouse.Ref, qualifier string, mark uint64) (rouse.Function, error) {
	var f rouse.Function
	revision, err := g.get(ctx, kind, doc, &f)
	switch {
	case err != nil:
		return f, err
	case revision == 0 && qualifier == "":
		return f, notFound("find function", r)
	case revision == 0:
		return f, g.missing(ctx, r, "version "+qualifier)
	}
	g.known.learn(r, mark, func(e *entry) {
		if qualifier == "" {
			e.newest(f)
			return
		}
		e.set(qualifier, &f)
	})
	return f, nil
}

// missing says whether a function has not what was asked for, or is not there.
func (g *Registry) missing(ctx context.Context, r rouse.Ref, what string) error {
	newest, err := g.Function(ctx, r, "")
	if err != nil {
		return err
	}
	return rouse.Errorf(rouse.NotFound, "find function", r.String(), "it has no %s; its newest version is %d", what, newest.Version)
}

// Functions implements rouse.Registry.
func (g *Registry) Functions(ctx context.Context, ns rouse.Namespace, after string, limit int) ([]rouse.Function, error) {
	docs, err := g.cfg.Meta.List(ctx, rouse.DocQuery{Kind: kindHead, Namespace: ns, After: after, Limit: limit})
	if err != nil {
		return nil, err
	}
	return decode[rouse.Function](docs)
}

// Warm returns the functions of all namespaces of which instances are to be kept:
// their newest versions.
func (g *Registry) Warm(ctx context.Context) ([]rouse.Function, error) {
	docs, err := g.cfg.Meta.List(ctx, rouse.DocQuery{Kind: kindHead, All: true})
	if err != nil {
		return nil, err
	}
	all, err := decode[rouse.Function](docs)
	return slices.DeleteFunc(all, func(f rouse.Function) bool { return f.Limits.Min <= 0 }), err
}

// Versions implements rouse.Registry.
func (g *Registry) Versions(ctx context.Context, r rouse.Ref) ([]rouse.Function, error) {
	docs, err := g.list(ctx, kindVersion, r)
	if err != nil {
		return nil, err
	}
	if len(docs) == 0 {
		return nil, notFound("list versions", r)
	}
	return decode[rouse.Function](docs)
}

func decode[T any](docs []rouse.Doc) ([]T, error) {
	list := make([]T, len(docs))
	for i, d := range docs {
		if err := json.Unmarshal(d.Data, &list[i]); err != nil {
			return nil, fmt.Errorf("read %s %s: %w", d.Kind, d.Ref, err)
		}
	}
	return list, nil
}

// Remove implements rouse.Registry. The code stays until Sweep; a function
// deployed later under the same name begins with version 1 again.
func (g *Registry) Remove(ctx context.Context, r rouse.Ref) error {
	defer g.known.forget(r)
	return retry(ctx, func() error {
		head, err := g.cfg.Meta.Get(ctx, kindHead, r)
		if rouse.KindOf(err) == rouse.NotFound {
			return notFound("remove function", r)
		}
		if err != nil {
			return err
		}
		changes := []rouse.Change{{Kind: kindHead, Ref: r, Revision: head.Revision}}
		codes := map[rouse.Digest]int{}
		for _, kind := range []string{kindVersion, kindAlias} {
			docs, err := g.list(ctx, kind, r)
			if err != nil {
				return err
			}
			for _, d := range docs {
				changes = append(changes, rouse.Change{Kind: kind, Ref: d.Ref, Revision: d.Revision})
			}
			if kind == kindVersion {
				versions, err := decode[rouse.Function](docs)
				if err != nil {
					return err
				}
				for _, v := range versions {
					if v.Code != "" {
						codes[v.Code]++
					}
				}
			}
		}
		for d, n := range codes {
			var c code
			revision, err := g.get(ctx, kindCode, codeRef(d), &c)
			if err != nil {
				return err
			}
			changes = append(changes, change(kindCode, codeRef(d), revision, code{Versions: max(c.Versions-n, 0), Since: g.cfg.Now().UTC()}))
		}
		return g.cfg.Meta.Apply(ctx, changes)
	})
}
