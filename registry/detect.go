package registry

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rouse-run/rouse"
)

// Families of runtimes.
const (
	familyPython     = "python"
	familyNode       = "node"
	familyWasm       = "wasm"
	familyExecutable = "executable"
)

// nodeThreads are how many threads a Node starts with.
const nodeThreads = 8

// usual are the names a runtime is asked for by where nobody says.
var usual = map[string]string{familyPython: "python3", familyNode: "nodejs", familyWasm: "wasm", familyExecutable: "executable"}

// contracts are what code expects where nobody says.
var contracts = map[string]string{familyPython: "native", familyNode: "native", familyWasm: "wasi", familyExecutable: "stdio"}

// A layout is what a bundle holds at its top.
type layout struct {
	dir      string
	files    []string // by name
	programs []string // those of files that can be run
	folders  []string
	module   manifest // of package.json
}

type manifest struct {
	Main                 string            `json:"main"`
	Dependencies         map[string]string `json:"dependencies"`
	OptionalDependencies map[string]string `json:"optionalDependencies"`
}

func look(dir string) (layout, error) {
	b := layout{dir: dir}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return b, err
	}
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case err != nil:
			return b, err
		case e.IsDir():
			b.folders = append(b.folders, e.Name())
		default:
			b.files = append(b.files, e.Name())
			if info.Mode()&0o111 != 0 {
				b.programs = append(b.programs, e.Name())
			}
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "package.json")); err == nil {
		// npm tells of a broken one better than we could.
		_ = json.Unmarshal(bytes.TrimPrefix(text, []byte(byteOrderMark)), &b.module)
	}
	return b, nil
}

// asks says whether package.json asks for dependencies.
func (b layout) asks() bool {
	return len(b.module.Dependencies)+len(b.module.OptionalDependencies) > 0
}

func (b layout) has(file string) bool {
	info, err := os.Stat(filepath.Join(b.dir, filepath.FromSlash(file)))
	return filepath.IsLocal(file) && err == nil && info.Mode().IsRegular()
}

// ending are the files at the top that end in one of exts.
func (b layout) ending(exts ...string) []string {
	var list []string
	for _, f := range b.files {
		if slices.Contains(exts, path.Ext(f)) {
			list = append(list, f)
		}
	}
	return list
}

// String lists what is there, for an error.
func (b layout) String() string {
	const most = 20
	list := slices.Clone(b.files)
	for _, f := range b.folders {
		list = append(list, f+"/")
	}
	if len(list) > most {
		list = append(list[:most], "...")
	}
	return strings.Join(list, ", ")
}

// family guesses from the files, "" where it can't.
func (b layout) family() string {
	switch {
	case b.has("main.py"), b.has("__main__.py"):
		return familyPython
	case b.has("index.js"), b.has("main.js"), b.has("index.mjs"), b.has("package.json"):
		return familyNode
	case len(b.ending(".py")) > 0:
		return familyPython
	case len(b.ending(".js", ".mjs", ".cjs")) > 0:
		return familyNode
	case len(b.ending(".wasm")) > 0:
		return familyWasm
	case len(b.programs) == 1:
		return familyExecutable
	}
	return ""
}

// familyOf guesses from a handler in a folder, "" where it can't.
func (b layout) familyOf(handler string) string {
	for _, family := range []string{familyPython, familyNode} {
		if slices.ContainsFunc(modules(family, handler), b.has) {
			return family
		}
	}
	return ""
}

// hint is what may have been forgotten, where the files show no runtime.
func (b layout) hint() string {
	for _, f := range b.files {
		if start, err := b.begins(f); err == nil && start == "#!" && !slices.Contains(b.programs, f) {
			return "make " + f + " executable (chmod +x), or "
		}
	}
	switch {
	case len(b.ending(".go")) > 0:
		return "build it first (GOOS=wasip1 GOARCH=wasm go build -o main.wasm, or CGO_ENABLED=0 go build -o main) and deploy what comes of it, or "
	case len(b.ending(".rs")) > 0:
		return "build it first (cargo build --release --target wasm32-wasip1) and deploy what comes of it, or "
	case len(b.ending(".ts", ".tsx", ".mts")) > 0:
		return "compile it first (npx tsc) and deploy the JavaScript, or "
	}
	return ""
}

// begins returns the first two bytes of a file.
func (b layout) begins(file string) (string, error) {
	f, err := os.Open(filepath.Join(b.dir, file))
	if err != nil {
		return "", err
	}
	defer f.Close()
	var start [2]byte
	_, err = io.ReadFull(f, start[:])
	return string(start[:]), err
}

func (d *deploy) chooseRuntime(b layout) error {
	if d.f.Runtime == "" {
		family := b.family()
		if family == "" {
			family = b.familyOf(d.f.Handler)
		}
		if family == "" {
			return d.refuse("the code does not show its runtime: %ssay which with --runtime, one of %s; the bundle holds %s", b.hint(), d.runtimes(), b)
		}
		d.f.Runtime = usual[family]
	}
	for _, driver := range d.cfg.Drivers {
		for _, r := range driver.Runtimes() {
			if r.Name == d.f.Runtime || slices.Contains(r.Aliases, d.f.Runtime) {
				d.driver, d.runtime = driver, r
				return nil
			}
		}
	}
	return d.refuse("this host has no runtime %q; it has %s", d.f.Runtime, d.runtimes())
}

func (d *deploy) runtimes() string {
	var list []string
	for _, driver := range d.cfg.Drivers {
		for _, r := range driver.Runtimes() {
			list = append(append(list, r.Name), r.Aliases...)
		}
	}
	if list == nil {
		return "none"
	}
	return strings.Join(list, ", ")
}

func (d *deploy) chooseContract() error {
	if d.f.Contract == "" {
		d.f.Contract = contracts[d.runtime.Family]
	}
	if d.cfg.Contracts[d.f.Contract] == nil {
		return d.refuse("there is no contract %q; there are %s", d.f.Contract, strings.Join(slices.Sorted(maps.Keys(d.cfg.Contracts)), ", "))
	}
	mode := d.cfg.Contracts[d.f.Contract].Program(d.f).Mode
	switch {
	case d.runtime.Family == familyNode && d.f.Limits.Processes < nodeThreads:
		return d.refuse("processes is %d: Node needs at least %d, for its threads count", d.f.Limits.Processes, nodeThreads)
	case mode == rouse.ModeWorker && (d.runtime.Family == familyWasm || d.runtime.Family == familyExecutable):
		return d.refuse("contract %s needs python or node; for runtime %s use %s", d.f.Contract, d.f.Runtime, contracts[d.runtime.Family])
	case mode == rouse.ModeServe && d.runtime.Family == familyWasm:
		return d.refuse("a wasm module can't listen on a port: use contract wasi")
	case d.runtime.Family == familyWasm && len(d.f.Allow) > 0:
		return d.refuse("a wasm module can't use the platform: deploy it without allow")
	}
	return nil
}

// chooseHandler finds the entry point, or checks that the one named is there.
// Where the code is loaded by a worker it is "module.function"; where it is a
// program it is a file; wasm's may be "file:function".
func (d *deploy) chooseHandler(b layout) error {
	program := d.cfg.Contracts[d.f.Contract].Program(d.f).Mode != rouse.ModeWorker
	if d.f.Handler == "" {
		file := b.start(d.runtime.Family, program)
		if file == "" {
			return d.refuse("the code does not show where it begins: say so with --handler, such as %s; the bundle holds %s",
				example(d.runtime.Family, program), b)
		}
		d.f.Handler = file
		if !program {
			d.f.Handler = strings.TrimSuffix(file, path.Ext(file)) + ".main"
		}
	}
	files := []string{d.f.Handler}
	switch {
	case program && d.runtime.Family == familyPython && path.Ext(d.f.Handler) != ".py":
		// As with python -m; the module may be one of the dependencies.
		module := strings.ReplaceAll(d.f.Handler, ".", "/")
		if files = []string{module + ".py", module + "/__main__.py"}; b.has("requirements.txt") {
			return nil
		}
	case program && d.runtime.Family == familyNode && strings.HasPrefix(d.f.Handler, "node_modules/") && b.asks():
		return nil // the program of a dependency, which is still to be installed
	case d.runtime.Family == familyWasm:
		file, _, _ := strings.Cut(d.f.Handler, ":")
		files = []string{file}
	case d.f.Contract != contracts[d.runtime.Family]:
		return nil // what it means, only its contract knows
	case !program:
		if files = modules(d.runtime.Family, d.f.Handler); files == nil {
			return d.refuse("handler %q is not of the form %s", d.f.Handler, example(d.runtime.Family, false))
		}
	}
	i := slices.IndexFunc(files, b.has)
	if i < 0 {
		return d.refuse("handler %q needs the file %s, which is not in the bundle; it holds %s", d.f.Handler, strings.Join(files, " or "), b)
	}
	if d.runtime.Family == familyExecutable {
		info, err := os.Stat(filepath.Join(d.dir, files[i]))
		if err == nil && info.Mode()&0o111 == 0 {
			return d.refuse("%s can't be run: make it executable (chmod +x) and deploy again", files[i])
		}
	}
	return nil
}

func example(family string, program bool) string {
	switch {
	case family == familyWasm:
		return "main.wasm"
	case family == familyExecutable:
		return "main"
	case program && family == familyPython:
		return "main.py"
	case program:
		return "index.js"
	case family == familyPython:
		return "main.main (file main.py, function main)"
	}
	return "index.main (file index.js, function main)"
}

// start is the file where the code begins, "" where several could.
func (b layout) start(family string, program bool) string {
	var first, any []string
	switch family {
	case familyPython:
		first = []string{"main.py", "__main__.py"}
		if program {
			first = append(first, "app.py", "server.py")
		}
		any = b.ending(".py")
	case familyNode:
		if b.module.Main != "" {
			main := path.Clean(b.module.Main)
			first = []string{main, main + ".js", path.Join(main, "index.js")}
		}
		first = append(first, "index.js", "index.mjs", "index.cjs", "main.js", "main.mjs", "main.cjs")
		if program {
			first = append(first, "app.js", "server.js", "server.mjs")
		}
		any = b.ending(".js", ".mjs", ".cjs")
	case familyWasm:
		first, any = []string{"main.wasm"}, b.ending(".wasm")
	default:
		first, any = []string{"main", "bootstrap"}, b.programs
	}
	if i := slices.IndexFunc(first, b.has); i >= 0 {
		return first[i]
	}
	if len(any) == 1 {
		return any[0]
	}
	return ""
}

// modules are the files that "module.function" may mean, nil where it is not of
// that form.
func modules(family, handler string) []string {
	i := strings.LastIndexByte(handler, '.')
	if i <= 0 || i == len(handler)-1 || strings.HasPrefix(handler, "/") || !fs.ValidPath(handler[:i]) {
		return nil
	}
	module := handler[:i]
	if family == familyNode {
		return []string{module + ".js", module + ".mjs", module + ".cjs", module + "/index.js", module + "/index.mjs", module + "/index.cjs"}
	}
	module = strings.ReplaceAll(module, ".", "/")
	return []string{module + ".py", module + "/__init__.py"}
}
