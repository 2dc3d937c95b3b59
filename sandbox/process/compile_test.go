package process_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/sandbox/process"
)

func compile(t *testing.T, files map[string]string) (string, error) {
	t.Helper()
	out := t.TempDir()
	err := drivers[process.Namespaces].Compile(t.Context(), code(t, files), out, nil)
	return filepath.Join(out, "exec"), err
}

func TestGoIsCompiled(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"a file": {"main.go": "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Print(\"hello\") }\n"},
		"a module": {"go.mod": "module m\n\ngo 1.20\n", "main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"m/say\"\n)\n\nfunc main() { fmt.Print(say.Hello) }\n",
			"say/say.go": "package say\n\nconst Hello = \"hello\"\n"},
		"vendored": {"go.mod": "module m\n\ngo 1.20\n\nrequire example.com/x v1.0.0\n", "main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"example.com/x\"\n)\n\nfunc main() { fmt.Print(x.Hello) }\n",
			"vendor/modules.txt": "# example.com/x v1.0.0\n## explicit\nexample.com/x\n", "vendor/example.com/x/x.go": "package x\n\nconst Hello = \"hello\"\n"},
	} {
		t.Run(name, func(t *testing.T) {
			program, err := compile(t, files)
			if err != nil {
				t.Fatal(err)
			}
			if said, err := exec.Command(program).Output(); err != nil || string(said) != "hello" {
				t.Errorf("it says %q %v", said, err)
			}
		})
	}
}

func TestGoThatCantBeCompiled(t *testing.T) {
	for name, c := range map[string]struct{ source, says string }{
		"syntax":     {"package main\n\nfunc main() {\n", "main.go:4:1: syntax error"},
		"dependency": {"package main\n\nimport _ \"example.com/none\"\n\nfunc main() {}\n", "example.com/none"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := compile(t, map[string]string{"main.go": c.source}); rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
	err := drivers[process.Landlock].Compile(t.Context(), code(t, map[string]string{"main.go": "package main\n"}), t.TempDir(), nil)
	if rouse.KindOf(err) != rouse.NotImplemented {
		t.Errorf("behind Landlock: %v", err)
	}
}

// What one compilation leaves, another does not find.
func TestCompilationsShareOnlyTheLibrary(t *testing.T) {
	hostile := map[string]string{"main.go": "package main\n\nimport _ \"net/http/httptest\"\n\nfunc main() {}\n"}
	if _, err := compile(t, hostile); err != nil {
		t.Fatal(err)
	}
	caches, err := filepath.Glob(filepath.Join(drivers[process.Namespaces].Dir, "go-*"))
	if err != nil || len(caches) != 1 {
		t.Fatalf("%v %v", caches, err)
	}
	err = filepath.WalkDir(caches[0], func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode()&0o022 != 0 {
			t.Errorf("%s can be written to: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
