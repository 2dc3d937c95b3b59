package process_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/native"
	"github.com/rouse-run/rouse/sandbox/process"
)

func TestInstalledPackagesAreThere(t *testing.T) {
	for rt, c := range map[string]struct{ files, use map[string]string }{
		"python3": {map[string]string{"requirements.txt": "six==1.16.0\n"},
			map[string]string{"main.py": "import six\ndef main(): return six.__version__\n"}},
		"nodejs": {map[string]string{"package.json": `{"dependencies":{"is-number":"7.0.0"}}`},
			map[string]string{"main.js": "const n = require('is-number'); exports.main = () => String(n(5)).replace('true', '1.16.0')"}},
	} {
		t.Run(rt, func(t *testing.T) {
			out := t.TempDir()
			var said []string
			err := drivers[process.Namespaces].Install(t.Context(), rt, code(t, c.files), out, func(s string) { said = append(said, s) })
			if err != nil {
				t.Fatal(err)
			}
			if len(said) == 0 {
				t.Error("no progress was said")
			}
			h := &house{}
			f := function(rouse.Function{Runtime: rt, Handler: "main.main"})
			f.Deps = rouse.DigestOf([]byte(out))
			var k native.Contract
			h.sandbox, err = drivers[process.Namespaces].Open(t.Context(), rouse.Spec{Function: f, Code: code(t, c.use), Deps: out, Program: k.Program(f), Log: h.log})
			if err != nil {
				t.Fatal(err)
			}
			defer h.sandbox.Close()
			if h.Instance, err = k.Boot(t.Context(), f, h.sandbox, h.log); err != nil {
				t.Fatal(err)
			}
			h.expect(t, nil, `"1.16.0"`)
		})
	}
}

func TestAPackageThatIsNotThereSaysSo(t *testing.T) {
	files := map[string]string{"requirements.txt": "no-such-package-of-rouse==1\n"}
	err := drivers[process.Namespaces].Install(t.Context(), "python3", code(t, files), t.TempDir(), nil)
	if rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), "no-such-package-of-rouse") {
		t.Errorf("%v", err)
	}
}

func TestInstalledFilesAreReadableAndOurs(t *testing.T) {
	out := t.TempDir()
	if err := drivers[process.Namespaces].Install(t.Context(), "python3", code(t, map[string]string{"requirements.txt": "six==1.16.0\n"}), out, nil); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(out, "six.py"))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v %v", info, err)
	}
}
