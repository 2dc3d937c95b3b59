package openwhisk_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/openwhisk"
	"github.com/rouse-run/rouse/sandbox/process"
)

// refused boots an action that can't be, and returns why.
func (a action) refused(t testing.TB, status rouse.Status) (*rouse.BootError, *house) {
	t.Helper()
	h, err := a.try(t)
	boot, ok := errors.AsType[*rouse.BootError](err)
	if !ok {
		t.Fatalf("%v is no fault of the code\n%s", err, h.printed())
	}
	if boot.Status != status || boot.Type != developer {
		t.Errorf("%v %s, not %v", boot.Status, boot.Type, status)
	}
	return boot, h
}

const pythonResults = `
import ctypes, datetime, sys
def main(args):
    do = args.get('do')
    if do == 'dict': return {'a': 1}
    if do == 'list': return [1, 2]
    if do == 'tuple': return (1, 2)
    if do == 'none': return None
    if do == 'number': return 5
    if do == 'text': return 'x'
    if do == 'error': return {'error': 'it went wrong', 'more': 1}
    if do == 'error object': return {'error': {'statusCode': 404}}
    if do == 'null error': return {'error': None}
    if do == 'deep error': return {'a': {'error': 1}}
    if do == 'word error': return {'a': 'error', 'b': '"error"'}
    if do == 'raise': raise ValueError('no luck')
    if do == 'date': return {'when': datetime.datetime(2020, 1, 1)}
    if do == 'nan': return {'a': float('nan')}
    if do == 'exit': sys.exit(3)
    if do == 'segfault': ctypes.string_at(0)
    return args
`

func TestPythonResults(t *testing.T) {
	h := python(pythonResults).boot(t)
	h.expect(t, `{"do":"dict"}`, `{"a":1}`)
	h.expect(t, `{"do":"list"}`, `[1,2]`)
	h.expect(t, `{"do":"tuple"}`, `[1,2]`)
	h.expect(t, `{"do":"deep error"}`, `{"a":{"error":1}}`)
	h.expect(t, `{"do":"word error"}`, `{"a":"error","b":"\"error\""}`)
	h.expect(t, " \n{\"a\": [1,\n2.5, null, \"ü\"]}\n", `{"a":[1,2.5,null,"ü"]}`)
	h.expect(t, ``, `{}`)
	failed := rouse.StatusFailed
	const noObject = "The action did not return a dictionary or array."
	h.fails(t, `{"do":"none"}`, failed, developer, "The action did not produce a valid JSON or JSON Array response: null", "")
	h.fails(t, `{"do":"number"}`, failed, developer, noObject, "")
	h.fails(t, `{"do":"text"}`, failed, developer, noObject, "")
	h.fails(t, `{"do":"error"}`, failed, application, "it went wrong", `{"error":"it went wrong","more":1}`)
	h.fails(t, `{"do":"error object"}`, failed, application, `{"statusCode":404}`, `{"error":{"statusCode":404}}`)
	h.fails(t, `{"do":"null error"}`, failed, application, "null", `{"error":null}`)
	h.fails(t, `{"do":"date"}`, failed, developer,
		"The action did not produce a valid JSON or JSON Array response: the result is not JSON: Object of type datetime is not JSON serializable", "")
	h.fails(t, `{"do":"nan"}`, failed, developer, "", "")
	if got := h.printed(); got != "" {
		t.Errorf("printed %q", got)
	}
	h.fails(t, `{"do":"raise"}`, failed, application, "no luck", `{"error":"no luck"}`)
	if got := h.printed(); !strings.HasPrefix(got, "stderr: Traceback") || !strings.Contains(got, `__main__.py", line 16, in main`) ||
		!strings.Contains(got, "ValueError: no luck") || strings.Contains(got, "shim") {
		t.Errorf("printed %q", got)
	}
	for do, how := range map[string]string{"exit": "exited with code 3", "segfault": "SIGSEGV"} {
		h := python(pythonResults).boot(t)
		a := h.fails(t, `{"do":"`+do+`"}`, rouse.StatusCrashed, developer, "The action did not produce a valid response and exited unexpectedly.", "")
		if !strings.Contains(a.Failure.Stack, how) {
			t.Errorf("%s: %q", do, a.Failure.Stack)
		}
	}
}

func TestPythonThatDoesNotLoad(t *testing.T) {
	syntax, h := python("def main(args):\n  return {\n").refused(t, rouse.StatusFailed)
	if !strings.HasPrefix(syntax.Message, "The action failed during initialization: SyntaxError: ") || !strings.Contains(syntax.Message, "__main__.py, line 2") ||
		!strings.Contains(syntax.Stack, "return {") {
		t.Errorf("%+v", syntax)
	}
	if got := h.printed(); !strings.Contains(got, "stderr: SyntaxError") {
		t.Errorf("printed %q", got)
	}
	missing, _ := python("import nowhere\ndef main(args): pass\n").refused(t, rouse.StatusFailed)
	if missing.Message != "The action failed during initialization: ModuleNotFoundError: No module named 'nowhere'" || strings.Contains(missing.Stack, "shim") {
		t.Errorf("%+v", missing)
	}
	noMain, _ := python("def hello(args): pass\ndef _hidden(args): pass\n").refused(t, rouse.StatusFailed)
	if noMain.Message != "The action failed during initialization: __main__.py has no function main; it has: hello" {
		t.Errorf("%+v", noMain)
	}
	noFile, _ := action{function: rouse.Function{Runtime: "python3"}, files: files{"main.py": "", "data.txt": ""}}.refused(t, rouse.StatusFailed)
	if noFile.Message != "The action failed during initialization: there is no __main__.py at the top of the code, which has: data.txt, main.py" {
		t.Errorf("%+v", noFile)
	}
	exit, _ := python("import sys\nsys.exit(2)\n").refused(t, rouse.StatusCrashed)
	if exit.Message != "The action did not initialize and exited unexpectedly." || !strings.Contains(exit.Stack, "code 2") {
		t.Errorf("%+v", exit)
	}
}

func TestPythonLayouts(t *testing.T) {
	py := rouse.Function{Runtime: "python3"}
	named := py
	named.Handler = "niam"
	use := "import helper\nimport pkg.part\nif __name__ == '__main__': raise Exception('taken for a program')\ndef main(args):\n    return {'helper': helper.name, 'part': pkg.part.name}\n"
	for what, c := range map[string]struct {
		action
		want string
	}{
		"packages":   {action{function: py, files: files{"__main__.py": use, "helper.py": "name = 'h'", "pkg/__init__.py": "", "pkg/part.py": "name = 'p'"}}, `{"helper":"h","part":"p"}`},
		"main":       {action{function: named, files: files{"__main__.py": "def niam(args): return {'main': 'niam'}\n"}}, `{"main":"niam"}`},
		"exec":       {action{function: py, files: files{"exec": "def main(args): return {'from': 'exec'}\n"}}, `{"from":"exec"}`},
		"an object":  {action{function: py, files: files{"__main__.py": "class Main:\n    def __call__(self, args): return {'is': 'callable'}\nmain = Main()\n"}}, `{"is":"callable"}`},
		"virtualenv": {action{function: py, files: files{"__main__.py": "import dep\ndef main(args): return {'dep': dep.name}\n", "virtualenv/lib/python3.99/site-packages/dep.py": "name = 'v'"}}, `{"dep":"v"}`},
		"its own comes first": {action{function: py, files: files{"__main__.py": "import wave\ndef main(args): return {'wave': wave.name}\n",
			"virtualenv/lib/python3.99/site-packages/wave.py": "name = 'mine'"}}, `{"wave":"mine"}`},
		"activate_this": {action{function: py, files: files{"__main__.py": "import dep\ndef main(args): return {'dep': dep.name}\n", "virtualenv/packages/dep.py": "name = 'a'",
			"virtualenv/bin/activate_this.py": "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'packages'))\n"}}, `{"dep":"a"}`},
		"a coroutine": {python("import asyncio\nasync def main(args):\n    await asyncio.sleep(0)\n    return {'it': 'waits'}\n"), `{"it":"waits"}`},
	} {
		t.Run(what, func(t *testing.T) { c.boot(t).expect(t, `{}`, c.want) })
	}
	bad, _ := action{function: py, files: files{"__main__.py": "def main(args): pass", "virtualenv/x": ""}}.refused(t, rouse.StatusFailed)
	if bad.Message != "The action failed during initialization: Invalid virtualenv. Zip file does not include 'activate_this.py'." {
		t.Errorf("%+v", bad)
	}
	h := python("async def main(args):\n    raise KeyError('late')\n").boot(t)
	h.fails(t, `{}`, rouse.StatusFailed, application, "'late'", `{"error":"'late'"}`)
}

func TestPython2(t *testing.T) {
	for _, rt := range drivers[process.Namespaces].Runtimes() {
		if rt.Name == "python2.7" {
			a := python("import helper\ndef main(args):\n    print 'in 2'\n    if 'bad' in args: raise ValueError('bad')\n    return {'hello': args['name'] + helper.end}\n")
			a.function.Runtime = "python2.7"
			a.files["helper.py"] = "end = '!'\n"
			h := a.boot(t)
			h.expect(t, `{"name":"Zoë"}`, `{"hello":"Zoë!"}`)
			h.fails(t, `{"bad":1}`, rouse.StatusFailed, application, "bad", `{"error":"bad"}`)
			return
		}
	}
	t.Skip("this host has no Python 2.7")
}

// environment is what an action sees of its environment.
const pythonEnvironment = "import os\nat_load = dict(os.environ)\ndef main(args):\n    return {'load': at_load.get(args['name']), 'now': os.environ.get(args['name'])}\n"

const nodeEnvironment = "const load = { ...process.env }\nfunction main (args) { return { load: load[args.name] ?? null, now: process.env[args.name] ?? null } }\n"

func both() map[string]func(string) action {
	return map[string]func(string) action{"python": python, "node": node}
}

func TestEnvironment(t *testing.T) {
	for language, make := range both() {
		t.Run(language, func(t *testing.T) {
			a := make(map[string]string{"python": pythonEnvironment, "node": nodeEnvironment}[language])
			a.note = &openwhisk.Note{Kind: map[string]string{"python": "python:3.11", "node": "nodejs:20"}[language], Version: "0.0.7", Path: "guest/pkg/hello", Env: map[string]json.RawMessage{
				"TEXT": []byte(`"as it is"`), "NUMBER": []byte(`5`), "OBJECT": []byte(`{"a":[1]}`), "FROM": []byte(`"note"`)}}
			a.function.Env = map[string]string{"FROM": "function", "OTHER": "function", "__OW_API_HOST": "https://host"}
			h := a.boot(t)
			sees := func(activation, transaction, name, load, now string) {
				t.Helper()
				in := rouse.Invocation{ID: activation, Event: rouse.Event{Data: []byte(`{"name":"` + name + `"}`), Attributes: map[string]string{}}}
				if transaction != "" {
					in.Event.Attributes[openwhisk.Transaction] = transaction
				}
				a := h.send(t, in)
				if want := `{"load":` + load + `,"now":` + now + `}`; string(a.Result) != want {
					t.Errorf("%s is %s %+v, not %s", name, a.Result, a.Failure, want)
				}
			}
			for name, want := range map[string]string{"TEXT": `"as it is"`, "NUMBER": `"5"`, "OBJECT": `"{\"a\":[1]}"`, "FROM": `"note"`, "OTHER": `"function"`,
				"__OW_NAMESPACE": `"guest"`, "__OW_ACTION_NAME": `"/guest/pkg/hello"`, "__OW_ACTION_VERSION": `"0.0.7"`, "__OW_API_HOST": `"https://host"`, "__OW_API_KEY": `null`} {
				sees("a", "", name, want, want)
			}
			sees("first", "", "__OW_ACTIVATION_ID", `null`, `"first"`)
			sees("second", "", "__OW_ACTIVATION_ID", `null`, `"second"`)
			sees("third", "", "__OW_TRANSACTION_ID", `null`, `"third"`)
			sees("fourth", "of many", "__OW_TRANSACTION_ID", `null`, `"of many"`)
			var seen struct{ Now string }
			if err := json.Unmarshal(h.ask(t, `{"name":"__OW_DEADLINE"}`).Result, &seen); err != nil || len(seen.Now) != 13 {
				t.Errorf("the deadline is %q %v", seen.Now, err)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	for language, make := range both() {
		t.Run(language, func(t *testing.T) {
			a := make(map[string]string{"python": "def main(args): return args\n", "node": "function main (args) { return args }"}[language])
			a.boot(t).expect(t, `[1,{"a":2}]`, `[1,{"a":2}]`)
			a.note = &openwhisk.Note{Arguments: map[string]json.RawMessage{"a": []byte(`1`), "b": []byte(`{"deep":true}`)}, Env: map[string]json.RawMessage{"SECRET": []byte(`"s"`)}}
			h := a.boot(t)
			for given, want := range map[string]string{
				``:                       `{"a":1,"b":{"deep":true}}`,
				`{}`:                     `{"a":1,"b":{"deep":true}}`,
				`{"a":"own","c":[]}`:     `{"a":"own","b":{"deep":true},"c":[]}`,
				`{"b":{"other":1}}`:      `{"a":1,"b":{"other":1}}`,
				`{"SECRET":"override"}`:  `{"a":1,"b":{"deep":true}}`,
				`["no","defaults"]`:      `["no","defaults"]`,
				`{"a":null}`:             `{"a":null,"b":{"deep":true}}`,
				"{\"a\":\"\xff\"}":       `{"a":"` + "\uFFFD" + `","b":{"deep":true}}`,
				`{"init":{"kind":"x"}} `: `{"a":1,"b":{"deep":true},"init":{"kind":"x"}}`,
			} {
				h.expect(t, given, want)
			}
			for _, given := range []string{`null`, `5`, `"text"`, `{`, `{"a":1}}`, `{},"activation_id":"forged","x":{}`, `nonsense`, strings.Repeat("[", 20000)} {
				h.fails(t, given, rouse.StatusFailed, developer, "The action did not receive a dictionary or array as an argument.", "")
			}
			h.expect(t, `{"a":0,"b":0}`, `{"a":0,"b":0}`)
		})
	}
}

func TestHugeNumbersAreNoDisaster(t *testing.T) {
	h := python("def main(args): return {'ok': True}\n").boot(t)
	h.fails(t, `{"a":`+strings.Repeat("9", 10000)+`}`, rouse.StatusFailed, developer, "The action did not receive a dictionary or array as an argument.", "")
	h.expect(t, `{}`, `{"ok":true}`)
}
