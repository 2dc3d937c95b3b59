package process

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rouse-run/rouse"
)

// interpreters are the file names of those that we look for.
var interpreters = regexp.MustCompile(`^(?:python(?:2\.7|3\.\d+)|node|nodejs)$`)

// A found is an interpreter that answered, as the cache file keeps it.
type found struct {
	Runtime  rouse.Runtime `json:"runtime"`
	Modified time.Time     `json:"modified"` // of the file
	Size     int64         `json:"size"`
}

// findRuntimes asks every CPython >= 3.8, Python 2.7 and Node >= 18 that the
// host has for its version: in PATH, /usr/bin, /usr/local/bin, and where pyenv
// and nvm keep theirs. Answers are kept in the file cache, for an interpreter
// takes its time; those that are not usable are left out.
func findRuntimes(ctx context.Context, cache string, usable func(path string) bool, log *slog.Logger) []rouse.Runtime {
	known := map[string]found{}
	if b, err := os.ReadFile(cache); err == nil {
		_ = json.Unmarshal(b, &known) // a damaged one is asked again
	}
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		now  = map[string]found{}
		room = make(chan struct{}, 4)
	)
	for _, path := range candidates() {
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
			continue
		}
		if f, ok := known[path]; ok && f.Modified.Equal(info.ModTime()) && f.Size == info.Size() {
			mu.Lock()
			now[path] = f
			mu.Unlock()
			continue
		}
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			rt, ok, err := ask(ctx, path)
			if err != nil {
				log.Warn("leave out a runtime: it does not tell its version", "path", path, "error", err)
			}
			if !ok {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			now[path] = found{rt, info.ModTime(), info.Size()}
		})
	}
	wg.Wait()
	if b, err := json.Marshal(now); err == nil {
		_ = os.WriteFile(cache, b, 0o600) // only saves time
	}
	var all []rouse.Runtime
	for _, path := range candidates() { // in the order of preference
		f, ok := now[path]
		if ok && usable(path) && !slices.ContainsFunc(all, func(r rouse.Runtime) bool { return r.Name == f.Runtime.Name }) {
			all = append(all, f.Runtime)
		}
	}
	return withAliases(all)
}

// candidates are files that may be interpreters, symbolic links resolved, past
// the shims of version managers: those start a shell first.
func candidates() []string {
	dirs := []string{"/usr/bin", "/usr/local/bin"}
	dirs = append(dirs, filepath.SplitList(os.Getenv("PATH"))...)
	home, _ := os.UserHomeDir()
	for _, pattern := range []string{"$PYENV_ROOT/versions/*/bin", home + "/.pyenv/versions/*/bin", "$NVM_DIR/versions/node/*/bin", home + "/.nvm/versions/node/*/bin"} {
		more, _ := filepath.Glob(os.ExpandEnv(pattern))
		dirs = append(dirs, more...)
	}
	var paths []string
	for _, dir := range dirs {
		if dir == "" || !filepath.IsAbs(dir) || filepath.Base(dir) == "shims" {
			continue
		}
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if !interpreters.MatchString(e.Name()) {
				continue
			}
			if path, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name())); err == nil && !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// patience is how long an interpreter may take to tell its version: it is read
// from a slow disk by a machine that has just started.
const patience = time.Minute

// ask starts an interpreter for its version, and says whether it is one that we
// can use.
func ask(ctx context.Context, path string) (rouse.Runtime, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	python := strings.HasPrefix(filepath.Base(path), "python")
	args := []string{"-e", "process.stdout.write(process.versions.node)"}
	if python {
		args = []string{"-S", "-c", "import sys; v = sys.version_info; sys.stdout.write('%d.%d.%d %s' % (v[0], v[1], v[2], getattr(getattr(sys, 'implementation', None), 'name', 'cpython')))"}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	out, err := cmd.Output()
	if err != nil {
		return rouse.Runtime{}, false, err
	}
	version, implementation, _ := strings.Cut(string(out), " ")
	part := strings.Split(version, ".")
	if len(part) != 3 {
		return rouse.Runtime{}, false, fmt.Errorf("it says %.100q", out)
	}
	major, _ := strconv.Atoi(part[0])
	minor, _ := strconv.Atoi(part[1])
	rt := rouse.Runtime{Version: version, Path: path, Family: "node", Name: "nodejs" + part[0]}
	if python {
		rt.Family, rt.Name = "python", fmt.Sprintf("python%d.%d", major, minor)
		return rt, implementation == "cpython" && (major == 3 && minor >= 8 || major == 2 && minor == 7), nil
	}
	return rt, major >= 18, nil
}

// withAliases sorts runtimes, newest first within a family, and gives the
// newest the name without a number.
func withAliases(all []rouse.Runtime) []rouse.Runtime {
	slices.SortStableFunc(all, func(a, b rouse.Runtime) int {
		return cmp.Or(-cmp.Compare(a.Family, b.Family), -compareVersions(a.Version, b.Version))
	})
	named := map[string]bool{}
	for i := range all {
		alias := map[string]string{"python": "python3", "node": "nodejs"}[all[i].Family]
		if all[i].Name == "python2.7" {
			alias = "python2"
		}
		if !named[alias] {
			named[alias] = true
			all[i].Aliases = []string{alias}
		}
	}
	return all
}

func compareVersions(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		m, _ := strconv.Atoi(x[i])
		n, _ := strconv.Atoi(y[i])
		if c := cmp.Compare(m, n); c != 0 {
			return c
		}
	}
	return 0
}
