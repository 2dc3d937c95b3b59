package process_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/stdio"
	"github.com/rouse-run/rouse/sandbox/process"
)

// Files of a function may have any name: also that of a module that the
// interpreter has imported ahead, or of one of the platform's own.
func TestCodeHasTheNamesItLikes(t *testing.T) { each(t, testCodeHasTheNamesItLikes) }

func testCodeHasTheNamesItLikes(t *testing.T, d *process.Driver) {
	// A handler is found by its file, and leaves what others import alone.
	for _, name := range []string{"time", "sys", "site", "os", "abc", "types", "json", "email", "queue", "token", "select", "secrets", "worker", "shim_native", "zygote", "warm"} {
		t.Run("handler "+name, func(t *testing.T) {
			h := boot(t, d, rouse.Function{Runtime: "python3", Handler: name + ".main"}, map[string]string{name + ".py": `
import dataclasses, email.message, json, os, queue, smtplib, time
@dataclasses.dataclass
class Item:
    name: 'str'
def main(event):
    time.time(), queue.Queue(), email.message.Message(), os.getpid()
    return json.loads(json.dumps([Item(event).name, 'mine']))
`})
			h.expect(t, "x", `["x","mine"]`)
		})
	}
	// What the code imports is its own, as where Python is started with it.
	helpers := map[string]string{"main.py": `
import queue, random, secrets, worker, shim_native, warm, concurrent_worker, email, email.deep
def main(event=None):
    return [m.mine for m in (queue, random, secrets, worker, shim_native, warm, concurrent_worker, email, email.deep)]
if __name__ == '__main__':
    print(*main())
`, "email/__init__.py": "mine = 8\n", "email/deep.py": "mine = 9\n", "json/data.json": "{}"}
	for i, name := range []string{"queue", "random", "secrets", "worker", "shim_native", "warm", "concurrent_worker"} {
		helpers[name+".py"] = "mine = " + string(rune('1'+i)) + "\n"
	}
	for _, concurrency := range []int{1, 2} {
		f := rouse.Function{Runtime: "python3", Handler: "main.main", Limits: rouse.Limits{Concurrency: concurrency}}
		boot(t, d, f, helpers).expect(t, nil, "[1,2,3,4,5,6,7,8,9]")
	}
	h := under(t, d, stdio.Contract{}, rouse.Function{Runtime: "python3", Handler: "main.py", Contract: "stdio"}, code(t, helpers))
	a, err := h.Answer(t.Context(), rouse.Invocation{ID: "id"})
	if err != nil || string(a.Result) != "1 2 3 4 5 6 7 8 9\n" {
		t.Errorf("%v %+v %s\n%s", err, a, a.Result, h.printed())
	}
	// And the platform's own modules are nobody's.
	none := boot(t, d, rouse.Function{Runtime: "python3", Handler: "main.main"}, map[string]string{"main.py": `
import importlib
def main(event):
    found = []
    for name in ('worker', 'shim_native', 'concurrent_worker', 'zygote', 'warm'):
        try:
            found.append(importlib.import_module(name).__name__)
        except ImportError:
            pass
    return found
`})
	none.expect(t, nil, "[]")
}

// An event that is not JSON is a string where it is text, and bytes elsewhere.
func TestEventsThatAreNotJSON(t *testing.T) { each(t, testEventsThatAreNotJSON) }

func testEventsThatAreNotJSON(t *testing.T, d *process.Driver) {
	for runtime, files := range map[string]map[string]string{
		"python3": {"main.py": "def main(event, context):\n    return [type(event).__name__, event if isinstance(event, str) else list(event), context.content_type]\n"},
		"nodejs": {"main.js": `exports.main = (event, context) =>
  [typeof event === 'string' ? 'str' : Buffer.isBuffer(event) ? 'bytes' : typeof event, typeof event === 'string' ? event : [...event], context.contentType]`},
	} {
		h := boot(t, d, rouse.Function{Runtime: runtime, Handler: "main.main"}, files)
		for _, c := range []struct{ contentType, data, want string }{
			{"text/plain", "hé 1", `["str","hé 1","text/plain"]`},
			{"text/csv; charset=utf-8", "1,2", `["str","1,2","text/csv; charset=utf-8"]`},
			{"text/plain", "\xff", `["bytes",[255],"text/plain"]`},
			{"image/png", "\x89P", `["bytes",[137,80],"image/png"]`},
			{"image/png", "", `["bytes",[],"image/png"]`},
			{"application/json; charset=utf-8", "[1]", ""},
			{"application/ld+json", "[2]", ""},
			{"", "[3]", ""},
		} {
			want := c.want
			if want == "" {
				kind := map[string]string{"python3": "list", "nodejs": "object"}[runtime]
				want = `["` + kind + `",` + c.data + `,""]`
			}
			a, err := h.Answer(t.Context(), rouse.Invocation{ID: "id", Event: rouse.Event{ContentType: c.contentType, Data: []byte(c.data)}})
			if err != nil || string(a.Result) != want {
				t.Errorf("%s of %s: %v %s %v, not %s", runtime, c.contentType, err, a.Result, a.Failure, want)
			}
		}
	}
}

// Every Python reads and writes JSON as its library does, also the same objects
// again after they could not be written.
func TestJSONOfEveryPython(t *testing.T) {
	each(t, func(t *testing.T, d *process.Driver) {
		for _, rt := range d.Runtimes() {
			if rt.Family == "python" {
				t.Run(rt.Name, func(t *testing.T) { testJSON(t, d, rt.Name) })
			}
		}
	})
}

func testJSON(t *testing.T, d *process.Driver, runtime string) {
	for _, concurrency := range []int{1, 3} {
		if runtime == "python2.7" && concurrency > 1 {
			continue
		}
		h := boot(t, d, rouse.Function{Runtime: runtime, Handler: "main.main", Limits: rouse.Limits{Concurrency: concurrency}}, map[string]string{"main.py": `# coding: utf-8
from __future__ import unicode_literals
import json
inner = {}
kept = {'a': [inner]}
def main(event, context):
    inner['b'] = {
        'object': object(), 'circle': kept, 'nan': float('nan'), 'key': {(1, 2): 3},
        'right': [1.5, -0.0, 1e300, 12345678901234567890123, None, True, 'Zo\xeb "\\\n\x01\u2028', {}, [], (1, 2), {1: 2}, event],
    }[event['b'][0]]
    if event.get('own'):
        return [json.dumps(kept, separators=(',', ':'), ensure_ascii=False)]
    return kept
`})
		for _, b := range []string{"object", "right", "circle", "right", "nan", "right", "key", "right"} {
			event := " \n{\"b\" : [\"" + b + "\"] , \"own\":\t0}\r\n "
			a, err := h.Answer(t.Context(), rouse.Invocation{ID: "id", Event: rouse.Event{Data: []byte(event)}})
			if err != nil {
				t.Fatalf("%v\n%s", err, h.printed())
			}
			if b != "right" {
				if a.Status != rouse.StatusFailed || a.Failure.Type != "NotJSON" {
					t.Errorf("with %s it answered %s %+v", b, a.Result, a.Failure)
				}
				continue
			}
			own := h.ask(t, map[string]any{"b": []string{b}, "own": 1})
			var want []string
			if err := json.Unmarshal(own.Result, &want); err != nil || len(want) != 1 {
				t.Fatalf("%s %+v: %v", own.Result, own.Failure, err)
			}
			if got := string(a.Result); got != strings.Replace(want[0], `"own":1`, `"own":0`, 1) {
				t.Errorf("it wrote %s %+v, not %s", got, a.Failure, want[0])
			}
		}
	}
}

// Modules are looked for where the environment says, before the library's.
func TestTheEnvironmentSaysWhereModulesAre(t *testing.T) {
	each(t, testTheEnvironmentSaysWhereModulesAre)
}

func testTheEnvironmentSaysWhereModulesAre(t *testing.T, d *process.Driver) {
	files := map[string]string{
		"main.py": "import inner, sys\ndef main(event): return [inner.mine, sys.path.count('lib')]\n", "lib/inner.py": "mine = 1\n",
		"main.js": "exports.main = () => [require('inner').mine, 1]", "lib/inner.js": "exports.mine = 1",
	}
	for runtime, name := range map[string]string{"python3": "PYTHONPATH", "nodejs": "NODE_PATH"} {
		boot(t, d, rouse.Function{Runtime: runtime, Handler: "main.main", Env: map[string]string{name: "lib"}}, files).expect(t, nil, "[1,1]")
	}
}

// Bytes go out as they are, as they came in.
func TestResultsThatAreBytes(t *testing.T) { each(t, testResultsThatAreBytes) }

func testResultsThatAreBytes(t *testing.T, d *process.Driver) {
	for runtime, files := range map[string]map[string]string{
		"python3": {"main.py": "def main(event): return event[::-1]\n"},
		"nodejs":  {"main.js": "exports.main = event => event.reverse()"},
	} {
		h := boot(t, d, rouse.Function{Runtime: runtime, Handler: "main.main"}, files)
		a, err := h.Answer(t.Context(), rouse.Invocation{ID: "id", Event: rouse.Event{ContentType: "image/png", Data: []byte("\x89P\xff")}})
		if err != nil || string(a.Result) != "\xffP\x89" || a.ContentType != "application/octet-stream" {
			t.Errorf("%s: %v %q %s %v", runtime, err, a.Result, a.ContentType, a.Failure)
		}
	}
}
