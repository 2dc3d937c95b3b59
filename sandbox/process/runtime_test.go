package process

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

// The folders of nvm and pyenv are searched; what is too old, no CPython, or
// broken is left out, the last not without a word.
func TestRuntimesOfVersionManagers(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("NVM_DIR", filepath.Join(home, "else"))
	t.Setenv("PYENV_ROOT", "")
	t.Setenv("PATH", filepath.Join(home, ".pyenv/shims"))
	for path, says := range map[string]string{
		".nvm/versions/node/v16.20.2/bin/node":    "16.20.2",
		".nvm/versions/node/v90.1.0/bin/node":     "90.1.0",
		"else/versions/node/v91.0.3/bin/node":     "91.0.3",
		"else/versions/node/v92.0.0/bin/node":     "", // it fails
		".pyenv/versions/3.7.17/bin/python3.7":    "3.7.17 cpython",
		".pyenv/versions/3.90.0/bin/python3.90":   "3.90.0 cpython",
		".pyenv/versions/pypy/bin/python3.91":     "3.91.0 pypy",
		".pyenv/versions/odd/bin/python3.92":      "nonsense",
		".pyenv/versions/3.90.0/bin/python3.90-x": "3.93.0 cpython",
		".pyenv/shims/python3.94":                 "3.94.0 cpython",
	} {
		path = filepath.Join(home, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		script := fmt.Sprintf("#!/bin/sh\nprintf '%%s' '%s'\n", says)
		if says == "" {
			script = "#!/bin/sh\nexit 3\n"
		}
		if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var said bytes.Buffer
	cache := filepath.Join(home, "cache")
	for range 2 { // asked, and as kept
		all := findRuntimes(t.Context(), cache, func(string) bool { return true }, slog.New(slog.NewTextHandler(&said, nil)))
		var names []string
		for _, rt := range all {
			if strings.HasPrefix(rt.Path, home) {
				names = append(names, rt.Name)
			}
		}
		if want := []string{"python3.90", "nodejs91", "nodejs90"}; !slices.Equal(names, want) {
			t.Errorf("found are %q, want %q", names, want)
		}
		newest := func(alias string) string {
			i := slices.IndexFunc(all, func(rt rouse.Runtime) bool { return slices.Contains(rt.Aliases, alias) })
			return all[i].Name
		}
		if newest("nodejs") != "nodejs91" || newest("python3") != "python3.90" {
			t.Errorf("the newest are %s and %s", newest("nodejs"), newest("python3"))
		}
	}
	for _, path := range []string{"v92.0.0/bin/node", "odd/bin/python3.92"} {
		if !strings.Contains(said.String(), path) {
			t.Errorf("it does not say that %s is left out: %s", path, &said)
		}
	}
}
