package bundle

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
)

// tree makes a folder. A name that ends in / is a folder, a text that begins
// with -> a link, and one that begins with #! can be run.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		target, link := strings.CutPrefix(text, "->")
		switch {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(full, 0o755)
		case link:
			err = os.Symlink(target, full)
		case strings.HasPrefix(text, "#!"):
			err = os.WriteFile(full, []byte(text), 0o700)
		default:
			err = os.WriteFile(full, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func pack(t *testing.T, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Pack(&b, name); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func names(t *testing.T, archive []byte) []string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, f := range z.File {
		list = append(list, f.Name+" "+f.Mode().String())
	}
	return list
}

func TestPackIsTheSameForTheSameContent(t *testing.T) {
	files := map[string]string{"main.py": "def main(e, c): return e", "lib/a.py": "1", "lib/b.py": "2", "run.sh": "#!/bin/sh"}
	a, b := tree(t, files), tree(t, files)
	old := time.Unix(1e9, 0)
	if err := os.Chtimes(filepath.Join(b, "main.py"), old, old); err != nil {
		t.Fatal(err)
	}
	x, y := pack(t, a), pack(t, b)
	if rouse.DigestOf(x) != rouse.DigestOf(y) {
		t.Error("the same content packed to different bytes")
	}
	want := []string{"lib/a.py -rw-r--r--", "lib/b.py -rw-r--r--", "main.py -rw-r--r--", "run.sh -rwxr-xr-x"}
	if got := names(t, x); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := os.WriteFile(filepath.Join(b, "lib/a.py"), []byte("3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if rouse.DigestOf(x) == rouse.DigestOf(pack(t, b)) {
		t.Error("other content packed to the same bytes")
	}
}

func TestPackLeavesOut(t *testing.T) {
	dir := tree(t, map[string]string{
		".rouseignore":        "# tests\n*.log\n/data\nbuild/\n!keep.log\ndocs/**/draft.md\nsrc/*.tmp\n",
		".git/HEAD":           "x",
		"node_modules/a/b.js": "x", "lib/__pycache__/a.pyc": "x", ".venv/bin/python": "->/usr/bin/python3",
		"a.log": "x", "lib/b.log": "x", "lib/keep.log": "x",
		"data/x": "x", "lib/data/y": "x",
		"build/out": "x", "lib/build": "x",
		"docs/draft.md": "x", "docs/a/b/draft.md": "x", "docs/a/final.md": "x",
		"src/a.tmp": "x", "src/in/b.tmp": "x",
		"main.py": "x",
	})
	var got []string
	for _, n := range names(t, pack(t, dir)) {
		got = append(got, strings.Fields(n)[0])
	}
	want := []string{"docs/a/final.md", "lib/build", "lib/data/y", "lib/keep.log", "main.py", "src/in/b.tmp"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPackFollowsLinksInside(t *testing.T) {
	dir := tree(t, map[string]string{"real/a.py": "x = 1", "link.py": "->real/a.py", "folder": "->real"})
	archive := pack(t, dir)
	out := filepath.Join(t.TempDir(), "out")
	if _, err := Unpack(bytes.NewReader(archive), int64(len(archive)), out, DefaultLimits); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link.py", "folder/a.py", "real/a.py"} {
		if b, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(b) != "x = 1" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestPackRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		says  string
	}{
		"nothing":           {map[string]string{}, "no file to pack"},
		"only empty":        {map[string]string{"a/b/": ""}, "no file to pack"},
		"only left out":     {map[string]string{".git/HEAD": "x"}, "no file to pack"},
		"link out":          {map[string]string{"a.py": "x", "b": "->../../etc/passwd"}, "out of the folder"},
		"absolute link":     {map[string]string{"a.py": "x", "b": "->/etc/passwd"}, "out of the folder"},
		"link to nothing":   {map[string]string{"a.py": "x", "b": "->gone"}, "leads nowhere"},
		"link to its own":   {map[string]string{"a/a.py": "x", "a/b": "->../a"}, "folder that it is in"},
		"backslash in name": {map[string]string{`a\b.py`: "x"}, "backslash"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Pack(&bytes.Buffer{}, tree(t, c.files))
			if rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want Invalid with %q", err, c.says)
			}
		})
	}
	if err := Pack(&bytes.Buffer{}, filepath.Join(t.TempDir(), "gone")); rouse.KindOf(err) != rouse.NotFound {
		t.Errorf("got %v, want NotFound", err)
	}
}

func TestPackFile(t *testing.T) {
	dir := tree(t, map[string]string{"hello.py": "x"})
	archive := pack(t, filepath.Join(dir, "hello.py"))
	if got := names(t, archive); !slices.Equal(got, []string{"hello.py -rw-r--r--"}) {
		t.Errorf("got %q", got)
	}
	zipped := filepath.Join(dir, "all.ZIP")
	if err := os.WriteFile(zipped, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pack(t, zipped), archive) {
		t.Error("a zip was not packed as it is")
	}
}
