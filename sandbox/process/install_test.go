package process_test

import (
	"maps"
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
			err := drivers[process.Namespaces].Install(t.Context(), process.Installation{Runtime: rt, Code: code(t, c.files), Out: out, Progress: func(s string) { said = append(said, s) }})
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

// Packages may lie in the code, and scripts too.
func TestPackagesOfTheCodeItself(t *testing.T) {
	setup := map[string]string{"lib/setup.py": "from setuptools import setup\nsetup(name='mylib', version='1.0', py_modules=['mylib'])\n",
		"lib/mylib.py": "mine = 'local'\n", "queue.py": "raise Exception('not for pip')\n"}
	for what, c := range map[string]struct {
		runtime    string
		files, use map[string]string
	}{
		"pip":             {"python3", map[string]string{"requirements.txt": "-r more.txt\nsix==1.16.0\n", "more.txt": "./lib\n"}, map[string]string{"main.py": "import mylib, six\ndef main(): return mylib.mine\n"}},
		"npm":             {"nodejs", map[string]string{"package.json": `{"dependencies":{"mylib":"file:./lib"}}`, "lib/package.json": `{"name":"mylib","version":"1.0.0"}`, "lib/index.js": "exports.mine = 'local'"}, map[string]string{"main.js": "exports.main = () => require('mylib').mine"}},
		"npm, workspaces": {"nodejs", map[string]string{"package.json": `{"name":"all","workspaces":["lib"]}`, "lib/package.json": `{"name":"mylib","version":"1.0.0"}`, "lib/index.js": "exports.mine = 'local'"}, map[string]string{"main.js": "exports.main = () => require('mylib').mine"}},
		"npm, a script":   {"nodejs", map[string]string{"package.json": `{"dependencies":{"is-number":"7.0.0"},"scripts":{"postinstall":"sh ./p.sh"}}`, "p.sh": "echo \"module.exports = 'local'\" > node_modules/is-number/made.js"}, map[string]string{"main.js": "exports.main = () => require('is-number/made')"}},
	} {
		t.Run(what, func(t *testing.T) {
			if c.runtime == "python3" {
				maps.Copy(c.files, setup)
			}
			out := t.TempDir()
			d := drivers[process.Namespaces]
			if err := d.Install(t.Context(), process.Installation{Runtime: c.runtime, Code: code(t, c.files), Own: true, Out: out}); err != nil {
				t.Fatal(err)
			}
			f := function(rouse.Function{Runtime: c.runtime, Handler: "main.main", Deps: rouse.DigestOf([]byte(out))})
			h := &house{}
			var k native.Contract
			var err error
			if h.sandbox, err = d.Open(t.Context(), rouse.Spec{Function: f, Code: code(t, c.use), Deps: out, Program: k.Program(f), Log: h.log}); err != nil {
				t.Fatal(err)
			}
			defer h.sandbox.Close()
			if h.Instance, err = k.Boot(t.Context(), f, h.sandbox, h.log); err != nil {
				t.Fatal(err)
			}
			h.expect(t, nil, `"local"`)
		})
	}
}

// Code that an installation runs does not fill the host's disk.
func TestAnInstallationHasABound(t *testing.T) {
	d := drivers[process.Namespaces]
	d.MaxDeps = 64 << 20
	defer func() { d.MaxDeps = 0 }()
	for what, script := range map[string]string{
		"writes":     "head -c 500000000 /dev/zero > /out/x",
		"ends soon":  "head -c 100000000 /dev/zero > /out/x; sync",
		"many":       "for i in 1 2 3 4 5 6 7 8 9; do head -c 10000000 /dev/zero > /out/$i; done; sleep 60",
		"many names": "mkdir /out/e; cd /out/e; seq 30000 | xargs touch",
		"allocates":  "fallocate -l 500M /out/x && exit 0; head -c 100000000 /dev/zero > /out/x; sleep 60",
	} {
		files := map[string]string{"package.json": `{"dependencies":{"is-number":"7.0.0"},"scripts":{"postinstall":"` + script + `"}}`}
		err := d.Install(t.Context(), process.Installation{Runtime: "nodejs", Code: code(t, files), Out: t.TempDir()})
		if rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), "more than 64 MB of disk") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAPackageThatIsNotThereSaysSo(t *testing.T) {
	files := map[string]string{"requirements.txt": "no-such-package-of-rouse==1\n"}
	err := drivers[process.Namespaces].Install(t.Context(), process.Installation{Runtime: "python3", Code: code(t, files), Out: t.TempDir()})
	if rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), "no-such-package-of-rouse") || !strings.Contains(err.Error(), "pip can't install what requirements.txt asks for") {
		t.Errorf("%v", err)
	}
}

func TestInstalledFilesAreReadableAndOurs(t *testing.T) {
	out := t.TempDir()
	if err := drivers[process.Namespaces].Install(t.Context(), process.Installation{Runtime: "python3", Code: code(t, map[string]string{"requirements.txt": "six==1.16.0\n"}), Out: out}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(out, "six.py"))
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v %v", info, err)
	}
}
