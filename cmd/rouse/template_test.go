package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each template is run by the interpreter or compiler that it is written for.
func TestTemplatesRun(t *testing.T) {
	for _, c := range []struct {
		template, program string
		args              []string
		want              string
	}{
		{"python", "python3", []string{"-c", "import main; print(main.main({'name': 'ada'}, None), main.main(None, None))"},
			"{'message': 'Hello, ada!'} {'message': 'Hello, world!'}"},
		{"openwhisk-python", "python3", []string{"-c", "import main; print(main.main({'name': 'ada'}), main.main({}))"},
			"{'message': 'Hello, ada!'} {'message': 'Hello, world!'}"},
		{"node", "node", []string{"--input-type=module", "-e", "import('./index.mjs').then(async (m) => console.log(await m.main({name: 'ada'}), await m.main()))"},
			"{ message: 'Hello, ada!' } { message: 'Hello, world!' }"},
		{"go-wasm", "go", []string{"run", "main.go"}, `{"message":"Hello, ada!"}`},
		{"http", "python3", []string{"-c", `
import threading, urllib.request, main
server = main.ThreadingHTTPServer(("127.0.0.1", 0), main.Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for data in (None, b"payload"):
    print(urllib.request.urlopen("http://127.0.0.1:%d/a?b=c" % server.server_port, data).read().decode())
`}, "{\"message\": \"Hello!\", \"path\": \"/a?b=c\"}\n{\"message\": \"Hello!\", \"path\": \"/a?b=c\"}"},
	} {
		t.Run(c.template, func(t *testing.T) {
			if _, err := exec.LookPath(c.program); err != nil {
				t.Skipf("%s is not installed", c.program)
			}
			cmd := exec.CommandContext(t.Context(), c.program, c.args...)
			cmd.Dir = begin(t, c.template)
			cmd.Stdin = strings.NewReader(`{"name":"ada"}`)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			out, err := cmd.Output()
			if err != nil || !strings.Contains(string(out), c.want) {
				t.Errorf("%v, %s\n%s", err, out, &errs)
			}
		})
	}
}

func TestTheGoTemplateCompilesToWasm(t *testing.T) {
	dir := begin(t, "go-wasm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", "mine.wasm", "main.go")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "mine.wasm"))
	if err != nil || !bytes.HasPrefix(b, []byte("\x00asm")) {
		t.Errorf("no module: %v", err)
	}
}

func begin(t *testing.T, template string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mine")
	a := &app{in: os.Stdin, out: io.Discard, err: io.Discard, env: os.Getenv}
	if code := run(context.Background(), a, []string{"init", dir, "--template", template}); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	return dir
}
