package test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A wsk is OpenWhisk's own client, with settings of its own.
type wsk struct {
	t    *testing.T
	file string
	dir  string // with the settings that "rouse env" prints
}

func (s *server) wsk(t *testing.T) *wsk {
	t.Helper()
	file, err := exec.LookPath("wsk")
	if err != nil {
		t.Skip("wsk is not on PATH: github.com/apache/openwhisk-cli has it")
	}
	w := &wsk{t: t, file: file, dir: t.TempDir()}
	settings, err := exec.CommandContext(t.Context(), binary, "env", "openwhisk", "--data", s.data, "--server", s.addr).Output()
	if err != nil {
		t.Fatal(err)
	}
	w.write(".wskprops", string(settings))
	return w
}

func (w *wsk) write(name, content string) {
	w.t.Helper()
	file := filepath.Join(w.dir, name)
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(content), 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// run runs a command; the arguments have no spaces.
func (w *wsk) run(line string) (said string, code int) {
	w.t.Helper()
	c := exec.CommandContext(w.t.Context(), w.file, strings.Fields(line)...)
	c.Dir = w.dir
	c.Env = append(os.Environ(), "HOME="+w.dir, "WSK_CONFIG_FILE="+filepath.Join(w.dir, ".wskprops"))
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		code, err = ended.ExitCode(), nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return out.String(), code
}

// wants runs a command that must succeed and say something.
func (w *wsk) wants(line string, parts ...string) string {
	w.t.Helper()
	said, code := w.run(line)
	if code != 0 {
		w.t.Errorf("wsk %s: code %d: %s", line, code, said)
	}
	for _, part := range parts {
		if !strings.Contains(said, part) {
			w.t.Errorf("wsk %s does not say %q: %s", line, part, said)
		}
	}
	return said
}

// refused runs a command that must fail with a code.
func (w *wsk) refused(line string, code int, part string) {
	w.t.Helper()
	if said, got := w.run(line); got != code || !strings.Contains(said, part) {
		w.t.Errorf("wsk %s: code %d, not %d: %s", line, got, code, said)
	}
}

var activationID = regexp.MustCompile(`[0-9a-f]{32}`)

// A short tour with wsk itself.
func TestOpenWhiskByWsk(t *testing.T) {
	w := start(t, "").wsk(t)
	w.write("hello.py", "def main(args):\n    print('said')\n    return {'greeting': 'Hello, %s!' % args.get('name', 'nobody')}\n")
	w.write("fail.js", "function main () { return { error: 'no' } }\n")
	w.wants("namespace list", "default")
	w.wants("property get --apibuild --apihost", "whisk API build")
	w.wants("action create hello hello.py", "ok: created action hello")
	w.wants("action create hello2 --copy hello", "ok: created action hello2")
	w.wants("action invoke hello -r -p name Ada", `"greeting": "Hello, Ada!"`)
	w.wants("action update hello -p name Grace -t 5000", "ok: updated action hello")
	w.wants("action invoke hello -r", `"greeting": "Hello, Grace!"`)
	w.wants("action get hello limits", `"timeout": 5000`)
	w.wants("action list", "/default/hello", "private")
	w.refused("action create hello hello.py", 153, "resource already exists")
	w.refused("action get nothing", 148, "The requested resource does not exist.")
	w.wants("action create fail fail.js", "ok: created action fail")
	w.refused("action invoke fail -r", 246, `"error": "no"`)
	w.wants("action create both --sequence hello,hello2", "ok: created action both")
	w.wants("action invoke both -r", `"greeting": "Hello, nobody!"`)
	t.Run("activations", func(t *testing.T) {
		w.t = t
		id := activationID.FindString(w.wants("action invoke hello -b", "success"))
		w.wants("activation logs "+id, "stdout: said")
		w.wants("activation result "+id, "Hello, Grace!")
		w.wants("activation get "+id, `"name": "hello"`)
		w.wants("activation list hello", id, "success")
	})
	t.Run("packages", func(t *testing.T) {
		w.t = t
		w.wants("package create box -p name box", "ok: created package box")
		w.wants("action create box/hello hello.py", "ok: created action box/hello")
		w.wants("package bind box bound -p name bound", "ok: created binding bound")
		w.wants("action invoke bound/hello -r", `"greeting": "Hello, bound!"`)
		w.wants("package get box --summary", "box/hello")
		w.wants("package list", "/default/box", "/default/bound")
		w.wants("action invoke /whisk.system/utils/echo -r -p message hi", `"message": "hi"`)
		w.wants("activation list utils/echo", "echo", "success")
	})
	t.Run("triggers and rules", func(t *testing.T) {
		w.t = t
		w.wants("trigger create bell -p name bell", "ok: created trigger bell")
		w.wants("rule create ring bell hello", "ok: created rule ring")
		w.wants("trigger fire bell", "ok: triggered /_/bell with id")
		eventually(t, "the action has run", func() bool {
			said, _ := w.run("activation list hello --full")
			return strings.Contains(said, "Hello, bell!")
		})
		w.wants("rule status ring", "rule ring is active")
		w.wants("rule disable ring", "ok: disabled rule ring")
		w.wants("rule status ring", "rule ring is inactive")
		w.wants("trigger create clock --feed /whisk.system/alarms/interval -p minutes 60", "ok: created trigger clock")
		w.wants("trigger get clock", `"minutes": 60`)
		w.wants("trigger delete clock", "ok: deleted trigger clock")
	})
	t.Run("APIs", func(t *testing.T) {
		w.t = t
		w.wants("action update hello --web true", "ok: updated action hello")
		w.wants("action get hello --url", "/api/v1/web/default/default/hello")
		w.wants("api create /club /hello get hello --response-type json", "ok: created API /club/hello GET for action /_/hello")
		w.wants("api list", "/club/hello")
		w.wants("api delete /club", "ok: deleted API /club")
	})
	t.Run("projects", func(t *testing.T) {
		w.t = t
		w.write("project/manifest.yaml", `packages:
  shop:
    version: 1.0
    actions:
      greet:
        function: greet.py
        runtime: python:default
        inputs: {name: manifest}
    triggers:
      opens: {}
    rules:
      greets: {trigger: opens, action: greet}
`)
		w.write("project/greet.py", "def main(args): return {'greeting': args['name']}\n")
		w.wants("project deploy --project project", "Deployment completed successfully")
		w.wants("action invoke shop/greet -r", `"greeting": "manifest"`)
		w.wants("rule status greets", "rule greets is active")
		w.wants("project undeploy --project project", "Undeployment completed successfully")
		w.refused("action get shop/greet", 148, "does not exist")
	})
}
