package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// Every Python that pyenv or the host has runs all kinds of code.
func TestEveryPython(t *testing.T) {
	s := start(t, "")
	node, err := s.Node(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, rt := range node.Runtimes {
		if rt.Family != "python" || rt.Name == "python2.7" { // which is tested by itself, where there is one
			continue
		}
		n++
		t.Run(rt.Name, func(t *testing.T) {
			t.Parallel()
			on := *s
			on.t = t
			pythonRuns(t, &on, rt)
		})
	}
	if n == 0 {
		t.Error("there is no Python")
	}
}

// pythonRuns deploys and calls functions on one version of Python; each answers
// with the version.
func pythonRuns(t *testing.T, s *server, rt rouse.Runtime) {
	const version = "import platform\n"
	for kind, files := range map[string]map[string]string{
		"plain":   {"main.py": version + "def main(event, context): return [platform.python_version(), event]\n"},
		"async":   {"main.py": version + "import asyncio\nasync def main(event):\n    await asyncio.sleep(0.001)\n    return [platform.python_version(), event]\n"},
		"package": {"main.py": version + "from six import text_type\ndef main(event): return [platform.python_version(), text_type(event)]\n", "requirements.txt": "six==1.16.0\n"},
	} {
		name := rt.Name + "-" + kind
		s.deploy(name, wire.Options{Runtime: rt.Name}, files)
		for i := range 2 {
			a := s.call(name, "ü")
			if string(a.Result) != fmt.Sprintf(`["%s","ü"]`, rt.Version) || a.Cold != (i == 0) {
				t.Errorf("%s: %v %s cold %v, %+v", kind, a.Status, a.Result, a.Cold, a.Failure)
			}
		}
	}
	name := rt.Name + "-serves"
	s.deploy(name, wire.Options{Runtime: rt.Name, Contract: "http", Handler: "serve.py", Public: true}, map[string]string{"serve.py": `
import http.server, os, platform
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(platform.python_version().encode())
    def log_message(self, *a): pass
http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()
`})
	if r, body := s.get("/fn/" + name + "/"); r.StatusCode != 200 || body != rt.Version {
		t.Errorf("http: %d %q", r.StatusCode, body)
	}
	w := s.whisk("default")
	name = rt.Name + "-acts"
	code := version + "def main(args): return {'python': platform.python_version()}\n"
	w.ask("PUT", "_/actions/"+name, map[string]any{"exec": map[string]any{"kind": "python:" + strings.TrimPrefix(rt.Name, "python"), "code": code}})
	var got struct{ Python string }
	if r := w.ask("POST", "_/actions/"+name+"?blocking=true&result=true", "{}"); json.Unmarshal(r.body, &got) != nil || got.Python != rt.Version {
		t.Errorf("openwhisk: %d %s", r.status, r.body)
	}
	name = rt.Name + "-ends"
	s.deploy(name, wire.Options{Runtime: rt.Name, Limits: rouse.Limits{Memory: 64 << 20, Timeout: rouse.Duration(5 * time.Second)}}, map[string]string{"main.py": `
import os
def main(how):
    if how == 'throw': raise KeyError('k')
    if how == 'exit': os._exit(7)
    if how == 'memory':
        kept = []
        while True: kept.append(bytearray(1 << 20))
    if how == 'spin':
        while True: pass
    return 'well'
`})
	for how, status := range map[string]rouse.Status{"throw": rouse.StatusFailed, "exit": rouse.StatusCrashed, "memory": rouse.StatusOutOfMemory, "spin": rouse.StatusTimedOut} {
		if a := s.call(name, how); a.Status != status {
			t.Errorf("%s: %v %+v", how, a.Status, a.Failure)
		}
		if a := s.call(name, nil); string(a.Result) != `"well"` {
			t.Errorf("after %s: %v %+v", how, a.Status, a.Failure)
		}
	}
}
