package openwhisk_test

import (
	"strings"
	"testing"

	"github.com/rouse-run/rouse"
)

const nodeResults = `
function main (args) {
  switch (args.do) {
    case 'object': return { a: 1 }
    case 'list': return [1, 2]
    case 'nothing': return
    case 'null': return null
    case 'number': return 5
    case 'text': return 'x'
    case 'date': return new Date(0)
    case 'promise': return new Promise(resolve => setTimeout(() => resolve({ late: true }), 1))
    case 'promised nothing': return Promise.resolve()
    case 'promised number': return Promise.resolve(5)
    case 'error': return { error: 'it went wrong', more: 1 }
    case 'promised error': return Promise.resolve({ error: { statusCode: 404 } })
    case 'throw': throw new TypeError('no luck')
    case 'throw text': throw 'plain' // eslint-disable-line no-throw-literal
    case 'reject': return Promise.reject({ code: 7, nested: { list: [1] } })
    case 'reject text': return Promise.reject('plain')
    case 'reject nothing': return Promise.reject()
    case 'reject error': return Promise.reject(Object.assign(new RangeError('too far'), { code: 'EFAR', by: 3n, f () {} }))
    case 'reject circle': { const a = { b: {} }; a.b.a = a; return Promise.reject(a) }
    case 'circle': { const a = {}; a.a = a; return a }
    case 'exit': process.exit(3)
    case 'stray': return new Promise(() => { Promise.reject(new Error('stray')) })
  }
  return args
}`

func TestNodeResults(t *testing.T) {
	h := node(nodeResults).boot(t)
	h.expect(t, `{"do":"object"}`, `{"a":1}`)
	h.expect(t, `{"do":"list"}`, `[1,2]`)
	h.expect(t, `{"do":"nothing"}`, `{}`)
	h.expect(t, `{"do":"promise"}`, `{"late":true}`)
	h.expect(t, `{"do":"promised nothing"}`, `{}`)
	h.expect(t, "{\"a\": [1,\n2.5, null, \"ü\"]}", `{"a":[1,2.5,null,"ü"]}`)
	h.expect(t, ``, `{}`)
	failed := rouse.StatusFailed
	const invalid = "The action did not produce a valid JSON or JSON Array response: "
	h.fails(t, `{"do":"null"}`, failed, developer, invalid+"null", "")
	h.fails(t, `{"do":"date"}`, failed, developer, invalid+`"1970-01-01T00:00:00.000Z"`, "")
	h.fails(t, `{"do":"error"}`, failed, application, "it went wrong", `{"error":"it went wrong","more":1}`)
	h.fails(t, `{"do":"promised error"}`, failed, application, `{"statusCode":404}`, `{"error":{"statusCode":404}}`)
	h.fails(t, `{"do":"reject"}`, failed, application, `{"code":7,"nested":{"list":[1]}}`, `{"error":{"code":7,"nested":{"list":[1]}}}`)
	h.fails(t, `{"do":"reject text"}`, failed, application, "plain", `{"error":"plain"}`)
	h.fails(t, `{"do":"reject nothing"}`, failed, application, "{}", `{"error":{}}`)
	h.fails(t, `{"do":"reject circle"}`, failed, application, `{"b":{"a":"[Circular]"}}`, `{"error":{"b":{"a":"[Circular]"}}}`)
	h.fails(t, `{"do":"circle"}`, failed, developer, "", "")
	if a := h.ask(t, `{"do":"reject error"}`); a.Status != failed || a.Failure.Type != application ||
		!strings.HasPrefix(string(a.Result), `{"error":{"code":"EFAR","by":"3n","name":"RangeError","message":"too far","stack":"RangeError: too far\n    at main (`) {
		t.Errorf("%v %s %+v", a.Status, a.Result, a.Failure)
	}
	if got := h.printed(); got != "" {
		t.Errorf("printed %q", got)
	}
	h.fails(t, `{"do":"number"}`, failed, developer, "The action did not return a dictionary.", "")
	if got := h.printed(); got != "stderr: Result must be of type object but has type \"number\": 5\n" {
		t.Errorf("printed %q", got)
	}
	h.fails(t, `{"do":"promised number"}`, failed, developer, "The action did not return a dictionary.", "")
	h.fails(t, `{"do":"text"}`, failed, developer, "The action did not return a dictionary.", "")
	h.printed()
	a := h.fails(t, `{"do":"throw"}`, failed, developer, "An error has occurred: TypeError: no luck", "")
	if !strings.Contains(a.Failure.Stack, "at main (") || strings.Contains(a.Failure.Stack, "shim") {
		t.Errorf("stack %q", a.Failure.Stack)
	}
	if got := h.printed(); !strings.HasPrefix(got, "stderr: TypeError: no luck\nstderr:     at main (") || strings.Contains(got, "shim") {
		t.Errorf("printed %q", got)
	}
	h.fails(t, `{"do":"throw text"}`, failed, developer, "An error has occurred: plain", "")
	h.expect(t, `{"do":"object"}`, `{"a":1}`)
	for _, do := range []string{"exit", "stray"} {
		node(nodeResults).boot(t).fails(t, `{"do":"`+do+`"}`, rouse.StatusCrashed, developer, "The action did not produce a valid response and exited unexpectedly.", "")
	}
}

func TestNodeThatDoesNotLoad(t *testing.T) {
	syntax, h := node("function main (args) {\n  return {\n").refused(t, rouse.StatusFailed)
	if !strings.HasPrefix(syntax.Message, "Initialization has failed due to: ") || !strings.Contains(syntax.Message, "SyntaxError: ") || !strings.Contains(syntax.Message, "index.js:") {
		t.Errorf("%+v", syntax)
	}
	if got := h.printed(); !strings.HasPrefix(got, "stderr: Error during initialization: ") {
		t.Errorf("printed %q", got)
	}
	if strings.Contains(syntax.Message+syntax.Stack+h.printed(), "__openwhisk") {
		t.Errorf("it is told a line of ours: %+v\n%s", syntax, h.printed())
	}
	missing, _ := node("require('nowhere')\nfunction main () {}").refused(t, rouse.StatusFailed)
	if !strings.HasPrefix(missing.Message, "Initialization has failed due to: Error: Cannot find module 'nowhere'") {
		t.Errorf("%+v", missing)
	}
	noMain, _ := node("function hello () {}").refused(t, rouse.StatusFailed)
	if noMain.Message != "Initialization has failed due to: Action entrypoint 'main' is not a function." {
		t.Errorf("%+v", noMain)
	}
	noFile, _ := action{function: rouse.Function{Runtime: "nodejs"}, files: files{"main.js": ""}}.refused(t, rouse.StatusFailed)
	if noFile.Message != "Initialization has failed due to: Zipped actions must contain either package.json or index.js at the root." {
		t.Errorf("%+v", noFile)
	}
	exit, _ := node("process.exit(2)").refused(t, rouse.StatusCrashed)
	if exit.Message != "The action did not initialize and exited unexpectedly." || !strings.Contains(exit.Stack, "code 2") {
		t.Errorf("%+v", exit)
	}
}

func TestNodeLayouts(t *testing.T) {
	js := func(main string, f files) action {
		return action{function: rouse.Function{Runtime: "nodejs", Handler: main}, files: f}
	}
	for what, c := range map[string]struct {
		action
		want string
	}{
		"not exported":            {node("function main () { return { by: 'name' } }"), `{"by":"name"}`},
		"a constant":              {node("const main = () => ({ by: 'const' })"), `{"by":"const"}`},
		"a comment at the end":    {node("function main () { return { by: 'name' } } // main"), `{"by":"name"}`},
		"a script's first line":   {node("#!/usr/bin/env node\nfunction main () { return { by: 'name' } }"), `{"by":"name"}`},
		"strict":                  {node("'use strict'\nfunction main () { return { strict: this === undefined } }"), `{"strict":true}`},
		"exports":                 {node("exports.main = () => ({ by: 'exports' })"), `{"by":"exports"}`},
		"module.exports":          {node("module.exports = { main: () => ({ by: 'module.exports' }) }"), `{"by":"module.exports"}`},
		"a function as exports":   {node("module.exports = () => ({ by: 'itself' })"), `{"by":"itself"}`},
		"exported under a name":   {node("function secret () { return { by: 'exports' } }\nexports.main = secret"), `{"by":"exports"}`},
		"another name":            {js("niam", files{"index.js": "function niam () { return { by: 'niam' } }"}), `{"by":"niam"}`},
		"a dotted name":           {js("a.b", files{"index.js": "const a = { b: () => ({ by: 'a.b' }) }"}), `{"by":"a.b"}`},
		"package.json":            {js("main", files{"package.json": `{"main":"lib/start.js"}`, "lib/start.js": "const part = require('./part')\nexports.main = () => part", "lib/part.js": "module.exports = { by: 'package' }"}), `{"by":"package"}`},
		"package without main":    {js("main", files{"package.json": `{"name":"x"}`, "index.js": "exports.main = () => ({ by: 'index' })"}), `{"by":"index"}`},
		"node_modules":            {js("main", files{"index.js": "exports.main = () => require('dep')", "node_modules/dep/index.js": "module.exports = { by: 'dep' }"}), `{"by":"dep"}`},
		"a file named by main":    {js("other.run", files{"index.js": "", "other.js": "exports.run = () => ({ by: 'other' })"}), `{"by":"other"}`},
		"a module":                {js("main", files{"package.json": `{"type":"module"}`, "index.js": "import { by } from './part.js'\nexport function main () { return { by } }", "part.js": "export const by = 'import'"}), `{"by":"import"}`},
		"a module by its name":    {js("main", files{"index.mjs": "export default function () { return { by: 'default' } }"}), `{"by":"default"}`},
		"the folder it begins in": {js("main", files{"index.js": "exports.main = () => ({ by: require('fs').readFileSync('data.txt', 'utf8'), at: __dirname === process.cwd() })", "data.txt": "file"}), `{"by":"file","at":true}`},
	} {
		t.Run(what, func(t *testing.T) { c.boot(t).expect(t, `{}`, c.want) })
	}
	broken, _ := js("main", files{"package.json": `{"main":"nowhere.js"}`}).refused(t, rouse.StatusFailed)
	if !strings.HasPrefix(broken.Message, "Initialization has failed due to: Error: Cannot find module") {
		t.Errorf("%+v", broken)
	}
}
