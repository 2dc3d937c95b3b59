package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rouse-run/rouse"
)

// maxLock bounds the files that say which dependencies are needed.
const maxLock = 16 << 20

// local matches what names files of the bundle itself: their content decides,
// too, what is built.
var local = regexp.MustCompile(`(?m)^\s*(-r|-c|-e|--requirement|--constraint|--editable|\.|/)|file:|link:|workspace:`)

// locks are the files that pin what package.json asks for.
var locks = []string{"package-lock.json", "npm-shrinkwrap.json"}

// dependencies has built what the bundle asks for, once for all that ask for
// the same.
func (d *deploy) dependencies(ctx context.Context) error {
	key, err := d.lock()
	if err != nil || key == "" {
		return err
	}
	if d.cfg.Builder == nil {
		return d.refuse("this server builds no dependencies: put them into the bundle")
	}
	if dir, ok := d.cfg.Builder.Dir(key); ok {
		d.f.Deps, d.deps = key, dir
		return nil
	}
	d.progress("building dependencies")
	// A build goes on where the one who asked for it first leaves: others wait for it.
	_, err, _ = d.builds.Do(string(key), func() (any, error) {
		if _, ok := d.cfg.Builder.Dir(key); ok {
			return nil, nil // built since we looked
		}
		spec := BuildSpec{Runtime: d.runtime, Family: d.runtime.Family, Code: d.dir, Key: key}
		return nil, d.cfg.Builder.Build(context.WithoutCancel(ctx), spec, d.progress)
	})
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, ok := d.cfg.Builder.Dir(key)
	if !ok {
		return errors.New("dependencies were built and are not there")
	}
	d.f.Deps, d.deps = key, dir
	return nil
}

// lock returns the key of what is to be built, "" where nothing is.
func (d *deploy) lock() (rouse.Digest, error) {
	var asked string
	var err error
	switch d.runtime.Family {
	case familyPython:
		asked, err = d.requirements()
	case familyNode:
		asked, err = d.packages()
	}
	if err != nil || asked == "" {
		return "", err
	}
	sum := sha256.New()
	// Lengths keep the parts apart.
	for _, part := range []string{d.runtime.Family, d.runtime.Name, d.runtime.Version, asked} {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	if local.MatchString(asked) {
		fmt.Fprint(sum, d.f.Code)
	}
	return rouse.Digest(hex.EncodeToString(sum.Sum(nil))), nil
}

func (d *deploy) text(name string) (string, error) {
	info, err := os.Stat(filepath.Join(d.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxLock {
		return "", d.refuse("%s must be a file of at most %d MB", name, maxLock>>20)
	}
	b, err := os.ReadFile(filepath.Join(d.dir, name))
	return string(b), err
}

// requirements returns requirements.txt without what says nothing.
func (d *deploy) requirements() (string, error) {
	if _, err := os.Stat(filepath.Join(d.dir, "virtualenv")); err == nil {
		return "", nil // brought along
	}
	text, err := d.text("requirements.txt")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			b.WriteString(line + "\n")
		}
	}
	return b.String(), nil
}

// packages returns what of package.json decides what is built, and its locks.
func (d *deploy) packages() (string, error) {
	text, err := d.text("package.json")
	if err != nil || text == "" {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(d.dir, "node_modules")); err == nil {
		return "", nil // brought along
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return "", d.refuse("package.json is not JSON: %w", err)
	}
	var m manifest
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return "", d.refuse("package.json: %w", err)
	}
	if len(m.Dependencies)+len(m.OptionalDependencies) == 0 {
		return "", nil
	}
	asked := map[string]any{}
	for _, field := range []string{"dependencies", "optionalDependencies", "peerDependencies", "overrides", "scripts", "workspaces"} {
		if raw, ok := all[field]; ok {
			var v any
			if err := json.Unmarshal(raw, &v); err != nil {
				return "", d.refuse("package.json: %s: %w", field, err)
			}
			asked[field] = v // its names are sorted when it is written
		}
	}
	for _, lock := range locks {
		text, err := d.text(lock)
		if err != nil {
			return "", err
		}
		asked[lock] = text
	}
	b, err := json.Marshal(asked)
	return string(b), err
}
