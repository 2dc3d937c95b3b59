package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// nodes are the versions of Node beside the host's own, as npm's registry has
// them, and the npm that came with each.
var nodes = []struct{ major, version, npm string }{
	{"18", "18.20.8", "10.8.2"},
	{"22", "22.23.3", "10.9.4"},
	{"24", "24.21.0", "11.6.2"},
	{"26", "26.10.0", "11.6.2"},
}

// nvmHome is a home folder that nvm has filled with all of nodes. It is made
// once and kept, where every user can enter.
func nvmHome(t testing.TB) string {
	t.Helper()
	const home = "/var/cache/rouse-test/nvm"
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	for _, n := range nodes {
		dir := filepath.Join(home, ".nvm", "versions", "node", "v"+n.version)
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		from := filepath.Join(npm(t, fmt.Sprintf("node-linux-%s@%s", arch, n.version), "npm@"+n.npm), "node_modules")
		made := filepath.Join(t.TempDir(), "made")
		for _, dir := range []string{"bin", "lib/node_modules"} {
			if err := os.MkdirAll(filepath.Join(made, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		commands := [][]string{
			{"cp", filepath.Join(from, "node-linux-"+arch, "bin", "node"), filepath.Join(made, "bin", "node")},
			{"cp", "-r", filepath.Join(from, "npm"), filepath.Join(made, "lib", "node_modules", "npm")},
			{"ln", "-s", "../lib/node_modules/npm/bin/npm-cli.js", filepath.Join(made, "bin", "npm")},
			{"mv", "-T", made, dir}, // the last, so that what is there is whole
		}
		for _, c := range commands {
			if out, err := exec.CommandContext(t.Context(), c[0], c[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v %s", c, err, out)
			}
		}
	}
	return home
}

// Every Node that nvm keeps is found and runs all kinds of code.
func TestEveryNodeOfNvm(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("what the interpreters are kept in is root's")
	}
	home := nvmHome(t)
	for tier, where := range map[string][2]string{"namespaces": {"HOME", home}, "landlock": {"NVM_DIR", filepath.Join(home, ".nvm")}} {
		t.Run(tier, func(t *testing.T) {
			t.Setenv("NVM_DIR", "")
			t.Setenv(where[0], where[1])
			s := start(t, "", "--isolation", tier)
			s.t = t
			newest := nodes[len(nodes)-1]
			s.deploy("newest", wire.Options{Runtime: "nodejs"}, map[string]string{"index.js": "exports.main = () => process.version\n"})
			if a := s.call("newest", nil); string(a.Result) != `"v`+newest.version+`"` {
				t.Errorf("nodejs is %s %+v", a.Result, a.Failure)
			}
			for _, n := range nodes {
				t.Run(n.major, func(t *testing.T) {
					t.Parallel()
					on := *s
					on.t = t
					nodeRuns(t, &on, "nodejs"+n.major, n.version, tier)
				})
			}
		})
	}
}

// sources are functions of each kind; each answers with the version of Node,
// and so is known to have run on the right one.
var sources = map[string]map[string]string{
	"commonjs": {"index.js": "exports.main = event => [process.versions.node, event]\n"},
	"cjs":      {"index.cjs": "module.exports = { main: event => [process.versions.node, event] }\n"},
	"async": {"index.js": `const { setTimeout } = require('timers/promises')
exports.main = async event => { await setTimeout(1); return [process.versions.node, event] }`},
	"mjs": {"index.mjs": "import { versions } from 'process'\nexport const main = async event => [versions.node, event]\n"},
	"module": {"package.json": `{"type": "module"}`, "other.js": "export const version = process.versions.node\n",
		"index.js": "import { version } from './other.js'\nexport default event => [version, event]\n"},
	"await": {"index.mjs": "const { versions } = await import('process')\nexport function main (event) { return [versions.node, event] }\n"},
	"guessed": { // without a type: which kind it is is seen from what it says
		"index.js": "export const main = event => [process.versions.node, event]\n"},
}

// nodeRuns deploys and calls functions on one version of Node.
func nodeRuns(t *testing.T, s *server, runtime, version, tier string) {
	want := fmt.Sprintf("[%q,{\"a\":\"ü\"}]", version)
	for kind, files := range sources {
		if kind == "guessed" && runtime == "nodejs18" {
			continue // Node 18 takes each index.js for CommonJS
		}
		name := runtime + "-" + kind
		s.deploy(name, wire.Options{Runtime: runtime}, files)
		for i := range 2 {
			a := s.call(name, map[string]string{"a": "ü"})
			if string(a.Result) != want || a.Cold != (i == 0) || i == 0 && a.Init <= 0 {
				t.Errorf("%s: %v %s cold %v after %v, %+v", kind, a.Status, a.Result, a.Cold, a.Init, a.Failure)
			}
		}
	}
	t.Run("dependency", func(t *testing.T) {
		if tier != "namespaces" {
			t.Skip("dependencies are not built there")
		}
		nodeDependency(t, s, runtime, version)
	})
	t.Run("http", func(t *testing.T) { nodeServes(t, s, runtime, version) })
	t.Run("openwhisk", func(t *testing.T) { nodeActs(t, s, runtime, version) })
	t.Run("ends", func(t *testing.T) { nodeEnds(t, s, runtime) })
	t.Run("concurrent", func(t *testing.T) { nodeIsShared(t, s, runtime) })
}

func nodeDependency(t *testing.T, s *server, runtime, version string) {
	s.t = t
	for file, code := range map[string]string{
		"index.js":  "const even = require('is-even')\nexports.main = n => [process.versions.node, even(n)]\n",
		"index.mjs": "import even from 'is-even'\nexport const main = n => [process.versions.node, even(n)]\n",
	} {
		name := runtime + "-needs" + filepath.Ext(file)[1:]
		s.deploy(name, wire.Options{Runtime: runtime}, map[string]string{file: code, "package.json": `{"dependencies": {"is-even": "1.0.0"}}`})
		if a := s.call(name, 4); string(a.Result) != fmt.Sprintf("[%q,true]", version) {
			t.Errorf("%s: %v %s %+v", file, a.Status, a.Result, a.Failure)
		}
	}
}

// nodeServes shows the contract http, of both kinds of modules.
func nodeServes(t *testing.T, s *server, runtime, version string) {
	s.t = t
	const serve = `.createServer((q, r) => { r.setHeader('X-Node', process.versions.node); q.pipe(r) }).listen(process.env.PORT, '127.0.0.1')`
	for file, code := range map[string]string{"server.js": "require('http')" + serve, "server.mjs": "import http from 'node:http'\nhttp" + serve} {
		name := runtime + "-serves" + filepath.Ext(file)[1:]
		s.deploy(name, wire.Options{Runtime: runtime, Contract: "http", Handler: file, Public: true}, map[string]string{file: code})
		for range 2 {
			r, body := s.get("/fn/" + name + "/a")
			if r.StatusCode != 200 || r.Header.Get("X-Node") != version {
				t.Errorf("%s: %d %q by %q", file, r.StatusCode, body, r.Header.Get("X-Node"))
			}
		}
		if a := s.call(name, "body"); string(a.Result) != `"body"` {
			t.Errorf("%s: %s %+v", file, a.Result, a.Failure)
		}
	}
}

// nodeActs shows OpenWhisk's kind of the version.
func nodeActs(t *testing.T, s *server, runtime, version string) {
	s.t = t
	w := s.whisk("default")
	kind := "nodejs:" + strings.TrimPrefix(runtime, "nodejs")
	name := runtime + "-acts"
	code := `function main (args) { return new Promise(resolve => setTimeout(() => resolve({ node: process.versions.node, n: args.n + 1 }), 1)) }`
	if r := w.ask("PUT", "_/actions/"+name, map[string]any{"exec": map[string]any{"kind": kind, "code": code}}); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	r := w.ask("POST", "_/actions/"+name+"?blocking=true&result=true", `{"n": 1}`)
	var got struct {
		Node string
		N    int
	}
	if err := json.Unmarshal(r.body, &got); err != nil || got.Node != version || got.N != 2 {
		t.Errorf("%d %s %v", r.status, r.body, err)
	}
}

// nodeEnds shows that ends are seen as what they are, and leave the function well.
func nodeEnds(t *testing.T, s *server, runtime string) {
	s.t = t
	code := map[string]string{"index.js": `
exports.main = async how => {
  switch (how) {
    case 'throw': throw new RangeError('far')
    case 'exit': return process.exit(7)
    case 'abort': return process.abort()
    case 'spin': for (;;);
    case 'wait': return new Promise(resolve => setTimeout(resolve, 1e6))
    case 'buffers': for (const kept = [];;) kept.push(Buffer.alloc(1 << 20, 1))
    case 'objects': for (const kept = [];;) kept.push({ a: kept.length, b: [kept.length + 0.5] })
  }
  return 'well'
}`}
	long, short := runtime+"-ends", runtime+"-late"
	s.deploy(long, wire.Options{Runtime: runtime, Limits: rouse.Limits{Memory: 128 << 20}}, code)
	s.deploy(short, wire.Options{Runtime: runtime, Limits: rouse.Limits{Timeout: rouse.Duration(time.Second)}}, code)
	for _, c := range []struct {
		how    string
		status rouse.Status
		kind   string
	}{
		{"throw", rouse.StatusFailed, "RangeError"},
		{"exit", rouse.StatusCrashed, "Crashed"},
		{"abort", rouse.StatusCrashed, "Crashed"},
		{"spin", rouse.StatusTimedOut, "Timeout"},
		{"wait", rouse.StatusTimedOut, "Timeout"},
		{"buffers", rouse.StatusOutOfMemory, "OutOfMemory"},
		{"objects", rouse.StatusOutOfMemory, "OutOfMemory"},
	} {
		name := long
		if c.status == rouse.StatusTimedOut {
			name = short
		}
		if a := s.call(name, c.how); a.Status != c.status || a.Failure == nil || a.Failure.Type != c.kind {
			t.Errorf("%s: %v %+v", c.how, a.Status, a.Failure)
		}
		if a := s.call(long, nil); string(a.Result) != `"well"` {
			t.Errorf("after %s: %v %+v", c.how, a.Status, a.Failure)
		}
	}
}

// nodeIsShared shows several events in one instance at once: the first waits for the last.
func nodeIsShared(t *testing.T, s *server, runtime string) {
	s.t = t
	name := runtime + "-shared"
	s.deploy(name, wire.Options{Runtime: runtime, Limits: rouse.Limits{Concurrency: 3, Max: 1}}, map[string]string{"index.js": `
let met
const all = new Promise(resolve => { met = resolve })
let n = 0
exports.main = async event => { console.log('event ' + event); if (++n === 3) met(); await all; return event }`})
	ids := make([]string, 3)
	for i := range ids {
		id, err := s.Accept(t.Context(), client.Call{Function: name, Payload: fmt.Append(nil, i)})
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = id
	}
	for i, id := range ids {
		a, err := s.Activation(t.Context(), id, waiting)
		if err != nil || string(a.Result) != fmt.Sprint(i) {
			t.Errorf("%v %s %+v %v", a.Status, a.Result, a.Failure, err)
		}
		lines, err := s.ActivationLines(t.Context(), id, waiting)
		if err != nil || !slices.ContainsFunc(lines, func(l rouse.Line) bool { return l.Text == fmt.Sprint("event ", i) }) || len(lines) != 1 {
			t.Errorf("event %d said %+v %v", i, lines, err)
		}
	}
}
