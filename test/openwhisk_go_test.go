package test

import (
	"encoding/base64"
	"os/exec"
	"strings"
	"testing"
)

// Go source becomes a program when it is put, by the compiler of the host.
func TestGoAsAnOpenWhiskAction(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no Go here")
	}
	s := start(t, "")
	w := s.whisk("default")
	put := func(name, code, main string) reply {
		return w.ask("PUT", "_/actions/"+name+"?overwrite=true", map[string]any{"exec": map[string]string{"kind": "go:default", "code": code, "main": main}})
	}
	ask := func(name, args string) reply { return w.ask("POST", "_/actions/"+name+"?blocking=true", args) }
	source := `package main

import (
	"fmt"
	"os"
)

func Main(args map[string]interface{}) map[string]interface{} {
	fmt.Println("asked by", os.Getenv("__OW_ACTION_NAME"))
	switch args["how"] {
	case "panic":
		panic("boom")
	case "error":
		return map[string]interface{}{"error": "no"}
	case "exit":
		os.Exit(3)
	}
	return map[string]interface{}{"hello": args["name"], "id": os.Getenv("__OW_ACTIVATION_ID")}
}

func Other(args map[string]interface{}) (map[string]interface{}, error) { return nil, fmt.Errorf("other: %v", args["name"]) }
`
	if r := put("file", source, ""); r.status != 200 || !strings.HasPrefix(r.text(t, "exec.kind"), "go:1.") {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for range 2 { // cold, and warm
		r := ask("file", `{"name":"ada"}`)
		if r.status != 200 || r.text(t, "response.result.hello") != "ada" || r.text(t, "response.result.id") != r.text(t, "activationId") {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if r := w.ask("GET", "_/actions/file", nil); r.text(t, "exec.code") != source || r.get(t, "exec.binary") != false {
		t.Errorf("%s", r.body)
	}
	logs := w.ask("GET", "_/activations?name=file&limit=1&docs=true", nil)
	if !strings.Contains(string(logs.body), "stdout: asked by /default/file") {
		t.Errorf("%s", logs.body)
	}
	for how, want := range map[string]string{"panic": "boom", "error": "no", "exit": "The action did not produce a valid response and exited unexpectedly."} {
		if r := ask("file", `{"how":"`+how+`"}`); r.status != 502 || r.text(t, "response.result.error") != want {
			t.Errorf("%s: %d %s", how, r.status, r.body)
		}
	}
	if r := put("other", source, "other"); r.status != 200 {
		t.Fatalf("%s", r.body)
	}
	if r := ask("other", `{"name":"x"}`); r.text(t, "response.result.error") != "other: x" {
		t.Errorf("%s", r.body)
	}
	zipped := base64.StdEncoding.EncodeToString(archive(t, map[string]string{
		"go.mod":     "module m\n\ngo 1.20\n\nrequire example.com/x v1.0.0\n",
		"main.go":    "package main\n\nimport (\n\t\"m/say\"\n\n\t\"example.com/x\"\n)\n\nfunc Main(map[string]any) map[string]any { return map[string]any{\"say\": say.Hello + x.Hello} }\n",
		"say/say.go": "package say\n\nconst Hello = \"hello \"\n", "vendor/modules.txt": "# example.com/x v1.0.0\n## explicit\nexample.com/x\n",
		"vendor/example.com/x/x.go": "package x\n\nconst Hello = \"there\"\n",
	}))
	if r := put("zipped", zipped, ""); r.status != 200 || r.get(t, "exec.binary") != true {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := ask("zipped", "{}"); r.text(t, "response.result.say") != "hello there" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.ask("GET", "_/actions/zipped", nil); r.text(t, "exec.code") != zipped {
		t.Error("the archive is another")
	}
	for code, says := range map[string]string{
		"package main\n\nfunc Main(args map[string]any) map[string]any { return 7 }\n":                 "main.go:3",
		"package main\n\nfunc Mine() {}\n":                                                             "undefined: Main",
		"package main\n\nimport _ \"example.com/none\"\n\nfunc Main() map[string]any { return nil }\n": "example.com/none",
	} {
		if r := put("bad", code, ""); r.status != 400 || !strings.Contains(r.text(t, "error"), says) {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if r := put("bad", source, "a b"); r.status != 400 {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := w.ask("GET", "_/actions/bad", nil); r.status != 404 {
		t.Errorf("a refused action is there: %d", r.status)
	}
}
