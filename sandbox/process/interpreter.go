package process

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
)

// others are the file names of interpreters that no worker is written for, and
// that code may start by itself.
var others = regexp.MustCompile(`^(php|ruby)(?:\d+(?:\.\d+)?)?$`)

// versionOf has an interpreter print its version.
var versionOf = map[string][]string{
	"php":  {"-n", "-r", "echo PHP_VERSION;"},
	"ruby": {"--disable=gems", "-e", "print RUBY_VERSION"},
}

// An interpreterList is found when somebody first asks for them.
type interpreterList struct {
	once sync.Once
	all  []rouse.Runtime
}

// Interpreters are those of the host that sandboxes have and that code may start
// by itself, the newest first within a Family, such as "php8.2" and "ruby3.1".
// They are no Runtimes: no Sandbox begins with one.
func (d *Driver) Interpreters() []rouse.Runtime {
	d.others.once.Do(func() { d.others.all = findInterpreters(context.Background(), "/usr/bin", "/usr/local/bin") })
	return d.others.all
}

// findInterpreters asks those in folders, which sandboxes show, for their version.
func findInterpreters(ctx context.Context, folders ...string) []rouse.Runtime {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var paths []string
	for _, folder := range folders {
		entries, _ := os.ReadDir(folder) // there need not be one
		for _, e := range entries {
			path, err := filepath.EvalSymlinks(filepath.Join(folder, e.Name()))
			if err == nil && others.MatchString(e.Name()) && others.MatchString(filepath.Base(path)) && !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	var all []rouse.Runtime
	for _, path := range paths {
		family := others.FindStringSubmatch(filepath.Base(path))[1]
		cmd := exec.CommandContext(ctx, path, versionOf[family]...)
		cmd.Env = []string{"PATH=/usr/bin:/bin"}
		out, err := cmd.Output()
		parts := strings.Split(strings.TrimSpace(string(out)), ".")
		if err != nil || len(parts) < 3 {
			continue
		}
		rt := rouse.Runtime{Name: family + parts[0] + "." + parts[1], Version: strings.Join(parts, "."), Path: path, Family: family}
		if !slices.ContainsFunc(all, func(r rouse.Runtime) bool { return r.Name == rt.Name }) {
			all = append(all, rt)
		}
	}
	slices.SortStableFunc(all, func(a, b rouse.Runtime) int {
		if a.Family != b.Family {
			return strings.Compare(a.Family, b.Family)
		}
		return -compareVersions(a.Version, b.Version)
	})
	return all
}
