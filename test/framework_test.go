package test

import (
	"testing"

	"github.com/rouse-run/rouse/dialect/native/wire"
)

// Functions written for Google's functions-framework run as they are.
func TestTheFunctionsFramework(t *testing.T) {
	s := start(t, "")
	env := map[string]string{"FUNCTION_TARGET": "hello"}
	s.deploy("python", wire.Options{Contract: "http", Handler: "functions_framework", Env: env, Public: true}, map[string]string{
		"requirements.txt": "functions-framework==3.8.2\n",
		"main.py":          "import functions_framework\n@functions_framework.http\ndef hello(request): return 'Hello, ' + request.args['name']\n",
	})
	s.deploy("node", wire.Options{Contract: "http", Handler: "node_modules/@google-cloud/functions-framework/build/src/main.js", Env: env, Public: true}, map[string]string{
		"package.json": `{"dependencies":{"@google-cloud/functions-framework":"3.4.5"}}`,
		"index.js":     "require('@google-cloud/functions-framework').http('hello', (q, r) => r.send('Hello, ' + q.query.name))\n",
	})
	for _, name := range []string{"python", "node"} {
		for range 2 {
			if r, body := s.get("/fn/" + name + "?name=ada"); r.StatusCode != 200 || body != "Hello, ada" {
				t.Errorf("%s: %d %q", name, r.StatusCode, body)
			}
		}
	}
}
