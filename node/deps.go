package node

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/bundle"
	"github.com/rouse-run/rouse/pool"
	"github.com/rouse-run/rouse/registry"
	"github.com/rouse-run/rouse/sandbox/process"
)

// building begins the name of a folder that is not done.
const building = "building-"

// A deps keeps folders of installed packages by what was asked for. It
// implements registry.Builder.
type deps struct {
	dir    string
	driver *process.Driver
}

// openDeps opens the folder and removes what a killed server left half built.
func openDeps(dir string, d *process.Driver) (*deps, error) {
	if err := private(dir); err != nil {
		return nil, err
	}
	left, err := filepath.Glob(filepath.Join(dir, building+"*"))
	if err != nil {
		return nil, err
	}
	for _, l := range left {
		if err := os.RemoveAll(l); err != nil {
			return nil, err
		}
	}
	return &deps{dir, d}, nil
}

// Dir implements registry.Builder.
func (d *deps) Dir(key rouse.Digest) (string, bool) {
	dir := filepath.Join(d.dir, string(key))
	now := time.Now()
	return dir, os.Chtimes(dir, now, now) == nil // which says when it was last wanted
}

// Trim implements registry.Builder.
func (d *deps) Trim(ctx context.Context, needed func(rouse.Digest) bool, age time.Duration) error {
	folders, err := os.ReadDir(d.dir)
	for _, f := range folders {
		info, err := f.Info()
		if err != nil || needed(rouse.Digest(f.Name())) || strings.HasPrefix(f.Name(), building) || time.Since(info.ModTime()) < age {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := os.RemoveAll(filepath.Join(d.dir, f.Name())); err != nil {
			return err
		}
	}
	return err
}

// Build implements registry.Builder.
func (d *deps) Build(ctx context.Context, s registry.BuildSpec, progress func(string)) error {
	tmp, err := os.MkdirTemp(d.dir, building)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := d.driver.Install(ctx, process.Installation{Runtime: s.Runtime.Name, Code: s.Code, Own: s.Own, Out: tmp, Progress: progress}); err != nil {
		return err
	}
	err = os.Rename(tmp, filepath.Join(d.dir, string(s.Key)))
	if _, ok := d.Dir(s.Key); ok {
		return nil // maybe by another who was first
	}
	return err
}

// fetch finds the folders of a function's code and dependencies.
func fetch(code *bundle.Cache, deps *deps) func(context.Context, rouse.Function) (pool.Code, error) {
	return func(ctx context.Context, f rouse.Function) (pool.Code, error) {
		packages := ""
		if f.Deps != "" {
			dir, ok := deps.Dir(f.Deps)
			if !ok {
				return pool.Code{}, rouse.Errorf(rouse.Unavailable, "find dependencies", f.Ref.String(), "they are gone from this node; deploy it again to have them built")
			}
			packages = dir
		}
		dir, release, err := code.Use(ctx, f.Code)
		return pool.Code{Dir: dir, Deps: packages, Release: release}, err
	}
}
