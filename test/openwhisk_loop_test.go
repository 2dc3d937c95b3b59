package test

import (
	"encoding/base64"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// Actions in PHP and Ruby, where the host has their interpreters, and nowhere else.
func TestPHPAndRubyAsOpenWhiskActions(t *testing.T) {
	s := start(t, "")
	w := s.whisk("default")
	_, body := s.get("/")
	var info struct {
		Runtimes map[string][]struct {
			Kind       string
			Default    bool
			Deprecated bool
		}
	}
	if err := json.Unmarshal([]byte(body), &info); err != nil {
		t.Fatal(err)
	}
	for family, c := range map[string]struct{ file, text, zipped, part, former string }{
		"php": {"index.php", "<?php\nfunction main(array $args): array { return ['hello' => $args['name'], 'given' => $args['given']]; }\n",
			"<?php\nrequire 'lib/part.php';\nfunction other(array $args): array { return ['part' => PART]; }\n", "<?php\nconst PART = 'php';\n", "php:7.4"},
		"ruby": {"main.rb", "def main(args)\n  { hello: args['name'], given: args['given'] }\nend\n",
			"load File.join(__dir__, 'lib/part.php')\ndef other(args)\n  { part: PART }\nend\n", "PART = 'ruby'\n", "ruby:2.5"},
	} {
		t.Run(family, func(t *testing.T) {
			kinds := info.Runtimes[family]
			put := func(name, kind, code, main string) reply {
				t.Helper()
				return w.ask("PUT", "_/actions/"+name, map[string]any{"exec": map[string]string{"kind": kind, "code": code, "main": main},
					"parameters": []object{{"key": "given", "value": 7}}})
			}
			if _, err := exec.LookPath("/usr/bin/" + family); err != nil {
				if r := put(family, family+":default", c.text, ""); len(kinds) != 0 || r.status != 400 || !strings.Contains(r.text(t, "error"), "is not supported by this platform") {
					t.Errorf("%v %d %s", kinds, r.status, r.body)
				}
				t.Skip("no " + family + " here")
			}
			if len(kinds) < 2 || !kinds[0].Default || kinds[0].Deprecated || !strings.HasPrefix(kinds[0].Kind, family+":") || !kinds[len(kinds)-1].Deprecated {
				t.Fatalf("%+v", kinds)
			}
			if r := put(family, family+":default", c.text, ""); r.status != 200 || r.text(t, "exec.kind") != kinds[0].Kind || r.get(t, "exec.binary") != false {
				t.Fatalf("%d %s", r.status, r.body)
			}
			for range 2 { // cold, and warm
				if r := w.ask("POST", "_/actions/"+family+"?blocking=true", `{"name":"ada"}`); r.status != 200 || r.text(t, "response.result.hello") != "ada" || r.get(t, "response.result.given") != 7.0 {
					t.Errorf("%d %s", r.status, r.body)
				}
			}
			if r := w.ask("GET", "_/actions/"+family, nil); r.text(t, "exec.code") != c.text {
				t.Errorf("%s", r.body)
			}
			zipped := base64.StdEncoding.EncodeToString(archive(t, map[string]string{c.file: c.zipped, "lib/part.php": c.part}))
			if r := put("zipped-"+family, c.former, zipped, "other"); r.status != 200 || r.text(t, "exec.kind") != c.former || r.get(t, "exec.binary") != true {
				t.Fatalf("%d %s", r.status, r.body)
			}
			if r := w.ask("POST", "_/actions/zipped-"+family+"?blocking=true", `{}`); r.text(t, "response.result.part") != family {
				t.Errorf("%d %s", r.status, r.body)
			}
			if r := w.ask("GET", "_/actions/zipped-"+family, nil); r.text(t, "exec.code") != zipped {
				t.Error("the archive is another")
			}
			empty := base64.StdEncoding.EncodeToString(archive(t, map[string]string{"readme": ""}))
			put("empty-"+family, family+":default", empty, "")
			if r := w.ask("POST", "_/actions/empty-"+family+"?blocking=true", `{}`); r.status != 502 || !strings.Contains(r.text(t, "response.result.error"), c.file+" at the root.") {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
}
