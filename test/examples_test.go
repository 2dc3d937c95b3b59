package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is a fenced block of a README: its language and its text.
var block = regexp.MustCompile("(?ms)^```(sh|text)\n(.*?)^```$")

// Each example is deployed and called as its README says, and must answer as
// its README says: a text block is what the commands of the sh block before it
// print.
func TestExamples(t *testing.T) {
	folders, err := filepath.Glob("../examples/*/README.md")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	s := start(t, "")
	for _, readme := range folders {
		name := filepath.Base(filepath.Dir(readme))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(readme)
			if err != nil {
				t.Fatal(err)
			}
			// A copy: what is built stays out of the checkout. The folder's name
			// becomes the function's.
			dir := filepath.Join(t.TempDir(), name)
			if err := os.CopyFS(dir, os.DirFS(filepath.Dir(readme))); err != nil {
				t.Fatal(err)
			}
			printed, compared := "", 0
			for _, b := range block.FindAllStringSubmatch(string(text), -1) {
				if b[1] == "sh" {
					printed = s.shell(t, dir, b[2])
					continue
				}
				if compared++; printed != b[2] {
					t.Errorf("it printed\n%s\nwhere the README has\n%s", printed, b[2])
				}
			}
			if compared == 0 {
				t.Error("the README shows no output")
			}
		})
	}
}

// shell runs commands as a user of s types them, and returns what they print.
func (s *server) shell(t *testing.T, dir, commands string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", strings.ReplaceAll(commands, "127.0.0.1:8700", s.addr))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "ROUSE_SERVER="+s.addr, "ROUSE_DATA="+s.data)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s%v: %s%s", commands, err, out, said.String())
	}
	return string(out)
}
