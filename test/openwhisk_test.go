package test

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// npm installs packages into a new folder and returns it.
func npm(t testing.TB, packages ...string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("npm", append([]string{"install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", dir}, packages...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm install %v: %v\n%s", packages, err, out)
	}
	return dir
}

// archive packs files.
func archive(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// key is what a subject's clients authenticate with; the subject is made.
func (s *server) key(ns rouse.Namespace) string {
	s.t.Helper()
	subject, err := s.SetSubject(s.t.Context(), ns, wire.SubjectOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return subject.Key.ID + ":" + subject.Key.Secret
}

// script runs a script of checks with node; each is a subtest. At least as many
// as least must have run.
func (s *server) script(t *testing.T, file, modules string, least int, env ...string) {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", path)
	cmd.Env = append(os.Environ(), append(env, "NODE_PATH="+filepath.Join(modules, "node_modules"), "APIHOST=http://"+s.addr,
		"AUTH="+s.key(rouse.DefaultNamespace), "GUEST="+s.key("guest"))...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := 0
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var check struct {
			Name, Detail string
			OK           bool
		}
		if err := json.Unmarshal(lines.Bytes(), &check); err != nil {
			t.Errorf("%s: %v", lines.Text(), err)
			continue
		}
		n++
		t.Run(check.Name, func(t *testing.T) {
			if !check.OK {
				t.Error(check.Detail)
			}
		})
	}
	if err := cmd.Wait(); err != nil || n < least {
		t.Errorf("%d checks ran: %v\n%s\n%s", n, err, &stderr, s.log)
	}
}

// The npm package openwhisk, as it is.
func TestTheOpenWhiskClient(t *testing.T) {
	s := start(t, "")
	modules := npm(t, "openwhisk@3.21.9")
	file := filepath.Join(t.TempDir(), "action.zip")
	code := archive(t, map[string]string{
		"package.json": `{"main": "start.js"}`, "start.js": "const add = require('./lib/add')\nexports.main = args => Promise.resolve({ answer: add(args.n, 22) })\n",
		"lib/add.js": "module.exports = (a, b) => a + b\n",
	})
	if err := os.WriteFile(file, code, 0o600); err != nil {
		t.Fatal(err)
	}
	s.script(t, "openwhisk/client.cjs", modules, 14, "ZIP="+file)
}

// Compositions of the npm package openwhisk-composer, as it is.
func TestTheOpenWhiskComposer(t *testing.T) {
	s := start(t, "")
	s.script(t, "openwhisk/composer.cjs", npm(t, "openwhisk-composer@0.12.0"), 7)
}
