package openwhisk_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/contract/openwhisk"
	"github.com/rouse-run/rouse/sandbox/process"
)

// An api is a stand-in for the platform's: it keeps what it was asked, and
// answers with what the test says.
type api struct {
	mu     sync.Mutex
	asked  []string    // guarded by mu
	header http.Header // guarded by mu; of the last request
	answer func(w http.ResponseWriter, r *http.Request)
}

func (a *api) access() *rouse.Access {
	return &rouse.Access{Token: "secret", Serve: func(l net.Listener) { _ = (&http.Server{Handler: a}).Serve(l) }}
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	line := r.Method + " " + r.URL.EscapedPath()
	if q := r.URL.Query(); len(q) > 0 {
		line += "?" + q.Encode() // sorted
	}
	if len(body) > 0 {
		line += " " + string(body)
	}
	a.mu.Lock()
	a.asked, a.header = append(a.asked, line), r.Header
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if a.answer != nil {
		a.answer(w, r)
		return
	}
	fmt.Fprint(w, `{"activationId":"1","response":{"result":{"of":"the action"}}}`)
}

// take returns what was asked since it was last called.
func (a *api) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := a.asked
	a.asked = nil
	return asked
}

// running runs a line of JavaScript that uses the module.
const running = `
const openwhisk = require('openwhisk')
async function main ({ code }) {
  const run = new Function('ow', 'openwhisk', 'return (async () => { ' + code + ' })()')
  try { return { value: await run(openwhisk(), openwhisk) ?? null } } catch (e) { return { name: e.name, message: e.message, statusCode: e.statusCode, body: e.error } }
}`

func (a *api) run(t *testing.T, h *house, code string) (result string) {
	t.Helper()
	arguments, err := json.Marshal(map[string]string{"code": code})
	if err != nil {
		t.Fatal(err)
	}
	answer := h.ask(t, string(arguments))
	if answer.Status != rouse.StatusAnswered {
		t.Fatalf("%s: %+v\n%s", code, answer.Failure, h.printed())
	}
	return string(answer.Result)
}

func (a *api) boot(t *testing.T) *house {
	t.Helper()
	act := node(running)
	act.access, act.note = a.access(), &openwhisk.Note{Path: "guest/hello", ProvideKey: true}
	return act.boot(t)
}

// clientCalls are lines of JavaScript and the request that each makes. The
// package on npm makes the same, but that it sends nothing for no arguments.
var clientCalls = []struct{ code, request string }{
	{`ow.actions.list()`, `GET /api/v1/namespaces/guest/actions`},
	{`ow.actions.list({ limit: 5, skip: 2, namespace: 'other' })`, `GET /api/v1/namespaces/other/actions?limit=5&skip=2`},
	{`ow.actions.get('hello')`, `GET /api/v1/namespaces/guest/actions/hello`},
	{`ow.actions.get({ name: '/other/pkg/hello', code: false })`, `GET /api/v1/namespaces/other/actions/pkg/hello?code=false`},
	{`ow.actions.get('with space')`, `GET /api/v1/namespaces/guest/actions/with%20space`},
	{`ow.actions.invoke('hello')`, `POST /api/v1/namespaces/guest/actions/hello {}`},
	{`ow.actions.invoke({ name: 'pkg/hello', params: { a: 1 }, blocking: true })`, `POST /api/v1/namespaces/guest/actions/pkg/hello?blocking=true {"a":1}`},
	{`ow.actions.invoke({ actionName: 'hello', params: { a: 'ü' }, blocking: true, result: true })`, `POST /api/v1/namespaces/guest/actions/hello?blocking=true {"a":"ü"}`},
	{`ow.actions.create({ name: 'x', action: 'function main () {}' })`, `PUT /api/v1/namespaces/guest/actions/x {"exec":{"kind":"nodejs:default","code":"function main () {}"}}`},
	{`ow.actions.create({ name: 'x', action: Buffer.from('PK'), kind: 'python:3', params: { a: 1 }, annotations: { web: true }, limits: { timeout: 5 }, version: '1.0.0' })`,
		`PUT /api/v1/namespaces/guest/actions/x {"annotations":[{"key":"web","value":true}],"exec":{"kind":"python:3","code":"UEs="},"parameters":[{"key":"a","value":1}],"version":"1.0.0","limits":{"timeout":5}}`},
	{`ow.actions.update({ name: 'x', sequence: ['/_/a', '/_/b'] })`, `PUT /api/v1/namespaces/guest/actions/x?overwrite=true {"exec":{"kind":"sequence","components":["/_/a","/_/b"]}}`},
	{`ow.actions.delete({ name: 'x' })`, `DELETE /api/v1/namespaces/guest/actions/x`},
	{`ow.triggers.invoke({ name: 't', params: { a: 1 } })`, `POST /api/v1/namespaces/guest/triggers/t {"a":1}`},
	{`ow.triggers.create({ name: 't', trigger: { parameters: [] } })`, `PUT /api/v1/namespaces/guest/triggers/t {"parameters":[]}`},
	{`ow.triggers.update('t')`, `PUT /api/v1/namespaces/guest/triggers/t?overwrite=true {}`},
	{`ow.triggers.get('t')`, `GET /api/v1/namespaces/guest/triggers/t`},
	{`ow.triggers.delete('t')`, `DELETE /api/v1/namespaces/guest/triggers/t`},
	{`ow.rules.create({ name: 'r', action: 'hello', trigger: '/_/t' })`, `PUT /api/v1/namespaces/guest/rules/r {"action":"/guest/hello","trigger":"/_/t"}`},
	{`ow.rules.enable({ name: 'r' })`, `POST /api/v1/namespaces/guest/rules/r {"status":"active"}`},
	{`ow.rules.disable({ ruleName: 'r' })`, `POST /api/v1/namespaces/guest/rules/r {"status":"inactive"}`},
	{`ow.packages.list({ public: true })`, `GET /api/v1/namespaces/guest/packages?public=true`},
	{`ow.packages.update({ name: 'p', package: { publish: true } })`, `PUT /api/v1/namespaces/guest/packages/p?overwrite=true {"publish":true}`},
	{`ow.activations.list({ limit: 1, docs: true, since: 5 })`, `GET /api/v1/namespaces/guest/activations?docs=true&limit=1&since=5`},
	{`ow.activations.get('abc')`, `GET /api/v1/namespaces/guest/activations/abc`},
	{`ow.activations.logs({ activation: 'abc' })`, `GET /api/v1/namespaces/guest/activations/abc/logs`},
	{`ow.activations.result({ name: 'abc' })`, `GET /api/v1/namespaces/guest/activations/abc/result`},
	{`ow.namespaces.list()`, `GET /api/v1/namespaces`},
	{`ow.feeds.create({ name: '/whisk.system/alarms/alarm', trigger: 't', params: { cron: '* * * * *' } })`,
		`POST /api/v1/namespaces/whisk.system/actions/alarms/alarm?blocking=true {"lifecycleEvent":"CREATE","authKey":"instance:secret","triggerName":"/guest/t","cron":"* * * * *"}`},
	{`ow.feeds.delete({ feedName: 'feed', trigger: '/other/t' })`, `POST /api/v1/namespaces/guest/actions/feed?blocking=true {"lifecycleEvent":"DELETE","authKey":"instance:secret","triggerName":"/other/t"}`},
	{`ow.routes.list({ basepath: '/b' })`, `GET /api/v1/web/whisk.system/apimgmt/getApi?basepath=%2Fb`},
	{`ow.routes.delete({ name: 'n' })`, `DELETE /api/v1/web/whisk.system/apimgmt/deleteApi?basepath=n&force=true`},
	{`ow.routes.create({ relpath: '/a/{id}', operation: 'GET', action: 'pkg/hello', basepath: '/b' })`,
		`POST /api/v1/web/whisk.system/apimgmt/createApi {"apidoc":{"namespace":"_","gatewayBasePath":"/b","gatewayPath":"/a/{id}","gatewayMethod":"GET","id":"API:_:/b","action":{"name":"pkg/hello","namespace":"guest","backendMethod":"GET","backendUrl":"http://127.0.0.1:8700/api/v1/web/guest/pkg/hello.http","authkey":"instance:secret"},"pathParameters":[{"name":"id","in":"path","description":"Default description for 'id'","required":true,"type":"string"}]}}`},
	{`openwhisk({ namespace: 'mine', api_key: 'a:b' }).triggers.invoke('t')`, `POST /api/v1/namespaces/mine/triggers/t {}`},
	{`openwhisk({ apihost: process.env.__OW_API_HOST, apiversion: 'v2' }).actions.list()`, `GET /api/v2/namespaces/guest/actions`},
	{`openwhisk({ api: process.env.__OW_API_HOST + '/base/api' }).actions.list()`, `GET /base/api/namespaces/guest/actions`},
}

func TestTheModuleOpenwhisk(t *testing.T) {
	a := &api{}
	h := a.boot(t)
	for _, c := range clientCalls {
		result := a.run(t, h, "return "+c.code)
		if asked := a.take(); len(asked) != 1 || asked[0] != c.request {
			t.Errorf("%s\nasked     %v\ninstead of %s\n%s", c.code, asked, c.request, result)
		}
		want := `{"value":{"activationId":"1","response":{"result":{"of":"the action"}}}}`
		if strings.Contains(c.code, "result: true") {
			want = `{"value":{"of":"the action"}}`
		}
		if result != want {
			t.Errorf("%s: %s", c.code, result)
		}
	}
	a.run(t, h, `return ow.actions.get(['a', 'b'])`)
	asked := a.take()
	slices.Sort(asked)
	if want := []string{"GET /api/v1/namespaces/guest/actions/a", "GET /api/v1/namespaces/guest/actions/b"}; !slices.Equal(asked, want) {
		t.Errorf("asked %v", asked)
	}
	if a.header.Get("Authorization") != "Basic aW5zdGFuY2U6c2VjcmV0" || a.header.Get("User-Agent") != "openwhisk-client-js" || a.header.Get("X-Request-Id") != "id" {
		t.Errorf("headers %v", a.header)
	}
	a.run(t, h, `return openwhisk({ auth_handler: { getAuthHeader: async () => 'Bearer x' }, noUserAgent: true }).actions.list()`)
	if a.header.Get("Authorization") != "Bearer x" || a.header.Get("User-Agent") != "" {
		t.Errorf("headers %v", a.header)
	}
}

func TestErrorsOfTheModuleOpenwhisk(t *testing.T) {
	a := &api{}
	h := a.boot(t)
	for code, want := range map[string]string{
		`return ow.actions.get({})`:                                          `{"name":"Error","message":"Missing resource identifier from parameters, supported parameter names: name, actionName"}`,
		`return ow.actions.get('a/b/c/d')`:                                   `{"name":"Error","message":"Invalid resource identifier from options. Should be \"resource\", \"/namespace/resource\" or \"/namespace/package/resource\"."}`,
		`return ow.actions.create({ name: 'x' })`:                            `{"name":"Error","message":"Missing mandatory action or sequence parameter from options."}`,
		`return ow.actions.create({ name: 'x', sequence: [] })`:              `{"name":"Error","message":"Invalid sequence parameter from options. Array must not be empty."}`,
		`return ow.actions.invoke({ name: 'x', params: 'text' })`:            `{"name":"Error","message":"Invalid payload type, must be an object."}`,
		`return ow.rules.create({ name: 'x' })`:                              `{"name":"Error","message":"Missing mandatory action parameter from options."}`,
		`return ow.rules.invoke({ name: 'x' })`:                              `{"name":"Error","message":"Operation (invoke) not supported for rule resource."}`,
		`return ow.activations.get({})`:                                      `{"name":"Error","message":"Missing mandatory activation parameter from options."}`,
		`return ow.feeds.create({ name: 'x' })`:                              `{"name":"Error","message":"Missing mandatory trigger parameter from options."}`,
		`return ow.routes.create({ relpath: 'x' })`:                          `{"name":"Error","message":"Missing mandatory parameters: operation, action"}`,
		`delete process.env.__OW_API_KEY; openwhisk()`:                       `{"name":"Error","message":"Invalid constructor options. Missing api_key parameter or token plugin."}`,
		`openwhisk({ api_key: 'a:b', retry: 5 })`:                            `{"name":"Error","message":"Invalid constructor options. 'retry' option must be an object, e.g. '{ retries: 2 }'."}`,
		`return openwhisk({ apihost: 'http://127.0.0.1:1' }).actions.list()`: `{"name":"OpenWhiskError","message":"Unknown Error From API: connect ECONNREFUSED 127.0.0.1:1","body":{"error":"connect ECONNREFUSED 127.0.0.1:1"}}`,
	} {
		if strings.HasPrefix(code, "openwhisk") || strings.HasPrefix(code, "delete") {
			code = "const key = process.env.__OW_API_KEY; try { " + code + " } finally { process.env.__OW_API_KEY = key }"
		}
		if got := a.run(t, h, code); got != want {
			t.Errorf("%s: %s", code, got)
		}
	}
	if asked := a.take(); len(asked) != 0 {
		t.Errorf("asked %v", asked)
	}
	for body, want := range map[string]string{
		`{"error":"The requested resource does not exist.","code":"x"}`: `The requested resource does not exist.`,
		`{"response":{"result":{"error":"no luck"}}}`:                   `no luck`,
		`{"response":{"result":{"error":{"error":"deep"}}}}`:            `deep`,
		`{"response":{"result":{"error":{"statusCode":404}}}}`:          `application error, status code: 404`,
		`{}`:      `Response Missing Error Message.`,
		`no JSON`: `Response Missing Error Message.`,
	} {
		a.answer = func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, body)
		}
		var got struct {
			Name, Message string
			StatusCode    int
			Body          any
		}
		if err := json.Unmarshal([]byte(a.run(t, h, `return ow.actions.get('x')`)), &got); err != nil {
			t.Fatal(err)
		}
		message := `GET http://127.0.0.1:8700/api/v1/namespaces/guest/actions/x Returned HTTP 404 (Not Found) --> "` + want + `"`
		var whole any = body
		_ = json.Unmarshal([]byte(body), &whole)
		if got.Name != "OpenWhiskError" || got.StatusCode != 404 || got.Message != message || fmt.Sprint(got.Body) != fmt.Sprint(whole) {
			t.Errorf("%s: %+v", body, got)
		}
	}
	a.take()
	a.answer = func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		n := len(a.asked)
		a.mu.Unlock()
		if n < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, `["third time lucky"]`)
	}
	if got := a.run(t, h, `return openwhisk({ retry: { retries: 2, minTimeout: 1 } }).actions.list()`); got != `{"value":["third time lucky"]}` {
		t.Errorf("%s", got)
	}
}

func TestAnActionsOwnModuleWins(t *testing.T) {
	a := node("exports.main = () => ({ own: require('openwhisk').name })")
	a.files["node_modules/openwhisk/index.js"] = "exports.name = 'mine'"
	a.boot(t).expect(t, `{}`, `{"own":"mine"}`)
	tiers(t, func(t *testing.T, d *process.Driver) {
		within := node("exports.main = () => require('dep')")
		within.driver, within.files["node_modules/dep/index.js"] = d, "exports.same = require('openwhisk') === require('openwhisk'); exports.is = typeof require('openwhisk'); exports.rouse = typeof require('rouse').table"
		within.boot(t).expect(t, `{}`, `{"same":true,"is":"function","rouse":"function"}`)
	})
	missing := node("exports.main = () => { try { require('nowhere') } catch (e) { return { code: e.code } } }")
	missing.boot(t).expect(t, `{}`, `{"code":"MODULE_NOT_FOUND"}`)
}

// import finds what require does, in all its forms, and an own module first.
func TestTheModuleIsImported(t *testing.T) {
	js := func(of files) action {
		a := node("")
		a.files = of
		return a
	}
	const same = "import { createRequire } from 'module'\nconst require = createRequire(import.meta.url)\n"
	tiers(t, func(t *testing.T, d *process.Driver) {
		for name, c := range map[string]struct {
			a    action
			want string
		}{
			"a file":                               {node("import openwhisk from 'openwhisk'\n" + same + "export const main = () => ({ is: typeof openwhisk, same: openwhisk === require('openwhisk') })"), `{"is":"function","same":true}`},
			"a module":                             {js(files{"index.mjs": "import openwhisk from \"openwhisk\"\nexport const main = () => ({ is: typeof openwhisk })"}), `{"is":"function"}`},
			"in a part":                            {js(files{"package.json": `{"type":"module"}`, "index.js": "export { main } from './lib/part.js'", "lib/part.js": "import * as ow from 'openwhisk'\nexport const main = () => ({ is: typeof ow.default })"}), `{"is":"function"}`},
			"later":                                {node("exports.main = async () => ({ is: typeof (await import('openwhisk')).default })"), `{"is":"function"}`},
			"an own one":                           {js(files{"index.mjs": "import openwhisk from 'openwhisk'\nexport const main = () => ({ openwhisk })", "node_modules/openwhisk/index.js": "module.exports = 'mine'"}), `{"openwhisk":"mine"}`},
			"another":                              {node("exports.main = () => import('nowhere').catch(e => ({ code: e.code }))"), `{"code":"ERR_MODULE_NOT_FOUND"}`},
			"one that is not there, where ours is": {node("import openwhisk from 'openwhisk'\nexport const main = () => import('nowhere').catch(e => ({ code: e.code, is: typeof openwhisk }))"), `{"code":"ERR_MODULE_NOT_FOUND","is":"function"}`},
		} {
			t.Run(name, func(t *testing.T) {
				c.a.driver = d
				h := c.a.boot(t)
				h.expect(t, `{}`, c.want)
				if got := h.printed(); got != "" {
					t.Errorf("printed %q", got)
				}
			})
		}
	})
}

func TestTheKeyIsGivenWhereItIsAskedFor(t *testing.T) {
	for language, make := range both() {
		t.Run(language, func(t *testing.T) {
			for _, provide := range []bool{false, true} {
				a := make(map[string]string{"python": pythonEnvironment, "node": nodeEnvironment}[language])
				a.access, a.note = (&api{}).access(), &openwhisk.Note{ProvideKey: provide}
				a.function.Env = map[string]string{"__OW_API_HOST": "of the function"}
				h := a.boot(t)
				key := map[bool]string{false: `null`, true: `"instance:secret"`}[provide]
				h.expect(t, `{"name":"__OW_API_KEY"}`, `{"load":`+key+`,"now":`+key+`}`)
				h.expect(t, `{"name":"__OW_API_HOST"}`, `{"load":"http://127.0.0.1:8700","now":"http://127.0.0.1:8700"}`)
				h.expect(t, `{"name":"ROUSE_TOKEN"}`, `{"load":"secret","now":"secret"}`)
			}
		})
	}
}
